"""Which of several records for one origin chunk counts: the one that Linux would find.

Linux (dm-snapshot, completed exceptions) keeps runs in lists ordered by their first origin chunk, each list for a group
of 256 chunks. A record that continues a run at its end joins it, else one that continues the next run at its front
joins that, else it becomes a run of its own behind those that begin no later. A chunk is looked up in the first run
that has it. So the first record of a chunk counts, unless a later one joined a run that begins lower.

Only stores damaged by a race in old kernels (mended in 2.6.28 or so) have such records, so this may take its time.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["found_by_linux"]

Chunks = npt.NDArray[np.uint64]

_GROUP_SHIFT = np.uint64(8)
_MOST_IN_A_GROUP = 1 << 16
"""A group with more records, where Linux would be busy for hours, is garbage: there the first record counts."""


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
    starting: dict[int, list[list[int]]] = {}  # runs, [first COW chunk, length], by first origin chunk, in list order
    ending: dict[tuple[int, int], list[int]] = {}  # the same runs by the record that would continue them
    for record in dict.fromkeys(zip(origin, cow, strict=True)):  # a record that comes again says nothing new
        old, new = record
        run = ending.pop(record, None)
        if run is not None:
            run[1] += 1
        else:
            behind = starting.get(old + 1)
            if behind and behind[0][0] == new + 1:
                run = behind.pop(0)
                run[0] = new
                run[1] += 1
                starting.setdefault(old, []).append(run)
                continue
            run = [new, 1]
            starting.setdefault(old, []).append(run)
        ending[old + 1, new + 1] = run
    found: dict[int, int] = {}
    for old in sorted(starting):
        for new, length in starting[old]:
            for step in range(length):
                found.setdefault(old + step, new + step if new else 0)
    return found
