"""Changes laid over sorted runs: some chunks get another place, or none any more. Vectorised, for few and for many.

Runs come as three columns: first origin chunk (ascending, the runs do not overlap), first COW chunk (0 where the data
cannot be had), and length, or None where all are one chunk long.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.store.runs import Runs, UIntArray, expand, run_starts

__all__ = ["REMOVED", "Columns", "overlaid"]

REMOVED = -1
"""Stands for the COW chunk, in changes, where the exception is gone."""

_Int64Array = npt.NDArray[np.int64]
_Integers = npt.NDArray[np.integer[Any]]


class Columns(NamedTuple):
    """Sorted runs in the narrowest type that fits; see the module."""

    origin: UIntArray
    cow: UIntArray
    length: UIntArray | None


def overlaid(base: Columns, changes: Runs) -> Columns:
    """Returns runs with changes laid over them; runs that follow each other on both devices are joined.

    Args:
        base: Sorted runs; left as they are.
        changes: Sorted runs too, not empty, with `REMOVED` for the COW chunk where the exceptions of a run are gone.
            What ``base`` says of their chunks is forgotten.
    """
    starts, ends = changes.origin, changes.origin + changes.length
    origin = _fitting(base.origin, int(ends[-1]))
    first = np.searchsorted(origin, starts.astype(origin.dtype), side="right")
    stop = np.searchsorted(origin, ends.astype(origin.dtype), side="left")
    if len(origin):
        before = np.maximum(first, 1) - 1
        reached = origin[before].astype(np.int64) + (1 if base.length is None else base.length[before].astype(np.int64))
        first -= (first > 0) & (reached > starts)
    touched = stop - first
    if not touched.any():
        return _merged(Columns(origin, base.cow, base.length), _added(changes))
    kept = np.ones(len(origin), np.bool_)
    kept[expand(first, touched)] = False
    rest = Columns(origin[kept], base.cow[kept], None if base.length is None else base.length[kept])
    if base.length is None:  # what is touched is gone, whole
        return _merged(rest, _added(changes))
    cut = ~kept
    pieces = _cut(Runs(*(column[cut].astype(np.int64) for column in (origin, base.cow, base.length))), changes)
    return _merged(rest, pieces)


def _added(changes: Runs) -> Runs:
    added = changes.cow >= 0
    return changes if added.all() else Runs(*(column[added] for column in changes))


def _cut(runs: Runs, changes: Runs) -> Runs:
    """The same for runs of which each touches a change: every stretch between two borders is one or the other's."""
    borders = np.concatenate((runs.origin, runs.origin + runs.length, changes.origin, changes.origin + changes.length))
    borders = np.unique(borders)
    start, length = borders[:-1], np.diff(borders)
    cow = _cow_at(runs, start)
    changed = np.searchsorted(changes.origin, start, side="right") - 1
    into = start - changes.origin[changed]
    inside = (changed >= 0) & (into < changes.length[changed])
    new = changes.cow[changed]
    cow = np.where(inside, np.where(new > 0, new + into, new), cow)
    found = cow >= 0
    return Runs(start[found], cow[found], length[found])


def _cow_at(runs: Runs, chunks: _Int64Array) -> _Int64Array:
    """The COW chunk of each origin chunk, `REMOVED` where it is in no run."""
    run = np.searchsorted(runs.origin, chunks, side="right") - 1
    into = chunks - runs.origin[run]
    cow = runs.cow[run]
    inside = (run >= 0) & (into < runs.length[run])
    return np.where(inside, np.where(cow > 0, cow + into, 0), REMOVED)


def _merged(base: Columns, pieces: Runs) -> Columns:
    """Puts runs between others that they do not overlap."""
    if not len(pieces.origin):
        return _joined(base)
    at = np.searchsorted(base.origin, pieces.origin.astype(base.origin.dtype)) + np.arange(len(pieces.origin))
    others = np.ones(len(base.origin) + len(at), np.bool_)
    others[at] = False
    origin = np.empty(len(others), base.origin.dtype)
    cow = np.empty(len(others), _fitting(base.cow, int(pieces.cow.max())).dtype)
    origin[at], origin[others] = pieces.origin, base.origin
    cow[at], cow[others] = pieces.cow, base.cow
    if base.length is None and (pieces.length == 1).all():
        return _joined(Columns(origin, cow, None))
    length = np.ones(len(others), np.uint64)
    length[at] = pieces.length
    if base.length is not None:
        length[others] = base.length
    return _joined(Columns(origin, cow, length))


def _joined(runs: Columns) -> Columns:
    origin, cow, length = runs
    if length is None:
        starts = run_starts(origin, cow)
        if starts is None:
            return runs
        return Columns(origin[starts], cow[starts], _narrow(np.diff(starts, append=len(origin))))
    follows = (origin[1:] - origin[:-1] == length[:-1]) & (cow[1:] - cow[:-1] == length[:-1]) & (cow[:-1] > 0)
    if follows.any():
        starts = np.concatenate((np.zeros(1, np.intp), np.flatnonzero(~follows) + 1))
        length = np.add.reduceat(length.astype(np.uint64), starts)
        origin, cow = origin[starts], cow[starts]
    return Columns(origin, cow, _narrow(length) if len(length) and length.max() > 1 else None)


def _fitting(array: UIntArray, largest: int) -> UIntArray:
    """The array itself, or a wider copy of it where its type does not hold a number."""
    return array.astype(np.uint64) if largest >> 32 and array.itemsize < 8 else array


def _narrow(length: _Integers) -> UIntArray:
    wide = len(length) > 0 and int(length.max()) >> 32
    return length.astype(np.uint64 if wide else np.uint32)
