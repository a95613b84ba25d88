"""Runs that overlap: chunks with more than one record, in a table that is otherwise sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dmsnap.store.runs import UIntArray

__all__ = ["any_overlap", "touched_by_overlaps"]

_BLOCK = 1 << 16
_GROUP_SHIFT = np.uint64(8)


def any_overlap(origin: UIntArray, length: UIntArray | None) -> bool:
    """Whether any runs overlap: in the order of their starts, some neighbours do then."""
    for begin in range(0, len(origin) - 1, _BLOCK):
        gaps = np.diff(origin[begin : begin + _BLOCK + 1])
        if (gaps < (1 if length is None else length[begin : begin + len(gaps)])).any():
            return True
    return False


def touched_by_overlaps(origin: UIntArray, length: UIntArray | None) -> npt.NDArray[np.bool_]:
    """Marks the runs that reach into a group of 256 chunks in which runs overlap.

    Args:
        origin: First chunk of each run, ascending.
        length: Chunks in each, or None where all are one chunk long.
    """
    first_groups, last_groups = _overlapped_groups(origin, length)
    last_groups = np.maximum.accumulate(last_groups)
    touched = np.empty(len(origin), np.bool_)
    for begin in range(0, len(origin), _BLOCK):
        starts, ends = _block(origin, length, begin)
        # Of the stretches that begin no later than the run ends, does one reach up to its start?
        before = np.searchsorted(first_groups, ends - np.uint64(1) >> _GROUP_SHIFT, side="right") - 1
        reach = last_groups[before] >= starts >> _GROUP_SHIFT
        touched[begin : begin + len(starts)] = reach & (before >= 0)
    return touched


def _overlapped_groups(origin: UIntArray, length: UIntArray | None) -> tuple[npt.NDArray[np.uint64], ...]:
    """Where runs overlap, as stretches of groups (first and last), ascending by the first; some runs must."""
    firsts, lasts = [], []
    reached = np.uint64(0)  # the end of all runs so far
    for begin in range(0, len(origin), _BLOCK):
        starts, ends = _block(origin, length, begin)
        before = np.maximum.accumulate(np.concatenate(([reached], ends)))
        reached = before[-1]
        overlap = starts < before[:-1]
        firsts.append(starts[overlap] >> _GROUP_SHIFT)
        lasts.append(np.minimum(ends, before[:-1])[overlap] - np.uint64(1) >> _GROUP_SHIFT)
    return np.concatenate(firsts), np.concatenate(lasts)


def _block(origin: UIntArray, length: UIntArray | None, begin: int) -> tuple[npt.NDArray[np.uint64], ...]:
    """Starts and ends of some runs, wide enough for both."""
    starts = origin[begin : begin + _BLOCK].astype(np.uint64)
    return starts, starts + (np.uint64(1) if length is None else length[begin : begin + _BLOCK])
