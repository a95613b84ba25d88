"""Runs: consecutive origin chunks that lie at consecutive COW chunks, found and handled in bulk."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Runs", "expand", "run_starts"]

_Integer = TypeVar("_Integer", bound=np.integer[Any])

UIntArray = npt.NDArray[np.unsignedinteger[Any]]


class Runs(NamedTuple):
    """Exceptions as runs; row ``i`` says that ``length[i]`` chunks from ``origin[i]`` lie at ``cow[i]`` and on.

    Attributes:
        origin: First chunk on the origin.
        cow: First chunk on the COW device; 0 where the record was damaged and there is no data to be had.
        length: Number of chunks, at least 1.
    """

    origin: npt.NDArray[np.int64]
    cow: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]


def run_starts(origin: npt.NDArray[np.integer[Any]], cow: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.intp] | None:
    """Where runs begin in exceptions of one chunk each, in their order; None when no two of them join."""
    joined = origin[1:] - origin[:-1] == 1
    if not joined.any():  # scattered: half the work is enough to know
        return None
    joined &= cow[1:] - cow[:-1] == 1
    if not joined.any():
        return None
    return np.concatenate((np.zeros(1, np.intp), np.flatnonzero(~joined) + 1))


def expand(first: npt.NDArray[_Integer], length: npt.NDArray[np.integer[Any]]) -> npt.NDArray[_Integer]:
    """Every chunk of every run, one after another."""
    ends = np.cumsum(length)
    steps = np.arange(ends[-1] if len(ends) else 0, dtype=first.dtype)
    begins = (ends - length).astype(first.dtype)
    return np.repeat(first - begins, length) + steps
