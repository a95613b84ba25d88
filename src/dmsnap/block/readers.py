"""A few threads that wait for reads, so that nobody else has to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from dmsnap.block.completion import Completion
from dmsnap.block.priority import (
    IOPriority,
    asked_io_priority,
    inherit_io_priority,
    io_priority,
    own_io_priority,
)

__all__ = ["ReaderThreads", "StartedRead"]

StartedRead = tuple[Completion, int, memoryview]
"""What to finish, and the byte offset and buffer of the read."""

_Queued = tuple[StartedRead, IOPriority | None]


class ReaderThreads:
    """Daemon threads that run blocking reads and finish their completions.

    No thread exists until the first read is handed over; then one a read, up to ``depth``, that stay until `close`.
    Where the system refuses threads, those that run do all the reads; without any, the caller waits.

    Args:
        read_into: The blocking read: byte offset, buffer.
        depth: Reads that may be with the operating system at once.
        name: Of the threads, for people with a debugger.
    """

    def __init__(self, read_into: Callable[[int, memoryview], None], depth: int, name: str) -> None:
        self._read_into = read_into
        self._depth = depth
        self._name = name
        self._queue: SimpleQueue[_Queued | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._outstanding = 0
        self._lock = threading.Lock()

    def start(self, reads: Sequence[StartedRead]) -> None:
        """Queues reads and returns at once; only when the system gives not one thread, the reads are done first.

        They have the I/O priority that the caller asks for.
        """
        priority = asked_io_priority()
        with self._lock:
            self._outstanding += len(reads)
            self._start_threads(min(self._depth, self._outstanding))
            in_place = not self._threads
        for read in reads:
            if in_place:
                self._finish(read)
            else:
                self._queue.put((read, priority))

    def close(self) -> None:
        """Waits until every started read is finished and the threads have ended."""
        self._queue.put(None)  # behind every read already queued; who takes it puts it back for the next one
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():  # a completion's callback may close the device
                thread.join()
        self._threads = []

    def _start_threads(self, wanted: int) -> None:
        while len(self._threads) < wanted:
            thread = threading.Thread(
                target=self._run, args=(own_io_priority(),), name=f"{self._name}-reader", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # the system has no more to give: fewer have to do
                return
            self._threads.append(thread)

    def _run(self, own_priority: int | None) -> None:
        inherit_io_priority(own_priority)
        while (queued := self._queue.get()) is not None:
            read, priority = queued
            if priority is None:
                self._finish(read)
            else:
                with io_priority(priority):
                    self._finish(read)
            del queued, read  # an idle thread must not keep the caller's buffer alive
        self._queue.put(None)

    def _finish(self, read: StartedRead) -> None:
        completion, offset, view = read
        error: Exception | None = None
        try:
            self._read_into(offset, view)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the one who waits must hear of it
            error = failure
        with self._lock:
            self._outstanding -= 1
        completion.finish(error)
