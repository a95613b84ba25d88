"""Copying one device to another, or to a stream, with reading and writing at the same time.

One thread reads ahead, the calling thread writes: two threads that both made many small calls would spend their time
handing the interpreter's lock to each other. The calling thread is also where progress is told and where Ctrl-C
arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import cycle
from time import monotonic
from typing import BinaryIO

from dmsnap.block.contract import BlockDevice, ExtentKind
from dmsnap.errors import DmsnapError
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.transfer.zero_blocks import ZERO_BLOCK_BYTES, data_spans

__all__ = ["Progress", "ReaderGone", "copy_data", "copy_everything", "stream_everything"]

Progress = Callable[[int, int], None]
"""``progress(done_bytes, total_bytes)``, called at the start, now and then and at the end, in the calling thread."""

PIECE_BYTES = 1 << 20
"""Small enough to stay in a processor's cache between reading and writing, large enough to make few calls."""

BUFFERS = 4
PROGRESS_SECONDS = 0.1


class ReaderGone(DmsnapError, BrokenPipeError):
    """Whoever read the stream has closed it."""


def copy_data(source: BlockDevice, target: BlockDevice, progress: Progress | None = None) -> int:
    """Copies the data of ``source`` to a target that reads as zeros: neither holes nor zeros are written.

    Args:
        source: What to copy.
        target: At least as long; not touched where the source is zero.
        progress: See `Progress`.

    Returns:
        How many bytes were written.

    Raises:
        IOFailed: Reading or writing failed; no read is under way by then.
    """
    written = 0
    with closing(_read_ahead(source, _data_pieces(source))) as pieces:
        for offset, view in _told(pieces, source.size_bytes, progress):
            for first, stop in data_spans(view):
                target.write_at(offset + first, view[first:stop])
                written += stop - first
    return written


def copy_everything(source: BlockDevice, target: BlockDevice, progress: Progress | None = None) -> int:
    """Copies ``source`` to a target that may hold anything: zeros are written too. The rest as `copy_data`."""
    with closing(_read_ahead(source, _cut(0, source.size_bytes))) as pieces:
        for offset, view in _told(pieces, source.size_bytes, progress):
            target.write_at(offset, view)
    return source.size_bytes


def stream_everything(source: BlockDevice, out: BinaryIO, progress: Progress | None = None) -> int:
    """Writes the whole of ``source`` to a stream, in order. The rest as `copy_data`.

    Raises:
        ReaderGone: The other end of the pipe was closed.
        IOFailed: Reading failed.
        OSError: Writing failed.
    """
    with closing(_read_ahead(source, _cut(0, source.size_bytes))) as pieces:
        try:
            for _, view in _told(pieces, source.size_bytes, progress):
                rest = view
                while rest:
                    rest = rest[out.write(rest) :]  # a stream without a buffer may take a part only
            out.flush()
        except BrokenPipeError as error:
            raise ReaderGone("nobody reads the output any more", hint="the image is not complete") from error
    return source.size_bytes


def _read_ahead(
    source: BlockDevice, pieces: Iterator[tuple[int, int]]
) -> Generator[tuple[int, memoryview], None, None]:
    """Yields each piece with its content, which is good until the next one; a thread reads what comes after it.

    Closing it (or an error) waits for the read that is under way, so that nobody fills a buffer afterwards.
    """
    buffers = cycle([memoryview(bytearray(min(PIECE_BYTES, source.size_bytes))) for _ in range(BUFFERS)])
    ahead: deque[tuple[int, memoryview, Future[None]]] = deque()
    with ThreadPoolExecutor(1, "export-read") as pool:
        try:
            for offset, length in pieces:
                view = next(buffers)[:length]
                ahead.append((offset, view, pool.submit(source.read_into, offset, view)))
                if len(ahead) == BUFFERS:
                    yield _arrived(ahead)
            while ahead:
                yield _arrived(ahead)
        finally:
            pool.shutdown(cancel_futures=True)


def _arrived(ahead: deque[tuple[int, memoryview, Future[None]]]) -> tuple[int, memoryview]:
    offset, view, future = ahead.popleft()
    future.result()
    return offset, view


def _told(
    pieces: Iterable[tuple[int, memoryview]], size_bytes: int, progress: Progress | None
) -> Iterator[tuple[int, memoryview]]:
    """Passes pieces on and tells of progress: at the start, now and then where it stands, and at the end."""
    if progress is None:
        yield from pieces
        return
    progress(0, size_bytes)
    told = monotonic()
    for offset, view in pieces:
        if monotonic() - told >= PROGRESS_SECONDS:
            progress(offset, size_bytes)
            told = monotonic()
        yield offset, view
    progress(size_bytes, size_bytes)


def _data_pieces(source: BlockDevice) -> Iterator[tuple[int, int]]:
    """Yields the data of a device as (offset, length), in whole blocks where it can, cut to pieces, ascending."""
    size = source.size_bytes
    first = stop = 0
    extents = source.data_extents if isinstance(source, SnapshotDevice) else source.extents
    for extent in extents(0, size):
        if extent.kind is ExtentKind.HOLE:
            continue
        begin = extent.offset & -ZERO_BLOCK_BYTES
        if begin > stop:
            yield from _cut(first, stop)
            first = begin
        stop = min(size, (extent.offset + extent.length + ZERO_BLOCK_BYTES - 1) & -ZERO_BLOCK_BYTES)
        whole = stop & -PIECE_BYTES
        if whole > first:
            yield from _cut(first, whole)
            first = whole
    yield from _cut(first, stop)


def _cut(first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cuts a range at multiples of the piece size."""
    while first < stop:
        end = min(stop, (first & -PIECE_BYTES) + PIECE_BYTES)
        yield first, end - first
        first = end
