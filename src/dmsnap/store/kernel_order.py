"""Which of several records for one origin chunk counts: the one that Linux would find.

Linux (dm-snapshot, completed exceptions) keeps runs in lists ordered by their first origin chunk, each list for a group
of 256 chunks. A record that continues a run at its end joins it, else one that continues the next run at its front
joins that, else it becomes a run of its own behind those that begin no later. A chunk is looked up in the first run
that has it. So the first record of a chunk counts, unless a later one joined a run that begins lower.

Only stores damaged by a race in old kernels (mended in 2.6.28 or so) have such records, so this may take its time.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count, pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["found_by_linux"]

Chunks = npt.NDArray[np.uint64]

_GROUP_SHIFT = np.uint64(8)
_MOST_IN_A_GROUP = 1 << 12
"""A group of 256 chunks with more records is garbage: there the first record of a chunk counts."""


def found_by_linux(origin: Chunks, cow: Chunks) -> tuple[Chunks, Chunks]:
    """Returns one record for each chunk: the one whose copy Linux would read.

    Args:
        origin: Origin chunks of all records, in the order of the store; any number for one chunk.
        cow: Their COW chunks; 0 where the record is damaged.
    """
    in_order = np.sort(origin)
    twice = np.unique(in_order[1:][in_order[1:] == in_order[:-1]] >> _GROUP_SHIFT)
    affected = np.isin(origin >> _GROUP_SHIFT, twice)
    parts = [(origin[~affected], cow[~affected])]
    origin, cow = origin[affected], cow[affected]
    by_group = np.argsort(origin >> _GROUP_SHIFT, kind="stable")
    origin, cow = origin[by_group], cow[by_group]
    begins = np.searchsorted(origin >> _GROUP_SHIFT, twice).tolist()
    for begin, end in pairwise([*begins, len(origin)]):
        if end - begin > _MOST_IN_A_GROUP:
            first = np.unique(origin[begin:end], return_index=True)[1] + begin
            parts.append((origin[first], cow[first]))
        else:
            found = _in_one_group(origin[begin:end].tolist(), cow[begin:end].tolist())
            parts.append((np.array(list(found.keys()), np.uint64), np.array(list(found.values()), np.uint64)))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _in_one_group(origin: list[int], cow: list[int]) -> dict[int, int]:
    """The COW chunk that is found for each origin chunk of one group."""
    starting: dict[int, list[_Run]] = {}  # by first origin chunk, in the order of the kernel's list
    ending: dict[tuple[int, int], list[tuple[int, int, _Run]]] = {}  # heaps, by the record that would continue a run
    places = count()
    for old, new in zip(origin, cow, strict=True):
        run = _first_in_list(ending.get((old, new)))
        if run is not None:
            run.length += 1
        else:
            behind = starting.get(old + 1)
            if behind and behind[0].cow == new + 1:
                run = behind.pop(0)
                run.cow = new
                run.length += 1
            else:
                run = _Run(new)
            run.first, run.place = old, next(places)
            starting.setdefault(old, []).append(run)
        heappush(ending.setdefault((run.first + run.length, run.cow + run.length), []), (run.first, run.place, run))
    found: dict[int, int] = {}
    for first in sorted(starting):
        for run in starting[first]:
            for step in range(run.length):
                found.setdefault(first + step, run.cow + step if run.cow else 0)
    return found


class _Run:
    """A run, and its place among those that begin at the same chunk."""

    __slots__ = ("cow", "first", "length", "place")

    def __init__(self, cow: int) -> None:
        self.cow = cow
        self.length = 1
        self.first = self.place = 0


def _first_in_list(candidates: list[tuple[int, int, _Run]] | None) -> _Run | None:
    """Takes the run that the kernel would meet first, passing over what was said of runs before they grew in front."""
    while candidates:
        first, place, run = heappop(candidates)
        if (run.first, run.place) == (first, place):
            return run
    return None
