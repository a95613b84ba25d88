"""The exception table in memory: which origin chunks have a copy, and where it lies.

Runs sorted by origin chunk, in NumPy arrays of the narrowest type that fits: 8 bytes a run where every run is one chunk
and both devices have less than 2**32 chunks, whatever the size of the origin. One lookup goes through a coarse index
(one entry for some eight runs) and then bisects within a bucket; questions about ranges are answered vectorised.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from dmsnap.store.runs import Runs, UIntArray

__all__ = ["ExceptionTable"]

_BATCH_RUNS = 1 << 16
_RUNS_PER_BUCKET = 8


class ExceptionTable:
    """The completed exceptions of one snapshot. Made by `dmsnap.store.table_builder.TableBuilder`; immutable.

    Args:
        origin: First origin chunk of each run, ascending; runs do not overlap.
        cow: First COW chunk of each run; 0 marks an exception whose data cannot be had.
        length: Chunks in each run, or None where all are one chunk long.
    """

    def __init__(self, origin: UIntArray, cow: UIntArray, length: UIntArray | None) -> None:
        self._origin = origin
        self._cow = cow
        self._length = length
        self._exceptions = len(origin) if length is None else int(length.sum(dtype=np.uint64))
        self._bucket_shift = 0
        self._last_bucket = 0
        self._buckets: memoryview | None = None
        self._origin_view = origin.data
        self._cow_view = cow.data
        self._length_view = None if length is None else length.data

    def __len__(self) -> int:
        """Number of exceptions (chunks)."""
        return self._exceptions

    @property
    def run_count(self) -> int:
        """Number of runs."""
        return len(self._origin)

    @property
    def nbytes(self) -> int:
        """Memory of the table, its index included."""
        index = 0 if self._buckets is None else self._buckets.nbytes
        lengths = 0 if self._length is None else self._length.nbytes
        return self._origin.nbytes + self._cow.nbytes + lengths + index

    @property
    def columns(self) -> tuple[UIntArray, UIntArray, UIntArray | None]:
        """What the table was made of: origin, COW and length of each run. Not to be written to."""
        return self._origin, self._cow, self._length

    def lookup(self, origin_chunk: int) -> int | None:
        """Returns the COW chunk of an origin chunk (0 or more): None without an exception, 0 for a damaged record."""
        buckets = self._buckets or self._build_buckets()
        bucket = origin_chunk >> self._bucket_shift
        if bucket > self._last_bucket:
            bucket = self._last_bucket  # past the start of the last run, maybe still inside it
        run = bisect_right(self._origin_view, origin_chunk, buckets[bucket], buckets[bucket + 1]) - 1
        if run < 0:
            return None
        into = origin_chunk - self._origin_view[run]
        if into and (self._length_view is None or into >= self._length_view[run]):
            return None
        cow: int = self._cow_view[run]
        return cow + into if cow else 0

    def runs_between(self, first: int, stop: int) -> Runs:
        """The runs that touch origin chunks ``first`` up to, not including, ``stop``: clipped to them, ascending."""
        begin, end = self._places(first, stop)
        return _clip(self._slice(begin, end), first, stop)

    def batches(self, first: int = 0, stop: int = 1 << 63) -> Iterator[Runs]:
        """As `runs_between`, by default of all chunks, in batches of bounded size; none is empty."""
        begin, end = self._places(first, stop)
        for at in range(begin, end, _BATCH_RUNS):
            runs = _clip(self._slice(at, min(at + _BATCH_RUNS, end)), first, stop)
            if len(runs.origin):
                yield runs

    def _places(self, first: int, stop: int) -> tuple[int, int]:
        """Which runs touch a range of chunks, and perhaps one before them that does not."""
        first = max(first, 0)
        if stop <= first or not len(self._origin):
            return 0, 0
        key = self._origin.dtype.type
        limit = int(np.iinfo(self._origin.dtype).max)
        begin = len(self._origin) if first > limit else int(np.searchsorted(self._origin, key(first), side="right"))
        end = len(self._origin) if stop > limit else int(np.searchsorted(self._origin, key(stop), side="left"))
        return max(0, begin - 1), end

    def _slice(self, begin: int, end: int) -> Runs:
        origin = self._origin[begin:end].astype(np.int64)
        cow = self._cow[begin:end].astype(np.int64)
        if self._length is None:
            return Runs(origin, cow, np.ones(len(origin), np.int64))
        return Runs(origin, cow, self._length[begin:end].astype(np.int64))

    def _build_buckets(self) -> memoryview:
        """Makes the coarse index: ``buckets[b]`` is the first run that starts in bucket ``b`` of origin chunks."""
        runs = len(self._origin)
        last = int(self._origin[-1]) if runs else 0
        wanted = max(1, runs // _RUNS_PER_BUCKET)
        self._bucket_shift = max(0, last.bit_length() - wanted.bit_length())
        count = (last >> self._bucket_shift) + 1
        edges = np.arange(count, dtype=self._origin.dtype) << self._origin.dtype.type(self._bucket_shift)
        starts = np.empty(count + 1, np.uint32 if runs < 1 << 32 else np.uint64)
        starts[:-1] = np.searchsorted(self._origin, edges)
        starts[-1] = runs
        self._last_bucket = count - 1
        self._buckets = starts.data
        return self._buckets


def _clip(runs: Runs, first: int, stop: int) -> Runs:
    """Cuts runs to the chunks from ``first`` to ``stop``; runs wholly outside go."""
    origin, cow, length = runs
    if not len(origin):
        return runs
    if origin[0] < first:
        skip = first - int(origin[0])
        if skip >= length[0]:
            return _clip(Runs(origin[1:], cow[1:], length[1:]), first, stop)
        origin[0] = first
        length[0] -= skip
        if cow[0]:
            cow[0] += skip
    over = int(origin[-1] + length[-1]) - stop
    if over > 0:
        length[-1] -= over
    return runs
