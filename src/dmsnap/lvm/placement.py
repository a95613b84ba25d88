"""Which extents the segments of a group occupy: within their volumes, and each only once.

All volumes lie one behind the other on one line of numbers, physical and logical ones. What segments occupy are
intervals there; none shares anything with another if, sorted apart, each begins where the one before has ended.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from operator import add, gt, le

from .model import LogicalVolume, PhysicalVolume, Segment
from .text.striped_run import StripedRun

__all__ = ["Placement"]

MANY_SEGMENTS = 1 << 16
"""From so many on, NumPy saves more time than it takes to load."""
LONG_RUN = 64
"""Of so many segments, NumPy places a run faster than Python does."""
LONGEST_LINE = 1 << 62


class Placement:
    """The extents that segments occupy, gathered one after another.

    Args:
        volumes: The logical volumes of the group.
        physical_volumes: Its physical volumes; where both have a name, it is theirs.
        extent_size_sectors: Of the group.
    """

    def __init__(
        self,
        volumes: Mapping[str, LogicalVolume],
        physical_volumes: Mapping[str, PhysicalVolume],
        extent_size_sectors: int,
    ) -> None:
        self._extent_size = extent_size_sectors
        self._sizes = {name: volume.extent_count for name, volume in volumes.items()}
        self._sizes |= {name: volume.extent_count for name, volume in physical_volumes.items()}
        self._bases = dict(zip(self._sizes, accumulate(self._sizes.values(), initial=0), strict=False))
        fits = sum(self._sizes.values()) <= LONGEST_LINE
        self._many = fits and sum(len(volume.segments) for volume in volumes.values()) >= MANY_SEGMENTS
        self._starts: array[int] | list[int] = array("q") if fits else []
        self._ends: array[int] | list[int] = array("q") if fits else []
        self._owners: list[tuple[int, str]] = []
        """Who has the intervals from this index on."""

    def place_run(self, volume: str, run: StripedRun) -> bool:
        """Adds the areas of a volume without gaps if nothing is wrong with it; else adds none and returns False."""
        if len(run.area_names) > len(run):
            if any(size > 0 and self._extent_size % size for size in set(run.stripe_sizes)):
                return False
            if sum(run.area_counts) != sum(run.counts):  # some do not divide
                return False
        if not all(map(self._sizes.__contains__, run.names)):
            return False
        sizes, bases = [self._sizes[name] for name in run.names], [self._bases[name] for name in run.names]
        if self._many and len(run) >= LONG_RUN:
            return self._place_long_run(volume, run, sizes, bases)
        ends = map(add, run.area_starts, run.area_counts)
        if any(map(gt, ends, map(sizes.__getitem__, run.area_names))):
            return False
        starts = list(map(add, run.area_starts, map(bases.__getitem__, run.area_names)))
        self._add(volume, starts, list(map(add, starts, run.area_counts)))
        return True

    def place(self, volume: str, segment: Segment) -> str:
        """Adds the areas of a segment; returns what is wrong with it instead, or an empty string."""
        starts, ends = [], []
        for area in segment.areas:
            size = self._sizes.get(area.name)
            if size is None:
                return f"names {area.name[:40]!a}, which is not there"
            length = _area_length(segment, size)
            if length * len(segment.areas) != segment.extent_count and segment.kind == "striped":
                return f"divides {segment.extent_count} extents by {len(segment.areas)} stripes"
            stripe = segment.stripe_size_sectors if segment.kind == "striped" else 0
            if stripe and length * self._extent_size % stripe:
                return f"is no whole number of stripes of {stripe} sectors"
            if area.start_extent + length > size:
                return f"ends behind the end of {area.name}"
            starts.append(self._bases[area.name] + area.start_extent)
            ends.append(starts[-1] + length)
        self._add(volume, starts, ends)
        return ""

    def overlaps(self) -> Iterator[tuple[str, str, str]]:
        """Yields volumes that share extents, the other one each, and of what; not all pairs, but each volume."""
        if self._none_overlaps():
            return
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        bases = list(self._bases.values())
        names = list(self._bases)
        last = order[0]
        reported = set()
        for index in order[1:]:
            if self._starts[index] < self._ends[last]:
                one, other = self._owner(index), self._owner(last)
                what = names[bisect_right(bases, self._starts[index]) - 1]
                if (one, other) not in reported:
                    reported.add((one, other))
                    yield one, other, what
                    yield other, one, what
            if self._ends[index] > self._ends[last]:
                last = index

    def _place_long_run(self, volume: str, run: StripedRun, sizes: list[int], bases: list[int]) -> bool:
        """The same as `place_run`, where all names of the run have a place on the line: so long, and from there on."""
        import numpy as np

        which, starts = np.asarray(run.area_names), np.asarray(run.area_starts)
        ends = starts + np.asarray(run.area_counts)
        if np.count_nonzero(ends > np.array(sizes).take(which)):
            return False
        base = np.array(bases).take(which)
        self._add(volume, array("q", (starts + base).tobytes()), array("q", (ends + base).tobytes()))
        return True

    def _none_overlaps(self) -> bool:
        if not self._many:
            return all(map(le, sorted(self._ends), sorted(self._starts)[1:]))
        import numpy as np

        starts, ends = np.sort(np.asarray(self._starts)), np.sort(np.asarray(self._ends))
        return bool((ends[:-1] <= starts[1:]).all())

    def _add(self, volume: str, starts: Iterable[int], ends: Iterable[int]) -> None:
        self._owners.append((len(self._starts), volume))
        self._starts.extend(starts)
        self._ends.extend(ends)

    def _owner(self, index: int) -> str:
        return self._owners[bisect_right(self._owners, index, key=lambda owner: owner[0]) - 1][1]


def _area_length(segment: Segment, size: int) -> int:
    """How many extents a segment occupies of each area, which is ``size`` long."""
    if segment.kind in ("mirror", "raid1"):
        return segment.extent_count
    if segment.kind == "striped":
        return segment.extent_count // len(segment.areas)
    if segment.kind.startswith("raid0"):
        return -(-segment.extent_count // len(segment.areas))
    return size
