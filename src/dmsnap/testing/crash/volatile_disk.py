"""A disk with a volatile write cache: what each of its sectors may hold if the power goes now.

The same model serves twice: for a device, what a crash may leave on it; for its client (a snapshot is a disk of this
kind too), what may be read after a crash without anything having gone wrong.
"""

from __future__ import annotations

from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES

__all__ = ["Version", "VolatileDisk"]


class Version(NamedTuple):
    """What one write put into one sector.

    Attributes:
        content: One sector.
        number: Of the write; later writes have higher numbers, and 0 is what was there before all of them.
        sure: Whether a flush afterwards makes it durable, and so ends what was there before. It does not after a
            discard, which a device may ignore, and after a write that failed.
    """

    content: bytes
    number: int
    sure: bool


class VolatileDisk:
    """The versions of every sector since the last flush.

    A sector is *open* while it has more than one version; after a crash it holds any one of them, whatever the other
    sectors hold.

    Args:
        content: What is durable at first; whole sectors.

    Attributes:
        settled: For sectors that are not open, what they hold; for open ones, their oldest version.
        open: The versions of each open sector, by its number, oldest first.
    """

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self.settled = bytearray(content)
        self.open: dict[int, list[Version]] = {}
        self._contents: dict[int, tuple[bytes, ...]] = {}

    def write(self, offset: int, data: bytes, number: int, *, sure: bool = True) -> list[tuple[int, bytes]]:
        """Adds a version to each sector of a range, given in bytes; returns what no version of the sector held yet.

        Args:
            offset: First byte; whole sectors.
            data: What is written there.
            number: Higher than that of any write before.
            sure: See `Version`.
        """
        fresh = []
        for at in range(0, len(data), SECTOR_BYTES):
            sector = (offset + at) // SECTOR_BYTES
            content = data[at : at + SECTOR_BYTES]
            versions = self.open.get(sector)
            if versions is None:
                before = self._settled(sector)
                if before == content:
                    continue
                versions = self.open[sector] = [Version(before, 0, True)]
            if all(version.content != content for version in versions):
                fresh.append((sector, content))
                self._contents.pop(sector, None)
            versions.append(Version(content, number, sure))
        return fresh

    def settle(self, number: int, within: range | None = None) -> None:
        """Makes durable what writes up to ``number`` left: the effect of a flush that began after them.

        Args:
            number: Of the last of these writes.
            within: Only in these sectors; by default in all.
        """
        for sector, versions in list(self.open.items()):
            if within is not None and sector not in within:
                continue
            last = max(
                at for at, version in enumerate(versions) if not at or (version.sure and version.number <= number)
            )
            if last:
                del versions[:last]
                self._contents.pop(sector, None)
                at = sector * SECTOR_BYTES
                self.settled[at : at + SECTOR_BYTES] = versions[0].content
            if all(version.content == versions[0].content for version in versions):
                del self.open[sector]
                self._contents.pop(sector, None)

    def grow(self, content: bytes) -> None:
        """Adds sectors at the end, with a durable content."""
        self.settled += content

    def contents(self, sector: int) -> tuple[bytes, ...]:
        """Returns what a sector may hold, each content once, oldest first."""
        known = self._contents.get(sector)
        if known is None:
            versions = self.open.get(sector)
            known = tuple(dict.fromkeys(version.content for version in versions)) if versions else None
            known = self._contents[sector] = known or (self._settled(sector),)
        return known

    def latest(self) -> bytes:
        """Returns what reads return while the power is on."""
        content = bytearray(self.settled)
        for sector, versions in self.open.items():
            content[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = versions[-1].content
        return bytes(content)

    def copy(self) -> VolatileDisk:
        """Returns a disk in the same state that goes its own way."""
        other = VolatileDisk(self.settled)
        other.open = {sector: list(versions) for sector, versions in self.open.items()}
        return other

    def impossible(self, content: bytes | bytearray, *others: VolatileDisk) -> list[int]:
        """Returns the sectors of a whole content that no crash leaves, on this disk or on one of ``others``."""
        if content == self.settled:
            return []
        wrong = []
        for sector in range(len(content) // SECTOR_BYTES):
            at = sector * SECTOR_BYTES
            held = content[at : at + SECTOR_BYTES]
            if held != self.settled[at : at + SECTOR_BYTES] and not any(
                held in disk.contents(sector) for disk in (self, *others)
            ):
                wrong.append(sector)
        return wrong

    def _settled(self, sector: int) -> bytes:
        return bytes(self.settled[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES])
