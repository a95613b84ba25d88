"""Writing dirty buffers: what range, by which thread, and what becomes of an error."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from dmsnap.bufio.buffer import DIRTY, WRITING, Buffer
from dmsnap.bufio.cache import Cache
from dmsnap.bufio.counters import Counters

__all__ = ["WRITE_GRAIN_BYTES", "Writeback", "write_range"]

WRITE_GRAIN_BYTES: Final = 4096
"""A write covers the dirty range rounded outward to multiples of this (Linux dm-bufio, since 4.x)."""

Job = tuple[Buffer, int, int]


def write_range(start: int, end: int, grain_bytes: int, block_size_bytes: int) -> tuple[int, int]:
    """Returns the range of the block that a write of dirty bytes ``[start, end)`` covers."""
    return start - start % grain_bytes, min(end + -end % grain_bytes, block_size_bytes)


class Writeback:
    """Queues writes and does them in up to ``threads`` threads, which live only while there is something to write.

    With 0 threads the caller that starts writes does them before its call returns: the same writes in the same
    order each time. Methods say whether the client's lock must be taken.

    Args:
        lock: The client's lock.
        cache: Hears which writes are over.
        write: Writes range ``[start, end)`` of a buffer to the device; called without the lock.
        notify: Called with the lock taken when a write is over.
        counters: To count in.
        threads: How many writer threads there may be.
        grain_bytes: Writes cover multiples of this.
        block_size_bytes: Size of a block.
    """

    def __init__(
        self,
        lock: threading.Lock,
        cache: Cache,
        write: Callable[[Buffer, int, int], None],
        notify: Callable[[Buffer], None],
        counters: Counters,
        *,
        threads: int,
        grain_bytes: int,
        block_size_bytes: int,
    ) -> None:
        self._lock = lock
        self._cache = cache
        self._write = write
        self._notify = notify
        self._counters = counters
        self._threads = threads
        self._running = 0
        self._grain_bytes = grain_bytes
        self._block_size_bytes = block_size_bytes
        self._queue: deque[Job] = deque()
        self._error: Exception | None = None

    def submit(self, buffer: Buffer) -> None:
        """Queues the write of a dirty buffer that is not being written; follow with `start`. Lock: taken."""
        self._queue.append(self._begin(buffer))

    def start(self) -> None:
        """Sees to it that what is queued gets written. Lock: not taken."""
        if not self._queue:
            return
        if not self._threads:
            self.join_in()
            return
        with self._lock:
            if not self._queue or self._running >= self._threads:
                return
            self._running += 1
        try:
            threading.Thread(target=self._run, name="dmsnap-bufio-writer").start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._run()

    def join_in(self) -> None:
        """Writes in this thread until the queue is empty. Lock: not taken."""
        while True:
            with self._lock:
                if not self._queue:
                    return
                job = self._queue.popleft()
            self._do(job)

    def write_now(self, buffer: Buffer) -> None:
        """Writes a dirty buffer that is not being written, in this thread. Lock: taken, given up meanwhile."""
        job = self._begin(buffer)
        self._lock.release()
        try:
            self._do(job)
        finally:
            self._lock.acquire()

    def wait(self, buffers: Iterable[Buffer]) -> None:
        """Waits until none of ``buffers`` is being written. Lock: taken, given up meanwhile."""
        for buffer in buffers:
            buffer.wait_while(WRITING, self._lock)

    def take_error(self) -> Exception | None:
        """Returns the first error since the last call, and forgets it. Lock: taken."""
        error, self._error = self._error, None
        return error

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running -= 1
                    return
                job = self._queue.popleft()
            self._do(job)

    def _begin(self, buffer: Buffer) -> Job:
        assert buffer.state & (DIRTY | WRITING) == DIRTY, buffer
        start, end = write_range(buffer.dirty_start, buffer.dirty_end, self._grain_bytes, self._block_size_bytes)
        buffer.state ^= DIRTY | WRITING
        self._counters.writes += 1
        self._counters.writes_in_flight += 1
        return buffer, start, end

    def _do(self, job: Job) -> None:
        buffer = job[0]
        error: Exception | None = None
        try:
            self._write(*job)
        except Exception as caught:  # noqa: BLE001  whatever a device or callback raises must not leave it WRITING
            error = caught
        except BaseException:
            self._end(buffer, OSError("the write was interrupted"))
            raise
        self._end(buffer, error)

    def _end(self, buffer: Buffer, error: Exception | None) -> None:
        with self._lock:
            buffer.state &= ~WRITING
            buffer.write_error = error
            if error is not None:
                self._counters.write_errors += 1
                if self._error is None:
                    self._error = error
            self._counters.writes_in_flight -= 1
            self._cache.written(buffer)
            self._notify(buffer)
