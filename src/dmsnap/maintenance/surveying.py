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


class Surveyor:
    """Takes the records batch by batch, in order.

    Args:
        per_area: Records in one metadata area.
    """

    def __init__(self, per_area: int) -> None:
        self._per_area = np.uint64(per_area)
        self._count = 0
        self._origin: list[Numbers] = []
        self._places: list[Numbers] = []
        self._copies: list[Numbers] = []

    def add(self, event: Exceptions) -> None:
        """Takes one batch."""
        records = event.records
        numbers = np.arange(event.first, event.first + len(records), dtype=np.uint64)
        expected = numbers // self._per_area
        expected += numbers
        expected += np.uint64(FIRST_DATA_CHUNK)
        copies = records[:, 1]
        stray = copies != expected
        if stray.any():
            self._places.append(_narrow(numbers[stray]))
            self._copies.append(_narrow(copies[stray]))
        self._origin.append(_narrow(records[:, 0]))
        self._count += len(records)

    def survey(self) -> Survey:
        """Returns what was seen; the surveyor is used up then."""
        return Survey(self._count, _joined(self._origin), _joined(self._places), _joined(self._copies))


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
