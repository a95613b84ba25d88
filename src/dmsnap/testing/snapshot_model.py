"""An origin and its snapshots, the slow and plain way: the judge of those that are written to.

Bytes, lists and counting, and nothing of dmsnap's own code, so that a mistake has to be made twice to go unseen. The
rules are those of Linux dm-snapshot for one client that does one thing after another: an exception takes the next data
chunk of its store; when there is none the snapshot is lost, or, of type ``PO`` and written to itself, overflows.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["ModelOrigin", "ModelSnapshot"]

SECTOR_BYTES = 512
RECORD_BYTES = 16


class ModelSnapshot:
    """One snapshot.

    Args:
        content: What it reads as.
        kind: ``P``, ``PO`` or ``N``.
        chunk_bytes: Chunk size.
        cow_bytes: Size of its COW device.
        spare_last_slot: Whether its store says that it is full before the last slot of an area without a successor.

    Attributes:
        chunks: The origin chunks that have an exception, in the order of their records.
        invalid: Whether it is lost.
        overflowed: Whether it takes no more writes.
    """

    def __init__(
        self, content: bytes, kind: str, chunk_bytes: int, cow_bytes: int, *, spare_last_slot: bool = False
    ) -> None:
        self.content = bytearray(content)
        self.kind = kind
        self.chunk_bytes = chunk_bytes
        self.cow_bytes = cow_bytes
        self.spare_last_slot = spare_last_slot
        self.chunks: list[int] = []
        self.invalid = False
        self.overflowed = False

    @property
    def status(self) -> str:
        """The status words."""
        if self.invalid:
            return "Invalid"
        if self.overflowed:
            return "Overflow"
        sectors = self.chunk_bytes // SECTOR_BYTES
        total = self.cow_bytes // SECTOR_BYTES
        if self.kind == "N":
            return f"{len(self.chunks) * sectors}/{total} 0"
        areas = 1 + len(self.chunks) // self._per_area
        return f"{(len(self.chunks) + areas + 1) * sectors}/{total} {(areas + 1) * sectors}"

    def write(self, offset: int, data: bytes) -> bool:
        """Writes to the snapshot; says whether that succeeds."""
        if self.invalid or self.overflowed:
            return False
        end = offset + len(data)
        for chunk in self._touched(offset, end):
            if not self._give(chunk):
                if self.kind == "PO":
                    self.overflowed = True
                else:
                    self.invalid = True
                break
            begin, stop = max(offset, chunk * self.chunk_bytes), min(end, (chunk + 1) * self.chunk_bytes)
            self.content[begin:stop] = data[begin - offset : stop - offset]
        self._judge_areas()
        return not (self.invalid or self.overflowed)

    def keep(self, offset: int, end: int) -> None:
        """Gets copies of a range of the origin that is about to be overwritten."""
        if self.invalid:
            return
        if not all(self._give(chunk) for chunk in self._touched(offset, min(end, len(self.content)))):
            self.invalid = True
        self._judge_areas()

    def discard(self, offset: int, end: int) -> bool:
        """Zeroes the chunks that have exceptions and are wholly in a range; says whether that succeeds."""
        if self.invalid or self.overflowed:
            return False
        for chunk in self._touched(offset, end):
            start = chunk * self.chunk_bytes
            if chunk in self.chunks and offset <= start and start + self.chunk_bytes <= end:
                self.content[start : start + self.chunk_bytes] = bytes(self.chunk_bytes)
        return True

    def forget_last(self, count: int) -> list[tuple[int, int]]:
        """Drops the last records, as a merge does; returns the byte ranges of its copies, the last one first.

        A range is as long as the records before one another are for chunks before one another, in one area.
        """
        ranges: list[tuple[int, int]] = []
        size = self.chunk_bytes
        while count:
            end = chunk = self.chunks[-1]
            while count and self.chunks and self.chunks[-1] == chunk:
                self.chunks.pop()
                count -= 1
                chunk -= 1
                if len(self.chunks) % self._per_area == 0:
                    break
            ranges.append(((chunk + 1) * size, min((end + 1) * size, len(self.content))))
        return ranges

    @property
    def _per_area(self) -> int:
        return self.chunk_bytes // RECORD_BYTES

    def _touched(self, offset: int, end: int) -> Iterator[int]:
        if offset < end:
            yield from range(offset // self.chunk_bytes, -(-end // self.chunk_bytes))

    def _give(self, chunk: int) -> bool:
        """Sees to it that a chunk has an exception; says whether there was room."""
        if chunk in self.chunks:
            return True
        places = self.cow_bytes // self.chunk_bytes
        if self.kind != "N":
            places = sum(place % (self._per_area + 1) != 1 for place in range(1, places))
            if self.spare_last_slot and not self._has_area(places // self._per_area):
                places -= 1
        if len(self.chunks) >= places:
            return False
        self.chunks.append(chunk)
        return True

    def _has_area(self, area: int) -> bool:
        return 1 + area * (self._per_area + 1) < self.cow_bytes // self.chunk_bytes

    def _judge_areas(self) -> None:
        """A store is lost when an area fills up whose successor lies past the end of the device."""
        if self.kind != "N" and not self._has_area(len(self.chunks) // self._per_area):
            self.invalid = True


class ModelOrigin:
    """An origin and all snapshots of it that are in use.

    Args:
        content: What it holds.
    """

    def __init__(self, content: bytes) -> None:
        self.content = bytearray(content)
        self.snapshots: list[ModelSnapshot] = []

    def write(self, offset: int, data: bytes) -> None:
        """Writes to the origin, which always succeeds."""
        for snapshot in self.snapshots:
            snapshot.keep(offset, offset + len(data))
        self.content[offset : offset + len(data)] = data

    def write_merging(self, merging: ModelSnapshot, offset: int, data: bytes) -> None:
        """Writes to the merged view of the origin and a snapshot that is not among ``snapshots``."""
        size = merging.chunk_bytes
        merging.content[offset : offset + len(data)] = data
        for start in range(offset // size * size, offset + len(data), size):
            begin, end = max(start, offset), min(start + size, offset + len(data))
            if start // size not in merging.chunks:
                self.write(begin, data[begin - offset : end - offset])

    def merge(self, merging: ModelSnapshot, count: int) -> None:
        """Merges the last ``count`` exceptions of a snapshot that is not among ``snapshots``."""
        ranges = merging.forget_last(count)
        for snapshot in self.snapshots:
            for begin, end in ranges:
                snapshot.keep(begin, end)
        for begin, end in ranges:
            self.content[begin:end] = merging.content[begin:end]
