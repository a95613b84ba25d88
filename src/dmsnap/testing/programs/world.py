"""What the generator knows of the devices it programs: enough to keep away from what the kernel leaves to chance.

DM cuts a request into chunks that run at the same time. If a store runs out of space within a request, how far the
other chunks of it came when the snapshot is invalidated is a race. So a request that a store may not have room for is
kept within one chunk. For that, bounds do: `Store.used` is never too small and `Store.known` never too large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Store", "usable_chunks", "within_one_chunk"]


def usable_chunks(sectors: int, chunk: int, kind: str) -> int:
    """Returns how many exceptions a COW device has room for: for which it has room *for sure*.

    A store whose last area is full needs a further one, so where that lies just behind the end (Linux invalidates such
    a snapshot) one less is sure.
    """
    chunks = sectors // chunk
    if kind == "N":
        return chunks
    stride = chunk * 32 + 1
    return max(0, chunks - 1 - -(-(chunks - 1) // stride) - (chunks % stride == 1))


@dataclass
class Store:
    """A snapshot and its COW device.

    Attributes:
        number: From 1; the snapshot is ``s1``, its COW device ``c1``.
        kind: ``P``, ``PO`` or ``N``.
        chunk: Effective chunk size in sectors.
        sectors: Size of the COW device.
        length: Size of the snapshot.
        features: As at the end of a table line.
        mapped: Whether a linear device ``k1`` lies between snapshot and COW device, so that it can be made to fail.
        alive: Whether the snapshot is there now.
        made: Whether it ever was.
        used: At least as many exceptions as it holds, merged and lost ones included.
        known: Chunks that have an exception for sure.
        possible: Chunks that may have one.
        short: Whether it may have run out of space since it was set up.
        doubtful: Whether it may have run out of space ever.
    """

    number: int
    kind: str
    chunk: int
    sectors: int
    length: int
    features: str = ""
    mapped: bool = False
    alive: bool = False
    made: bool = False
    used: int = 0
    known: set[int] = field(default_factory=set)
    possible: set[int] = field(default_factory=set)
    short: bool = False
    doubtful: bool = False

    @property
    def name(self) -> str:
        """The snapshot's name."""
        return f"s{self.number}"

    @property
    def cow(self) -> str:
        """The base device's name."""
        return f"c{self.number}"

    @property
    def cow_word(self) -> str:
        """What a table calls the COW device."""
        return f"/dev/mapper/k{self.number}" if self.mapped else self.cow

    @property
    def trapped(self) -> bool:
        """Tells whether the area after the last full one would lie just behind the COW device's end."""
        return self.kind != "N" and self.sectors // self.chunk % (self.chunk * 32 + 1) == 1

    def touched(self, sector: int, sectors: int) -> range:
        """Returns the chunks of a range, as far as the snapshot goes."""
        end = min(sector + sectors, self.length)
        return range(sector // self.chunk, -(-end // self.chunk)) if end > sector else range(0)

    def fits(self, sector: int, sectors: int) -> bool:
        """Tells whether there is room for sure for all exceptions that a write to a range may take."""
        new = sum(chunk not in self.known for chunk in self.touched(sector, sectors))
        return self.used + new <= usable_chunks(self.sectors, self.chunk, self.kind)

    def take(self, sector: int, sectors: int) -> None:
        """Notes a write to a range."""
        touched = set(self.touched(sector, sectors))
        self.possible |= touched
        if not self.fits(sector, sectors):
            self.used = usable_chunks(self.sectors, self.chunk, self.kind)
            self.short = self.doubtful = True
            return
        self.used += len(touched - self.known)
        if not self.short:  # else the write may have been refused
            self.known |= touched

    def set_up(self) -> None:
        """Notes that the snapshot is there, afresh."""
        self.alive, self.made, self.short = True, True, False
        if self.kind == "N":
            self.emptied()

    def wiped(self) -> None:
        """Notes that the store is no more."""
        self.made = self.doubtful = False
        self.emptied()

    def emptied(self) -> None:
        """Notes that the store has no exceptions."""
        self.used = 0
        self.known.clear()
        self.possible.clear()

    def fits_merge(self, merged: Store) -> bool:
        """Tells whether there is room for sure for what a merge of another snapshot makes this one keep."""
        return self.used + len(self._kept_of(merged)) <= usable_chunks(self.sectors, self.chunk, self.kind)

    def take_merge(self, merged: Store) -> None:
        """Notes that another snapshot is merged into the origin, or some of it."""
        kept = self._kept_of(merged)
        self.used += len(kept)
        self.possible |= kept

    def _kept_of(self, merged: Store) -> set[int]:
        ranges = (self.touched(chunk * merged.chunk, merged.chunk) for chunk in merged.possible)
        return {chunk for touched in ranges for chunk in touched} - self.known

    def longest_run(self) -> int:
        """Returns how many sectors at most may be merged in one go."""
        longest, run, last = 0, 0, -2
        for chunk in sorted(self.possible):
            run = run + 1 if chunk == last + 1 else 1
            longest, last = max(longest, run), chunk
        return longest * self.chunk


def within_one_chunk(sector: int, sectors: int, stores: Sequence[Store]) -> int:
    """Returns how much of a range lies in one chunk of each of ``stores``."""
    smallest = min((store.chunk for store in stores), default=1)
    return min(sectors, smallest - sector % smallest)
