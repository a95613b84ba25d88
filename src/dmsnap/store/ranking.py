"""Sorting tens of millions of numbers, and others along with them, in little time and memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

import numpy as np
import numpy.typing as npt

from dmsnap.store.runs import UIntArray

__all__ = ["Ranking", "sort_in_place", "sort_pairs"]

_BLOCK = 1 << 18


class Ranking:
    """The ascending order of some numbers, equal ones in the order they came.

    Number and position are packed into one 64-bit key where they fit, which NumPy sorts several times faster than it
    finds an order (argsort). The numbers themselves need not be kept: `values` gives them back, sorted.

    Args:
        numbers: Unsigned; any that do not fit beside their position are sorted the slow way.
    """

    def __init__(self, numbers: UIntArray) -> None:
        self._count = len(numbers)
        self._bits = np.uint64(max(1, (self._count - 1).bit_length()))
        self._mask = np.uint64((1 << int(self._bits)) - 1)
        self._sorted: UIntArray | None = None
        if not self._count:
            self._key = np.empty(0, np.uint64)
        elif int(numbers.max()).bit_length() + int(self._bits) <= 64:
            self._key = self._packed(numbers)
            sort_in_place(self._key)
        else:
            order = np.argsort(numbers, kind="stable")
            self._sorted = numbers[order]
            self._key = order.astype(np.uint64)

    def values(self, *, out: UIntArray) -> UIntArray:
        """Writes the numbers in ascending order to ``out``, which may be where they came from, and returns it."""

        def unpack(begin: int, end: int) -> None:
            if self._sorted is not None:
                out[begin:end] = self._sorted[begin:end]
            else:
                out[begin:end] = self._key[begin:end] >> self._bits

        _by_blocks(unpack, self._count)
        return out

    def positions(self, ranks: slice | npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
        """Where the numbers of some ranks were."""
        return (self._key[ranks] & self._mask).view(np.int64)

    def gather(self, others: UIntArray, *, out: UIntArray | None = None) -> UIntArray:
        """Returns other numbers, one for each, in the same order; in ``out``, another array of their type, if given."""
        result = np.empty(self._count, others.dtype) if out is None else out

        def gather(begin: int, end: int) -> None:
            # Every position is in range; "clip" only saves the copy that checking before writing would need.
            np.take(others, self.positions(slice(begin, end)), out=result[begin:end], mode="clip")

        _by_blocks(gather, self._count)
        return result

    def _packed(self, numbers: UIntArray) -> npt.NDArray[np.uint64]:
        key = np.empty(self._count, np.uint64)

        def pack(begin: int, end: int) -> None:
            block = key[begin:end]
            np.left_shift(numbers[begin:end], self._bits, out=block, dtype=np.uint64)
            block |= np.arange(begin, end, dtype=np.uint64)

        _by_blocks(pack, self._count)
        return key


def sort_pairs(first: UIntArray, second: UIntArray) -> bool:
    """Sorts rows of two arrays in place, by the first, then the second number, if both fit into 64 bits together.

    Returns:
        Whether they did; else nothing was done.
    """
    bits = np.uint64(int(second.max()).bit_length())
    if int(first.max()).bit_length() + int(bits) > 64:
        return False
    key = np.empty(len(first), np.uint64)

    def pack(begin: int, end: int) -> None:
        block = key[begin:end]
        np.left_shift(first[begin:end], bits, out=block, dtype=np.uint64)
        block |= second[begin:end]

    def unpack(begin: int, end: int) -> None:
        block = key[begin:end]
        first[begin:end] = block >> bits
        second[begin:end] = block & mask

    mask = np.uint64((1 << int(bits)) - 1)
    _by_blocks(pack, len(first))
    sort_in_place(key)
    _by_blocks(unpack, len(first))
    return True


def sort_in_place(key: UIntArray) -> None:
    """Sorts in place; large arrays in two halves on two processors (NumPy sorts without holding the interpreter)."""
    if len(key) < _BLOCK:
        key.sort()
        return
    middle = len(key) // 2
    key.partition(middle)
    lower = Thread(target=key[:middle].sort)
    try:
        lower.start()
    except RuntimeError:  # the system has no thread to give
        key.sort()
        return
    key[middle:].sort()
    lower.join()


def _by_blocks(work: Callable[[int, int], None], items: int) -> None:
    """Runs ``work(begin, end)`` over blocks of items: small temporaries, and several processors for many items."""
    begins = range(0, items, _BLOCK)
    if len(begins) < 4:
        for begin in begins:
            work(begin, min(items, begin + _BLOCK))
        return
    from concurrent.futures import ThreadPoolExecutor  # with it comes logging: for small stores that is much

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(work, begins, (min(items, begin + _BLOCK) for begin in begins)))
