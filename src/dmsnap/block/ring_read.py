"""One read that is with the kernel by a ring."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from dmsnap.block.announced import AnnouncedRead, Collector
from dmsnap.block.completion import Completion
from dmsnap.block.contract import ReadRequest

__all__ = ["RingRead", "Ringed"]


class Ringed(Protocol):
    """The reads of a ring."""

    def wait_for(self, tag: int) -> None:
        """Waits until the read of that tag has arrived."""

    def look(self) -> None:
        """Takes out what has arrived."""

    def watch(self, tag: int) -> None:
        """Has a thread wait for a read."""


class RingRead(AnnouncedRead):
    """One read that is in a ring; what the kernel did not read of it (it was short, or failed) is as if announced.

    Args:
        reads: It is among these.
        device: Reads the rest.
        tag: By which the ring knows it.
    """

    __slots__ = ("_reads", "tag")

    def __init__(self, reads: Ringed, device: Collector, tag: int) -> None:  # of every read: calls no other
        self.done = False
        self.error = None
        self._callbacks = None
        self._device = device
        self._since = math.inf  # it was not in vain
        self._todo = []
        self._reads = reads
        self.tag = tag

    def wait(self) -> None:
        if not self.done:
            self._reads.wait_for(self.tag)
        super().wait()

    def poll(self) -> bool:
        if not self.done and not self._todo:
            self._reads.look()
        return self.done or super().poll()

    def add_done_callback(self, callback: Callable[[Completion], None]) -> None:
        super().add_done_callback(callback)
        if not self.done:
            self._reads.watch(self.tag)

    def leave(self, rest: ReadRequest) -> None:
        """What the kernel did not read is for who waits; `settle` has to follow."""
        self._todo.append(rest)

    def settle(self) -> None:
        """Has a thread read the rest, if somebody asked to be called."""
        if self._callbacks:
            self._hand_over()
