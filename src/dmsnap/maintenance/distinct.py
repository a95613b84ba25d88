"""The exceptions of a sound store one by one: in the order of its metadata, or of the origin; each chunk once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.maintenance.events import BATCH_RECORDS
from dmsnap.store import Kind, Store
from dmsnap.store.loading import AreaReader
from dmsnap.store.prefetch import prefetch_policy
from dmsnap.store.table import ExceptionTable

__all__ = ["Chunks", "Pairs", "expanded", "in_metadata_order", "in_origin_order"]

Chunks = npt.NDArray[np.int64]


class Pairs(NamedTuple):
    """Chunks of the origin, and where the content of each lies.

    Attributes:
        origin: Chunk numbers.
        source: Chunk numbers on another device.
    """

    origin: Chunks
    source: Chunks


def in_metadata_order(store: Store, prefetch: str | int = "auto") -> Iterator[Pairs]:
    """Yields exceptions as they lie in the store, read once more; of several for one chunk only the one that counts.

    Args:
        store: Loaded; what is found in it is duplicates at most.
        prefetch: As for `dmsnap.store.open_store`.

    Raises:
        IOFailed, TruncatedStore: The store changed since it was loaded.
    """
    chosen = _Chosen(store.table) if any(each.kind is Kind.DUPLICATE for each in store.findings) else None
    for batch in AreaReader(store.device, store.chunk_size_sectors, prefetch_policy(prefetch)).batches():
        pairs = Pairs(batch.records[:, 0].astype(np.int64), batch.records[:, 1].astype(np.int64))
        yield pairs if chosen is None else chosen.of(pairs)


def in_origin_order(table: ExceptionTable) -> Iterator[Pairs]:
    """Yields exceptions in ascending order of their origin chunks."""
    for runs in table.batches():
        for origin, run in expanded(runs.origin, runs.length):
            yield Pairs(origin, origin + (runs.cow - runs.origin)[run])


def expanded(first: Chunks, length: Chunks) -> Iterator[tuple[Chunks, npt.NDArray[np.intp]]]:
    """Yields every chunk of every run, and the number of its run, in batches of bounded size."""
    ends = np.cumsum(length)
    begins = first - (ends - length)
    for at in range(0, int(ends[-1]) if len(ends) else 0, BATCH_RECORDS):
        number = np.arange(at, min(at + BATCH_RECORDS, int(ends[-1])))
        run = np.searchsorted(ends, number, side="right")
        yield begins[run] + number, run


class _Chosen:
    """Tells which records of a store with duplicates are those that its table has, each of them once."""

    def __init__(self, table: ExceptionTable) -> None:
        self._origin, self._cow, length = table.columns
        self._places = np.arange(len(self._origin)) if length is None else np.cumsum(length) - length
        self._taken = np.zeros(len(table), np.bool_)

    def of(self, pairs: Pairs) -> Pairs:
        run = np.searchsorted(self._origin, pairs.origin.astype(self._origin.dtype), side="right") - 1
        into = pairs.origin - self._origin[run].astype(np.int64)
        fits = np.flatnonzero(self._cow[run].astype(np.int64) + into == pairs.source)
        place = self._places[run[fits]].astype(np.int64) + into[fits]
        first = np.sort(np.unique(place, return_index=True)[1])
        first = first[~self._taken[place[first]]]
        self._taken[place[first]] = True
        return Pairs(pairs.origin[fits[first]], pairs.source[fits[first]])
