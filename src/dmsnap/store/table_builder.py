"""Builds an exception table from records in the order of the store, in bulk.

The records are kept as runs in the narrowest integers that fit, then sorted once by a single 64-bit key, *origin chunk
then position*, so that NumPy's vectorised sort of plain numbers does the work and the first of two records for one
chunk comes first by itself. Peak memory is about 20 bytes a run, while the sorted arrays replace the unsorted ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from dmsnap.store.runs import UIntArray, expand, run_starts
from dmsnap.store.table import ExceptionTable

__all__ = ["TableBuilder"]

_BLOCK = 1 << 18


class TableBuilder:
    """Takes records batch by batch and makes the table at the end.

    Attributes:
        duplicates: After `build`: how many records were for a chunk that an earlier record already had.
    """

    def __init__(self) -> None:
        self._runs = 0
        self._origin: UIntArray = np.empty(0, np.uint32)
        self._cow: UIntArray = np.empty(0, np.uint32)
        self._length: UIntArray | None = None
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
        if length is not None and self._length is None:
            self._length = np.ones(begin, np.uint32)
        if self._length is not None:
            self._length = _grown(self._length, begin, end, 0)
            self._length[begin:end] = 1 if length is None else length
        self._runs = end

    def build(self) -> ExceptionTable:
        """Sorts, lets the first record of a chunk win, and returns the table. The builder is empty afterwards."""
        origin, cow, length = self._origin, self._cow, self._length
        for array in (origin, cow, *(() if length is None else (length,))):
            array.resize(self._runs, refcheck=False)
        self.__init__()  # type: ignore[misc]  # lets go of the unsorted arrays as soon as the local names do
        if not len(origin):
            return ExceptionTable(origin, cow, None)
        origin, order = _sorted_with_order(origin)
        cow = _gather(cow, order)
        if length is not None:
            length = _gather(length, order)
        return self._without_duplicates(origin, cow, length, order)

    def _without_duplicates(
        self, origin: UIntArray, cow: UIntArray, length: UIntArray | None, order: UIntArray
    ) -> ExceptionTable:
        if length is None:
            again = origin[1:] == origin[:-1]
            if again.any():
                keep = np.concatenate((np.ones(1, np.bool_), ~again))
                self.duplicates = len(keep) - int(np.count_nonzero(keep))
                origin, cow = origin[keep], cow[keep]
            return ExceptionTable(origin, cow, None)
        ends = np.maximum.accumulate(origin.astype(np.uint64) + length)
        if not (ends[:-1] > origin[1:]).any():
            return ExceptionTable(origin, cow, length)
        return self._flattened(origin, cow, length, order)

    def _flattened(self, origin: UIntArray, cow: UIntArray, length: UIntArray, order: UIntArray) -> ExceptionTable:
        """Resolves runs that overlap: single chunks in their first order, of which the first wins, joined again."""
        back = np.empty(len(order), np.intp)
        back[order] = np.arange(len(order))
        # Wide, since the end of a run may need more bits than its start.
        origin, cow, length = origin[back].astype(np.uint64), cow[back].astype(np.uint64), length[back]
        copies = expand(cow, length)
        copies[np.repeat(cow == 0, length)] = 0
        singles = TableBuilder()
        singles._append(expand(origin, length), copies, None)
        del copies
        joined = TableBuilder()
        for runs in singles.build().batches():
            joined.add(runs.origin.view(np.uint64), runs.cow.view(np.uint64))
        self.duplicates = singles.duplicates
        return joined.build()


def _grown(array: UIntArray, used: int, needed: int, largest: int) -> UIntArray:
    """An array with room for ``needed`` items whose type holds ``largest``; the first ``used`` items are kept."""
    if largest >> 32 and array.itemsize == 4:
        wide = np.empty(len(array), np.uint64)
        wide[:used] = array[:used]
        array = wide
    if needed > len(array):
        array.resize(max(needed, len(array) + len(array) // 2), refcheck=False)
    return array


def _sorted_with_order(origin: UIntArray) -> tuple[UIntArray, UIntArray]:
    """Sorts ``origin`` in place; also returns where each item was. Equal items keep their order."""
    runs = len(origin)
    position_bits = np.uint64(max(1, (runs - 1).bit_length()))
    if int(origin.max()).bit_length() + int(position_bits) > 64:
        order = np.argsort(origin, kind="stable")
        return origin[order], order.astype(np.uint64)
    key = np.empty(runs, np.uint64)

    def pack(begin: int, end: int) -> None:
        block = key[begin:end]
        np.left_shift(origin[begin:end], position_bits, out=block, dtype=np.uint64)
        block |= np.arange(begin, end, dtype=np.uint64)

    _by_blocks(pack, runs)
    _sort(key)
    mask = np.uint64((1 << int(position_bits)) - 1)

    def unpack(begin: int, end: int) -> None:
        block = key[begin:end]
        origin[begin:end] = block >> position_bits
        block &= mask

    _by_blocks(unpack, runs)
    return origin, key


def _sort(key: npt.NDArray[np.uint64]) -> None:
    """Sorts in place; large arrays in two halves on two processors (NumPy sorts without holding the interpreter)."""
    if len(key) < _BLOCK:
        key.sort()
        return
    middle = len(key) // 2
    key.partition(middle)
    with ThreadPoolExecutor(1) as other:
        lower = other.submit(key[:middle].sort)
        key[middle:].sort()
        lower.result()


def _gather(values: UIntArray, order: UIntArray) -> UIntArray:
    """Returns ``values[order]``."""
    result = np.empty(len(order), values.dtype)

    def gather(begin: int, end: int) -> None:
        # Positions are below 2**63, so the same bits are the signed index that take() wants; "clip" saves its copying.
        np.take(values, order[begin:end].view(np.int64), out=result[begin:end], mode="clip")

    _by_blocks(gather, len(order))
    return result


def _by_blocks(work: Callable[[int, int], None], items: int) -> None:
    """Runs ``work(begin, end)`` over blocks of items: small temporaries, and several processors for many items."""
    begins = range(0, items, _BLOCK)
    if len(begins) < 4:
        for begin in begins:
            work(begin, min(items, begin + _BLOCK))
        return
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(work, begins, (min(items, begin + _BLOCK) for begin in begins)))
