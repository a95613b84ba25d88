"""The life of each read, put together from the events of a load: started, arrived, used or wasted."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from dmsnap.store.load_trace import LoadTrace

__all__ = ["TracedRead", "reads_in_flight", "reads_of", "waited_seconds"]


@dataclass(slots=True)
class TracedRead:
    """One read of a piece of an area. Times are in seconds since the load began; None for what did not come.

    Attributes:
        area: The metadata area.
        block: The piece, in the load's blocks.
        ahead: Whether it was started ahead of demand.
        started: When the read began.
        wanted: When the loader asked for the piece: before it arrived, the loader waited.
        arrived: When the read ended.
        evicted: When it was dropped to make room.
        failed: Whether the read failed.
    """

    area: int
    block: int
    ahead: bool
    started: float
    wanted: float | None = None
    arrived: float | None = None
    evicted: float | None = None
    failed: bool = False

    @property
    def used(self) -> float | None:
        """When the loader had it."""
        if self.wanted is None or self.arrived is None or self.failed:
            return None
        return max(self.wanted, self.arrived)

    def waits(self, end: float) -> tuple[float, float] | None:
        """From when to when the loader waited for it, if it did; ``end`` is that of the load."""
        if self.wanted is None or (self.arrived is not None and self.arrived <= self.wanted):
            return None
        return self.wanted, end if self.arrived is None else self.arrived


def reads_of(load: LoadTrace) -> list[TracedRead]:
    """Returns the reads of a load, in the order in which they were started."""
    reads: list[TracedRead] = []
    cached: dict[int, TracedRead] = {}
    for seconds, event, area, block in load.events():
        if event in ("prefetch", "miss"):
            read = cached[block] = TracedRead(area, block, event == "prefetch", seconds)
            if event == "miss":
                read.wanted = seconds
            reads.append(read)
            continue
        found = cached.get(block)
        if found is None:
            continue
        if event == "arrived":
            found.arrived = seconds
        elif event in ("hit", "wait"):
            if load.areas is None or area < load.areas:  # else only taken along with the last ones
                found.wanted = seconds
        elif event in ("forget", "evict", "drop"):
            found.failed = event == "drop"
            found.evicted = seconds if event == "evict" else None
            del cached[block]
    return reads


def waited_seconds(load: LoadTrace, reads: list[TracedRead]) -> float:
    """Returns how long the loader waited for areas, as far as events were kept."""
    waits = (read.waits(load.seconds) for read in reads)
    return sum(wait[1] - wait[0] for wait in waits if wait is not None)


def reads_in_flight(reads: list[TracedRead], end: float) -> list[tuple[float, int]]:
    """Returns how many reads were under way from when on: (seconds, count), ascending, from the first read."""
    changes: dict[float, int] = {}
    for read in reads:
        changes[read.started] = changes.get(read.started, 0) + 1
        arrived = end if read.arrived is None else read.arrived
        changes[arrived] = changes.get(arrived, 0) - 1
    steps = sorted(changes)
    return list(zip(steps, accumulate(changes[step] for step in steps), strict=True))
