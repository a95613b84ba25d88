"""Going through the records of a store once, keeping only what it takes to judge them all together.

Kernels since snapshot target 1.12.0 put the copy of record n into the n-th chunk that can hold data. Of records that
say just that, only their number is kept; the others, called strays here, are kept with their place. So a sound store
costs 4 bytes an exception (its origin chunk), and any store up to some 24.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dmsnap.maintenance.events import Exceptions
from dmsnap.store.format import FIRST_DATA_CHUNK

__all__ = ["Numbers", "Survey", "Surveyor", "data_index"]

Numbers = npt.NDArray[Any]
"""Unsigned integers, as narrow as their values allow."""

_NARROW = 1 << 32
_ROOM = 1 << 22
"""Records that memory is asked for at first: the system gives it in large pages, and none before they are used."""


@dataclass(frozen=True, slots=True)
class Survey:
    """All records of a store.

    Attributes:
        count: How many.
        origin: The origin chunk of each.
        places: The numbers of the strays, ascending.
        copies: Their COW chunks.
    """

    count: int
    origin: Numbers
    places: Numbers
    copies: Numbers

    def up_to(self, count: int) -> Survey:
        """Returns the survey of the first ``count`` records."""
        strays = int(np.searchsorted(self.places, count))
        return Survey(count, self.origin[:count], self.places[:strays], self.copies[:strays])

    def copies_of(self, numbers: npt.NDArray[np.int64], per_area: int) -> npt.NDArray[np.uint64]:
        """Returns the COW chunks of some records, ``per_area`` of which are in an area."""
        copies = (numbers + numbers // per_area + FIRST_DATA_CHUNK).astype(np.uint64)
        if len(self.places):
            there = np.searchsorted(self.places, numbers)
            there[there == len(self.places)] = 0
            stray = self.places[there] == numbers
            copies[stray] = self.copies[there[stray]]
        return copies

    def records(self, begin: int, end: int, per_area: int) -> npt.NDArray[np.uint64]:
        """Returns records ``begin`` to ``end`` as they lie in the areas: shape (n, 2)."""
        copies = self.copies_of(np.arange(begin, min(end, self.count)), per_area)
        return np.column_stack((self.origin[begin:end].astype(np.uint64, copy=False), copies))


class Surveyor:
    """Takes the records batch by batch, in order.

    Args:
        per_area: Records in one metadata area.
    """

    def __init__(self, per_area: int) -> None:
        self._per_area = per_area
        self._pattern: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._pattern_begin = 0
        self._count = 0
        self._origin: Numbers = np.empty(_ROOM, np.uint32)
        self._places: list[Numbers] = []
        self._copies: list[Numbers] = []

    def add(self, event: Exceptions) -> None:
        """Takes one batch."""
        records = event.records
        copies = records[:, 1]
        area, begin = divmod(event.first, self._per_area)
        stray = copies != self._in_order(begin, len(records)) + np.uint64(area * (self._per_area + 1))
        if stray.any():
            self._places.append(_narrow(np.flatnonzero(stray) + event.first))
            self._copies.append(_narrow(copies[stray]))
        self._keep(records[:, 0])

    def _keep(self, origin: npt.NDArray[np.uint64]) -> None:
        """Adds origin chunks to the others, in place: memory that is new costs more than anything that is done here."""
        begin, end = self._count, self._count + len(origin)
        if int(origin.max()) >= _NARROW:
            self._widen()
        if end > len(self._origin):
            self._origin.resize(end + end // 4, refcheck=False)
        self._origin[begin:end] = origin
        self._count = end

    def _widen(self) -> None:
        if self._origin.dtype != np.uint64:
            wide = np.empty(len(self._origin), np.uint64)
            wide[: self._count] = self._origin[: self._count]
            self._origin = wide

    def _in_order(self, begin: int, count: int) -> npt.NDArray[np.uint64]:
        """The chunks for data from the one of record ``begin`` on, as if its area were the first: mostly as before."""
        if begin != self._pattern_begin or count > len(self._pattern):
            numbers = np.arange(begin, begin + count, dtype=np.uint64)
            self._pattern = numbers + numbers // np.uint64(self._per_area) + np.uint64(FIRST_DATA_CHUNK)
            self._pattern_begin = begin
        return self._pattern[:count]

    def survey(self) -> Survey:
        """Returns what was seen; the surveyor is used up then."""
        return Survey(self._count, self._origin[: self._count], _joined(self._places), _joined(self._copies))


def data_index(chunks: Numbers, per_area: int) -> npt.NDArray[np.int64]:
    """Returns which chunks for data these are, counted from 0; numbers that cannot be such come out as any."""
    wide = chunks.astype(np.int64)
    wide -= FIRST_DATA_CHUNK
    wide -= wide // (per_area + 1)
    return wide


def _narrow(values: Numbers) -> Numbers:
    return values.astype(np.uint32 if int(values.max()) < _NARROW else np.uint64)


def _joined(parts: list[Numbers]) -> Numbers:
    whole = np.concatenate(parts) if parts else np.empty(0, np.uint32)
    parts.clear()
    return whole
