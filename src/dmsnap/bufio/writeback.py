"""Writing dirty buffers: when, what range, by which thread, and what becomes of an error."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from dmsnap.bufio.buffer import DIRTY, WRITING, Buffer
from dmsnap.bufio.misuse import run_callback
from dmsnap.bufio.state import ClientState

__all__ = ["WRITEBACK_RATIO", "WRITE_GRAIN_BYTES", "Writeback", "write_range"]

WRITE_GRAIN_BYTES: Final = 4096
"""A write covers the dirty range rounded outward to multiples of this (Linux dm-bufio, since 4.x)."""

WRITEBACK_RATIO: Final = 3
"""Background writes start when there are over this many times more DIRTY than CLEAN buffers (Linux dm-bufio)."""

Job = tuple[Buffer, int, int]


def write_range(start: int, end: int, grain_bytes: int, block_size_bytes: int) -> tuple[int, int]:
    """Returns the range of the block that a write of dirty bytes ``[start, end)`` covers."""
    return start - start % grain_bytes, min(end + -end % grain_bytes, block_size_bytes)


class Writeback:
    """Queues writes and does them in up to ``threads`` threads, which live only while there is something to write.

    With 0 threads the caller that starts writes does them before its call returns: the same writes in the same
    order each time. Methods say whether the client's lock must be taken. Whoever submits must call `start` before it
    waits for anything, or two callers could wait for each other's writes.

    Args:
        state: The client's.
        write_callback: Called with a buffer just before each write of it, without the lock.
        threads: How many writer threads there may be.
    """

    def __init__(self, state: ClientState, write_callback: Callable[[Buffer], object] | None, *, threads: int) -> None:
        self._state = state
        self._lock = state.lock
        self._write_callback = write_callback
        self._threads = threads
        self._running = 0
        self._grain_bytes = max(WRITE_GRAIN_BYTES, state.device.logical_block_size_bytes)
        self._queue: deque[Job] = deque()
        self._error: Exception | None = None

    # -- starting writes ----------------------------------------------------------------------------------------------

    def submit(self, buffer: Buffer) -> None:
        """Queues the write of a dirty buffer that is not being written. Lock: taken."""
        self._queue.append(self._begin(buffer))

    def check_ratio(self) -> None:
        """Submits dirty buffers where they outnumber the clean ones, up to the first being written. Lock: taken."""
        cache = self._state.cache
        if len(cache.dirty) > WRITEBACK_RATIO * len(cache.clean):
            cache.settle()
            for buffer in cache.dirty.values():
                if buffer.state & WRITING:
                    break
                if buffer.state & DIRTY:
                    self.submit(buffer)

    def start_all(self) -> list[Buffer]:
        """Starts writing what is dirty, waiting only for dirty buffers that are being written. Lock: not taken.

        Returns:
            The buffers that are being written, maybe with some whose write is over.
        """
        busy = []
        with self._lock:
            self._state.cache.settle()
            buffers = list(self._state.cache.dirty.values())
            for buffer in buffers:
                if buffer.state & DIRTY:
                    if buffer.state & WRITING:
                        busy.append(buffer)
                    else:
                        self.submit(buffer)
        self.start()
        for buffer in busy:
            with self._lock:
                buffer.wait_while(WRITING, self._state)
                if buffer.state & DIRTY:
                    self.submit(buffer)
            self.start()
        return buffers

    def start(self) -> None:
        """Sees to it that what is queued gets written. Lock: not taken."""
        if not self._queue:
            return
        if not self._threads:
            self._join_in()
            return
        with self._lock:
            count = min(self._threads - self._running, len(self._queue))
            self._running += count
        for _ in range(count):
            try:
                threading.Thread(target=self._run, name="dmsnap-bufio-writer").start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._run()

    # -- seeing writes to their end -----------------------------------------------------------------------------------

    def write_all(self) -> Exception | None:
        """Writes what is dirty, this thread helping, and waits for it. Lock: not taken.

        Returns:
            The first error of any write since the last call; it is forgotten.
        """
        buffers = self.start_all()
        self._join_in()
        with self._lock:
            for buffer in buffers:
                buffer.wait_while(WRITING, self._state)
            self._state.cache.settle()
            error, self._error = self._error, None
        return error

    def write_now(self, buffer: Buffer) -> None:
        """Writes a dirty buffer that is not being written, in this thread. Lock: taken, given up meanwhile."""
        job = self._begin(buffer)
        self._lock.release()
        try:
            self._do(job)
        finally:
            self._lock.acquire()

    def keep(self, error: Exception) -> None:
        """Keeps the error of a write for `write_all`, if it is the first. Lock: taken."""
        self._state.counters.write_errors += 1
        if self._error is None:
            self._error = error

    # -- inside -------------------------------------------------------------------------------------------------------

    def _join_in(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    return
                job = self._queue.popleft()
            self._do(job)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._running -= 1  # in one step with the look at the queue, so that no write is left behind
                    return
                job = self._queue.popleft()
            self._do(job)

    def _begin(self, buffer: Buffer) -> Job:
        assert buffer.state & (DIRTY | WRITING) == DIRTY, buffer
        state = self._state
        start, end = write_range(buffer.dirty_start, buffer.dirty_end, self._grain_bytes, state.block_size_bytes)
        buffer.state ^= DIRTY | WRITING
        state.counters.writes += 1
        state.counters.writes_in_flight += 1
        state.note("write", buffer.block)
        return buffer, start, end

    def _do(self, job: Job) -> None:
        buffer, start, end = job
        state = self._state
        error: Exception | None = None
        ended = False
        try:
            if self._write_callback is not None:
                run_callback(self._write_callback, buffer)
            # A copy, so that a holder who goes on changing the buffer cannot tear what is on its way to the device.
            content = bytes(buffer.data[start:end])
            state.device.write_at(state.start_bytes + buffer.block * state.block_size_bytes + start, content)
            ended = True
        except Exception as caught:  # noqa: BLE001  whatever a device or callback raises is the error of this write
            error, ended = caught, True
        finally:
            with self._lock:
                if not ended:  # by an interrupt, which is no error of the device: the buffer is as dirty as before
                    state.cache.mark_dirty(buffer, start, end)
                self._end(buffer, error)

    def _end(self, buffer: Buffer, error: Exception | None) -> None:
        state = self._state
        buffer.state &= ~WRITING
        buffer.write_error = error
        if error is not None:
            self.keep(error)
        state.counters.writes_in_flight -= 1
        state.cache.written(buffer)
        state.note("written", buffer.block)
        state.io_over(buffer)
