"""Builds an exception table from records in the order of the store, in bulk.

The records are kept as runs in the narrowest integers that fit, then sorted once by a single 64-bit key, so that
NumPy's vectorised sort of plain numbers does the work: *origin chunk and COW chunk* where all runs are one chunk and
were allocated upwards, as kernels do, else *origin chunk and position*. Peak memory is 16 bytes a run where both
devices have less than 2**32 chunks: the sorted arrays take the places of the unsorted ones, beside the key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dmsnap.store.kernel_order import found_by_linux
from dmsnap.store.overlaps import any_overlap, touched_by_overlaps
from dmsnap.store.ranking import Ranking, sort_pairs
from dmsnap.store.runs import UIntArray, expand, run_starts
from dmsnap.store.table import ExceptionTable

__all__ = ["TableBuilder"]


_MOST_SET_ASIDE = 1 << 25


class TableBuilder:
    """Takes records batch by batch and makes the table at the end.

    Args:
        room: How many runs there may be. Memory is set aside for them (up to a bound), and taken only as it is used.

    Attributes:
        duplicates: After `build`: how many records were for a chunk that an earlier record already had.
    """

    def __init__(self, room: int = 0) -> None:
        room = min(room, _MOST_SET_ASIDE)
        self._runs = 0
        self._origin: UIntArray = np.empty(room, np.uint32)
        self._cow: UIntArray = np.empty(room, np.uint32)
        self._length: UIntArray | None = None
        self._ascending = True  # as kernels allocate: then the COW chunk itself tells the order in the store
        self.duplicates = 0

    def add(self, origin: npt.NDArray[np.uint64], cow: npt.NDArray[np.uint64]) -> None:
        """Adds exceptions of one chunk each, in their order in the store; joins those that follow each other."""
        starts = run_starts(origin, cow)
        length = None
        if starts is not None:
            length = np.diff(starts, append=len(origin)).astype(np.uint32)
            origin, cow = origin[starts], cow[starts]
        self._append(origin, cow, length)

    def _append(self, origin: UIntArray, cow: UIntArray, length: UIntArray | None) -> None:
        if not len(origin):
            return
        begin, end = self._runs, self._runs + len(origin)
        self._origin = _grown(self._origin, begin, end, int(origin.max()))
        self._cow = _grown(self._cow, begin, end, int(cow.max()))
        self._origin[begin:end] = origin
        self._cow[begin:end] = cow
        known = self._cow[max(0, begin - 1) : end]
        self._ascending = self._ascending and bool((known[1:] > known[:-1]).all())
        if length is not None and self._length is None:
            self._length = np.ones(begin, np.uint32)
        if self._length is not None:
            self._length = _grown(self._length, begin, end, 0)
            self._length[begin:end] = 1 if length is None else length
        self._runs = end

    def build(self) -> ExceptionTable:
        """Sorts, settles which record of a chunk counts, and returns the table. The builder is used up then."""
        origin, cow = _trimmed(self._origin, self._runs), _trimmed(self._cow, self._runs)
        length = None if self._length is None else _trimmed(self._length, self._runs)
        del self._origin, self._cow, self._length  # so that each array goes as soon as its sorted self is there
        if not len(origin):
            return ExceptionTable(origin, cow, None)
        if length is None and self._ascending and sort_pairs(origin, cow):
            return self._settled(origin, cow, None, lambda runs: cow[runs])
        ranking = Ranking(origin)
        # The sorted arrays take the places of the unsorted ones: memory that was used once is faster than new memory.
        if origin.dtype == cow.dtype:
            origin, cow = cow, ranking.gather(cow, out=origin)
        else:
            cow = ranking.gather(cow)
        origin = ranking.values(out=origin)
        if length is not None:
            length = ranking.gather(length)
        return self._settled(origin, cow, length, ranking.positions)

    def _settled(
        self,
        origin: UIntArray,
        cow: UIntArray,
        length: UIntArray | None,
        position: Callable[[npt.NDArray[np.intp]], npt.NDArray[Any]],
    ) -> ExceptionTable:
        """Makes the table of sorted runs; where they overlap, one record for each chunk is chosen.

        Args:
            origin: As in the table, like the next two.
            cow: See `ExceptionTable`.
            length: See `ExceptionTable`.
            position: Numbers that ascend as the given runs lie in the store.
        """
        if not any_overlap(origin, length):
            return ExceptionTable(origin, cow, length)
        touched = touched_by_overlaps(origin, length)
        runs = np.flatnonzero(touched)
        runs = runs[np.argsort(position(runs), kind="stable")]
        # Wide, since the end of a run may need more bits than its start.
        chunks, copies = origin[runs].astype(np.uint64), cow[runs].astype(np.uint64)
        if length is not None:
            lost = np.repeat(copies == 0, length[runs])
            chunks, copies = expand(chunks, length[runs]), expand(copies, length[runs])
            copies[lost] = 0
        records = len(chunks)
        chunks, copies = found_by_linux(chunks, copies)
        self.duplicates = records - len(chunks)
        ascending = np.argsort(chunks)
        whole = TableBuilder(room=len(origin))
        whole._append(origin[~touched], cow[~touched], None if length is None else length[~touched])
        whole.add(chunks[ascending], copies[ascending])
        return whole.build()


def _trimmed(array: UIntArray, used: int) -> UIntArray:
    """The array itself, with the room that was not used given back."""
    array.resize(used, refcheck=False)
    return array


def _grown(array: UIntArray, used: int, needed: int, largest: int) -> UIntArray:
    """An array with room for ``needed`` items whose type holds ``largest``; the first ``used`` items are kept."""
    if largest >> 32 and array.itemsize == 4:
        wide = np.empty(len(array), np.uint64)
        wide[:used] = array[:used]
        array = wide
    if needed > len(array):
        array.resize(max(needed, len(array) + len(array) // 2), refcheck=False)
    return array
