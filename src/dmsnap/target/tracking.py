"""I/O that somebody may have to wait for: which ranges of chunks are being read or written now."""

from __future__ import annotations

import threading
from contextlib import suppress
from itertools import count

from dmsnap.block.completion import Completion

__all__ = ["ChunkTracker"]


class ChunkTracker:
    """Ranges of chunks with I/O under way.

    Whoever does I/O begins before it looks up where to; whoever has changed what is found there waits for those who
    began before. So one either sees the change or is waited for (Linux dm-snapshot tracks its reads for the same end).
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._under_way: dict[int, tuple[int, int]] = {}
        self._started: list[tuple[int, int, Completion]] = []
        self._starting = threading.Lock()
        self._look_at = _LOOK_AT
        self._ended = threading.Condition()
        self._waiting = 0

    def begin(self, first: int, stop: int) -> int:
        """Says that I/O on chunks ``first`` up to, not including, ``stop`` begins; returns what `end` takes."""
        number = next(self._numbers)
        self._under_way[number] = first, stop
        return number

    def started(self, first: int, stop: int, read: Completion) -> None:
        """Says that a read on these chunks was started, which began before. It ends by itself."""
        with self._starting:
            self._started.append((first, stop, read))
            if len(self._started) <= self._look_at:
                return
            self._look_at *= 2  # others go on meanwhile
            started = self._started.copy()
        for entry in started:
            entry[2].poll()  # without the lock: it may call somebody who starts a read
        with self._starting:
            self._started = [entry for entry in self._started if not entry[2].done]
            self._look_at = max(_LOOK_AT, 2 * len(self._started))

    def end(self, number: int) -> None:
        """Says that it is over."""
        del self._under_way[number]
        if self._waiting:
            with self._ended:
                self._ended.notify_all()

    def wait_for(self, first: int, stop: int) -> None:
        """Waits until no I/O on these chunks is under way that began before the call."""
        if self._under_way:
            self._wait_for_others(first, stop)
        with self._starting:
            reads = [read for begin, end, read in self._started if begin < stop and first < end]
        for read in reads:
            if not read.done:
                with suppress(Exception):  # an error is for whoever waits for the read
                    read.wait()

    def _wait_for_others(self, first: int, stop: int) -> None:
        with self._ended:
            self._waiting += 1
            try:
                now = self._under_way.copy()  # in one step of the interpreter: others go on
                before = {number for number, (begin, end) in now.items() if begin < stop and first < end}
                while not before.isdisjoint(self._under_way):
                    self._ended.wait(_LOOK_AGAIN_SECONDS)
            finally:
                self._waiting -= 1


_LOOK_AT = 64
"""When so many reads were started, those that are over are forgotten."""

_LOOK_AGAIN_SECONDS = 0.05
"""An end may be missed by one who was about to wait; it is seen this much later."""
