"""A pipe as the disk of a ring: no read comes before the test wants it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from dmsnap.block import Completion
from dmsnap.block.ring_reads import RingReads

BLOCK = 4096
PATIENCE_SECONDS = 20


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def memory(count: int) -> list[memoryview]:
    return [memoryview(bytearray(BLOCK)) for _ in range(count)]


def in_time(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "waits for ever"


class Medium:
    """Of which the reads are: notes what the ring left to it, and has it all be of one byte."""

    def __init__(self) -> None:
        self.left: list[tuple[int, int]] = []

    def collect(self, offset: int, view: memoryview) -> None:
        self.left.append((offset, len(view)))
        view[:] = b"m" * len(view)

    def collect_at_once(self, offset: int, view: memoryview) -> int:
        return 0

    def hand_over(self, read: Completion, offset: int, view: memoryview) -> None:
        self.collect(offset, view)
        read.finish()

    def announced_in_vain(self) -> None:
        pytest.fail("says that announcing is of no use")


class Pipe:
    """What arrives when the test says so. Of reads from one pipe any may be the first to get something."""

    def __init__(self) -> None:
        self.medium = Medium()
        self.reads = RingReads(self.medium, "pipe")
        self.reads._opened()
        self.views: list[memoryview] = []
        self.fd, self._end = os.pipe()
        self._pipes: list[tuple[int, int]] = []

    def start(self, count: int) -> list[Completion]:
        """Each from a pipe of its own; the memory is added to `views`."""
        reads = []
        for view in memory(count):
            self.views.append(view)
            self._pipes.append(os.pipe())
            reads += self.reads.start(self._pipes[-1][0], [(0, view)])
        return reads

    def arrive(self, *reads: int, length: int = BLOCK) -> None:
        """For those that `start` has started."""
        for number in reads:
            os.write(self._pipes[number][1], b"p" * length)

    def start_together(self, count: int) -> list[Completion]:
        return self.reads.start(self.fd, [(0, view) for view in memory(count)])

    def arrive_together(self, count: int) -> None:
        for _ in range(count):
            os.write(self._end, b"p" * BLOCK)

    def end(self) -> None:
        """Whatever is in flight ends."""
        for _, end in [*self._pipes, (0, self._end)]:
            os.close(end)
        self.reads.drain()
        for begin, _ in [*self._pipes, (self.fd, 0)]:
            os.close(begin)


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]
