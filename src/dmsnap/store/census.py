"""Judging records as they are loaded: what is odd, and which numbers the allocator goes on from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dmsnap.store.finding import Finding, worst_first
from dmsnap.store.format import FIRST_DATA_CHUNK, SECTOR_BYTES, exceptions_per_area, record_place
from dmsnap.store.loading import RecordBatch
from dmsnap.store.odd_records import (
    DUPLICATE,
    IMPOSSIBLE_ORIGIN,
    INTO_METADATA,
    OUTSIDE_COW,
    TOP_BITS,
    Oddity,
    outside_origin,
)

__all__ = ["RecordCensus"]

Chunks = npt.NDArray[np.uint64]
_TOP_BITS = np.uint64(56)
_HIGHEST = (1 << 64) - 1
_MAX_DEVICE_BYTES = 1 << 63
"""No Linux block device is larger (loff_t is signed)."""


class RecordCensus:
    """Sees each batch of records once.

    Args:
        name: The COW device's, for messages.
        cow_size_bytes: Its size.
        chunk_size_sectors: The store's chunk size.
        origin_size_bytes: The origin's size, where known.

    Attributes:
        next_free: One more than the highest COW chunk seen (2 for none), before the metadata skip. Damaged records
            count, as they do in the kernel.
    """

    def __init__(
        self, name: str, cow_size_bytes: int, chunk_size_sectors: int, origin_size_bytes: int | None = None
    ) -> None:
        chunk_bytes = chunk_size_sectors * SECTOR_BYTES
        self.next_free = FIRST_DATA_CHUNK
        self._name = name
        self._chunk_bytes = chunk_bytes
        self._per_area = exceptions_per_area(chunk_size_sectors)
        self._cow_chunks = cow_size_bytes // chunk_bytes
        self._begun_chunks = -(-cow_size_bytes // chunk_bytes)  # a last part of a chunk can still be read
        self._possible_chunks = _MAX_DEVICE_BYTES // chunk_bytes
        self._origin_chunks = (
            self._possible_chunks if origin_size_bytes is None else -(-origin_size_bytes // chunk_bytes)
        )
        self._counts: dict[Oddity, int] = {}
        self._first: dict[Oddity, int] = {}

    def judge(self, batch: RecordBatch) -> tuple[Chunks, Chunks]:
        """Returns origin and COW chunks of the records worth keeping; COW chunk 0 where the data cannot be had."""
        origin = np.ascontiguousarray(batch.records[:, 0])
        cow = np.ascontiguousarray(batch.records[:, 1])
        highest = int(cow.max())
        # Like the kernel's, the number behind 2^64 - 1 is 0.
        behind = highest + 1 if highest < _HIGHEST else int((cow + np.uint64(1)).max())
        self.next_free = max(self.next_free, behind)
        stride = np.uint64(self._per_area + 1)
        bad = cow - cow // stride * stride == 1
        if bad.any():
            self._note(INTO_METADATA, batch, bad & (cow < self._cow_chunks))
        if highest >= self._cow_chunks:
            outside = cow >= self._cow_chunks
            top_bits = cow >> _TOP_BITS != 0
            self._note(OUTSIDE_COW, batch, outside & ~top_bits)
            self._note(TOP_BITS, batch, top_bits)
            bad |= cow >= self._begun_chunks
        if bad.any():
            cow[bad] = 0
        if int(origin.max()) >= self._origin_chunks:
            possible = origin < self._possible_chunks
            self._note(outside_origin(self._origin_chunks), batch, (origin >= self._origin_chunks) & possible)
            if not possible.all():
                self._note(IMPOSSIBLE_ORIGIN, batch, ~possible)
                origin, cow = origin[possible], cow[possible]
        return origin, cow

    def findings(self, *, duplicates: int) -> tuple[Finding, ...]:
        """What was seen, the worst first."""
        found = [
            oddity.told(count, record_place(self._first[oddity], self._per_area, self._chunk_bytes))
            for oddity, count in self._counts.items()
        ]
        if duplicates:
            found.append(DUPLICATE.told(duplicates, None))
        return worst_first(found)

    def _note(self, oddity: Oddity, batch: RecordBatch, odd: npt.NDArray[np.bool_]) -> None:
        count = int(np.count_nonzero(odd))
        if not count:
            return
        if oddity not in self._first:
            self._first[oddity] = batch.first_area * self._per_area + batch.first_index + int(np.argmax(odd))
        self._counts[oddity] = self._counts.get(oddity, 0) + count
