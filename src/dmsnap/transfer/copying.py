"""Copying one device to another, or to a stream.

Between devices a few threads share the work, each reading a piece and writing it while it is still in its processor's
cache; the copies between kernel and process run outside the interpreter's lock, so they overlap. The calling thread
only tells of progress, and so stays free for Ctrl-C.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
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

THREADS = 2
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
        IOFailed: Reading or writing failed; every thread has ended by then.
    """
    return _copy(source, target, _data_pieces(source), data_spans, progress)


def copy_everything(source: BlockDevice, target: BlockDevice, progress: Progress | None = None) -> int:
    """Copies ``source`` to a target that may hold anything: zeros are written too. The rest as `copy_data`."""
    return _copy(source, target, _cut(0, source.size_bytes), lambda view: [(0, len(view))], progress)


def stream_everything(source: BlockDevice, out: BinaryIO, progress: Progress | None = None) -> int:
    """Writes the whole of ``source`` to a stream, in order; returns how many bytes that was.

    Raises:
        ReaderGone: The other end of the pipe was closed.
        IOFailed: Reading failed.
        OSError: Writing failed.
    """
    size = source.size_bytes
    buffer = memoryview(bytearray(min(PIECE_BYTES, size)))
    try:
        for offset, length in _cut(0, size):
            if progress is not None:
                progress(offset, size)
            rest = buffer[:length]
            source.read_into(offset, rest)
            while rest:
                rest = rest[out.write(rest) :]  # a stream without a buffer may take a part only
        out.flush()
    except BrokenPipeError as error:
        raise ReaderGone("nobody reads the output any more", hint="the image is not complete") from error
    if progress is not None:
        progress(size, size)
    return size


class _Shared:
    """Pieces that several threads take from one iterator."""

    def __init__(self, pieces: Iterator[tuple[int, int]]) -> None:
        self._pieces = pieces
        self._lock = threading.Lock()
        self.position = 0  # up to where everything is done or under way

    def __iter__(self) -> Iterator[tuple[int, int]]:
        while True:
            with self._lock:
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self.position = piece[0]
            yield piece

    def stop(self) -> None:
        """Lets every thread end after the piece that it has."""
        with self._lock:
            self._pieces = iter(())


def _copy(
    source: BlockDevice,
    target: BlockDevice,
    pieces: Iterator[tuple[int, int]],
    spans: Callable[[memoryview], list[tuple[int, int]]],
    progress: Progress | None,
) -> int:
    shared = _Shared(pieces)

    def work() -> int:
        buffer = memoryview(bytearray(PIECE_BYTES))
        written = 0
        for offset, length in shared:
            view = buffer[:length]
            source.read_into(offset, view)
            for first, stop in spans(view):
                target.write_at(offset + first, view[first:stop])
                written += stop - first
        return written

    size = source.size_bytes
    if progress is not None:
        progress(0, size)
    with ThreadPoolExecutor(THREADS, "export") as pool:
        try:
            works = [pool.submit(work) for _ in range(THREADS)]
            while True:
                ended, running = wait(works, None if progress is None else PROGRESS_SECONDS, FIRST_EXCEPTION)
                if not running or any(future.exception() for future in ended):
                    break
                if progress is not None:
                    progress(shared.position, size)
        finally:
            shared.stop()
    written = sum(future.result() for future in works)
    if progress is not None:
        progress(size, size)
    return written


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
