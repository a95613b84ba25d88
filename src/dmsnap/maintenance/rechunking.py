"""The exceptions of a store as they would be with chunks of another size, from its table, without its data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from dmsnap.maintenance.distinct import Chunks, Pairs, expanded
from dmsnap.maintenance.room import needed_bytes
from dmsnap.store import Store
from dmsnap.store.format import SECTOR_BYTES
from dmsnap.store.table import ExceptionTable

__all__ = [
    "CHUNK_SIZES_SECTORS",
    "WhatIf",
    "at_chunk_sizes",
    "divided",
    "exceptions_at",
    "joined",
    "joined_in_origin_order",
]

CHUNK_SIZES_SECTORS = tuple(1 << shift for shift in range(12))
"""512 bytes to 1 MiB; LVM takes 4 KiB to 512 KiB."""


class WhatIf(NamedTuple):
    """A store with the same content and chunks of another size.

    Attributes:
        chunk_size_bytes: The size of its chunks.
        exceptions: How many it would have.
        size_bytes: The least that its COW device would need.
    """

    chunk_size_bytes: int
    exceptions: int
    size_bytes: int


def at_chunk_sizes(store: Store, origin_size_bytes: int | None = None) -> tuple[WhatIf, ...]:
    """Returns what a store would be at each chunk size, its own among them, ascending.

    Args:
        store: Loaded.
        origin_size_bytes: Where it is known; else the last chunk of the origin counts as a whole one.
    """
    sizes = sorted({*CHUNK_SIZES_SECTORS, store.chunk_size_sectors})
    counts = [exceptions_at(store, size, origin_size_bytes) for size in sizes]
    return tuple(
        WhatIf(size * SECTOR_BYTES, count, needed_bytes(count, size)) for size, count in zip(sizes, counts, strict=True)
    )


def exceptions_at(store: Store, chunk_size_sectors: int, origin_size_bytes: int | None = None) -> int:
    """How many exceptions the content of a store needs with chunks of another size, if all of it is kept."""
    own = store.chunk_size_sectors
    if chunk_size_sectors >= own:
        return sum(int(length.sum()) for _, length in _joined_runs(store.table, chunk_size_sectors // own))
    parts = own // chunk_size_sectors
    count = len(store.table) * parts
    if origin_size_bytes is not None and origin_size_bytes % store.chunk_size_bytes:
        last = origin_size_bytes // store.chunk_size_bytes
        there = -(-(origin_size_bytes % store.chunk_size_bytes) // (chunk_size_sectors * SECTOR_BYTES))
        count -= 0 if store.table.lookup(last) is None else parts - there
    return count


def divided(pairs: Iterable[Pairs], parts: int, stop: int | None = None) -> Iterator[Pairs]:
    """Yields exceptions with chunks a so-manieth of the size: several for each, in order.

    Args:
        pairs: With the larger chunks.
        parts: Into how many each is divided.
        stop: How many of the smaller chunks the origin has, the last part of one counted; None where not known.
    """
    steps = np.arange(parts, dtype=np.int64)
    for origin, source in pairs:
        most = max(1, (1 << 16) // parts)
        for at in range(0, len(origin), most):
            small = (origin[at : at + most, None] * parts + steps).ravel()
            below = (source[at : at + most, None] * parts + steps).ravel()
            if stop is not None and (small >= stop).any():
                small, below = small[small < stop], below[small < stop]
            yield Pairs(small, below)


def joined(pairs: Iterable[Pairs], table: ExceptionTable, parts: int) -> Iterator[Chunks]:
    """Yields the larger chunks, so many times the size, that hold exceptions: each when its first part comes."""
    all_of_them = np.concatenate([np.empty(0, np.int64), *joined_in_origin_order(table, parts)])
    taken = np.zeros(len(all_of_them), np.bool_)
    for origin, _ in pairs:
        place = np.searchsorted(all_of_them, origin // parts)
        place = place[~taken[place]]
        place = place[np.sort(np.unique(place, return_index=True)[1])]
        taken[place] = True
        yield all_of_them[place]


def joined_in_origin_order(table: ExceptionTable, parts: int) -> Iterator[Chunks]:
    """Yields the larger chunks that hold exceptions, ascending."""
    for first, length in _joined_runs(table, parts):
        for chunks, _ in expanded(first, length):
            yield chunks


def _joined_runs(table: ExceptionTable, parts: int) -> Iterator[tuple[Chunks, Chunks]]:
    """Yields the larger chunks as runs that do not overlap: first chunk and length of each, which may be 0."""
    last_before = -1
    for runs in table.batches():
        first, last = runs.origin // parts, (runs.origin + runs.length - 1) // parts
        first = np.maximum(first, np.concatenate(([last_before], last[:-1])) + 1)
        last_before = int(last[-1])
        yield first, last - first + 1
