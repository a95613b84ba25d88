"""A store on a device as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice
from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions
from dmsnap.store.format import SECTOR_BYTES, Header, exceptions_per_area
from dmsnap.store.load_trace import LoadTrace
from dmsnap.store.loading import AreaReader
from dmsnap.store.persistent import read_header
from dmsnap.store.prefetch import prefetch_policy

__all__ = ["read_data", "read_events"]

_PIECE_BYTES = 1 << 20
_TOGETHER_BYTES = 8 << 20
_MOST_TOGETHER = 1024


def read_events(
    device: BlockDevice,
    *,
    header: Header | None = None,
    data: bool = False,
    prefetch: str | int = "auto",
    trace: LoadTrace | None = None,
) -> Events:
    """Yields what a store holds, in the order of its metadata and as it lies there: numbers are not judged.

    The records of a store that is marked invalid are yielded too, which no kernel reads.

    Args:
        device: The COW device; it is never written to.
        header: To be taken for the one on the device, where that is lost.
        data: Also the content of the chunks that records point at, as far as there are such chunks.
        prefetch: As for `dmsnap.store.open_store`.
        trace: Hears of the areas; it is for who uses the events to have it `recorded`.

    Raises:
        NotAStore, EmptyStore, BadChunkSize, UnsupportedVersion: By the header; not where one is given.
        TruncatedStore: After the records that there are: the chain of areas runs past the end of the device.
        IOFailed: Something could not be read.
    """
    if header is None:
        header = read_header(device)
    begin = Begin(header, device.size_bytes)
    yield begin
    per_area, count = exceptions_per_area(header.chunk_size_sectors), 0
    for batch in AreaReader(device, header.chunk_size_sectors, prefetch_policy(prefetch), trace).batches():
        yield Exceptions(batch.first_area * per_area + batch.first_index, batch.records)
        count += len(batch.records)
        if data:
            yield from read_data(device, begin.chunk_bytes, batch.records[:, 1])
    yield End(count)


def read_data(device: BlockDevice, chunk_bytes: int, cow_chunks: npt.NDArray[np.uint64]) -> Iterator[Data]:
    """Yields the content of some chunks of a COW device in their order, reading ahead; those past its end are left out.

    Raises:
        IOFailed: One could not be read.
    """
    waiting: list[tuple[int, memoryview, Completion]] = []
    for group in _groups(_pieces(device, chunk_bytes, cow_chunks)):
        room = memoryview(bytearray(sum(length for _, length in group)))
        views, position = [], 0
        for _, length in group:
            views.append(room[position : position + length])
            position += length
        started = device.start_reads([(offset, view) for (offset, _), view in zip(group, views, strict=True)])
        yield from _arrived(waiting, chunk_bytes)
        waiting = [(offset, view, read) for (offset, _), view, read in zip(group, views, started, strict=True)]
    yield from _arrived(waiting, chunk_bytes)


def _arrived(reads: Sequence[tuple[int, memoryview, Completion]], chunk_bytes: int) -> Iterator[Data]:
    for offset, view, read in reads:
        read.wait()
        yield Data(offset // chunk_bytes, view)


def _pieces(device: BlockDevice, chunk_bytes: int, cow: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Yields byte ranges; consecutive chunks go together, and a chunk is never divided."""
    end = device.size_bytes & -max(SECTOR_BYTES, device.logical_block_size_bytes)
    cow = cow[(cow > 0) & (cow < np.uint64(-(-end // chunk_bytes)))].astype(np.int64)
    if not len(cow):
        return
    starts = np.flatnonzero(np.append(True, np.diff(cow) != 1))
    most = max(1, _PIECE_BYTES // chunk_bytes)
    for first, count in zip(cow[starts].tolist(), np.diff(np.append(starts, len(cow))).tolist(), strict=True):
        for chunk in range(first, first + count, most):
            offset = chunk * chunk_bytes
            yield offset, min(min(most, first + count - chunk) * chunk_bytes, end - offset)


def _groups(pieces: Iterator[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yields what is read together."""
    group: list[tuple[int, int]] = []
    size = 0
    for offset, length in pieces:
        if group and (size + length > _TOGETHER_BYTES or len(group) == _MOST_TOGETHER):
            yield group
            group, size = [], 0
        group.append((offset, length))
        size += length
    if group:
        yield group
