"""Reads that the operating system was told of, and that are collected by whoever waits for them.

``posix_fadvise(2)`` with ``WILLNEED`` puts a read before the medium and returns. Any number are then under way without
a thread for each; what remains is to copy them from the page cache as they arrive. A thread that does so for another
costs two switches between threads a read, which is more than the read itself; so here the one who waits does it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from dmsnap.block.completion import Completion

__all__ = ["AnnouncedRead", "Collector"]

SLOW_SECONDS = 1e-3
"""Where a read takes longer, though it was announced longer ago than it takes, announcing was perhaps of no use."""


class Collector(Protocol):
    """The device that such reads are of."""

    def collect(self, offset: int, view: memoryview) -> None:
        """Reads, and waits for the medium."""

    def collect_at_once(self, offset: int, view: memoryview) -> int:
        """Reads what is at hand, and returns how many bytes that is."""

    def hand_over(self, read: Completion, offset: int, view: memoryview) -> None:
        """Has a thread read, and finish the completion."""

    def announced_in_vain(self) -> None:
        """Hears of a read that took its time although it was announced."""


class AnnouncedRead(Completion):
    """One read; it is done when somebody waited for it, polled it with success, or asked to be called back.

    Args:
        device: Whose read it is.
        offset: Of the first byte.
        view: What is to be filled.
        since: When it was announced, by `perf_counter`.
    """

    __slots__ = ("_device", "_since", "_todo")

    def __init__(self, device: Collector, offset: int, view: memoryview, since: float) -> None:
        super().__init__()
        self._device = device
        self._since = since
        self._todo = [(offset, view)]  # who takes it out does it

    @property
    def collectable(self) -> bool:
        return True

    def wait(self) -> None:
        if not self.done:
            self._collect()
        super().wait()

    def poll(self) -> bool:
        if not self.done and self._todo:
            try:
                offset, view = self._todo.pop()
            except IndexError:  # another thread was first
                return self.done
            got = 0
            try:
                got = self._device.collect_at_once(offset, view)
                if got == len(view):
                    self.finish()
            finally:
                if not self.done:
                    self._put_back(offset + got, view[got:])
        return self.done

    def add_done_callback(self, callback: Callable[[Completion], None]) -> None:
        super().add_done_callback(callback)
        if not self.done:
            self._hand_over()

    def _collect(self) -> None:
        try:
            offset, view = self._todo.pop()
        except IndexError:
            return
        error: Exception | None = None
        try:
            begun = perf_counter()
            try:
                self._device.collect(offset, view)
            except Exception as failure:  # noqa: BLE001 - whatever it is, all who wait must hear of it
                error = failure
            took = perf_counter() - begun
            if took > SLOW_SECONDS and begun - self._since > took:
                self._device.announced_in_vain()
            self.finish(error)
        finally:  # where the thread was interrupted, by Ctrl-C
            if not self.done:
                self._put_back(offset, view)

    def _put_back(self, offset: int, view: memoryview) -> None:
        """Leaves the rest to the next one. Who came meanwhile, and found nothing to do, waits for a call."""
        self._todo.append((offset, view))
        if self._callbacks:
            self._hand_over()

    def _hand_over(self) -> None:
        try:
            offset, view = self._todo.pop()
        except IndexError:  # who has it finishes it, or puts it back
            return
        self._device.hand_over(self, offset, view)
