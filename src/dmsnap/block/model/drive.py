"""What every model of a drive is: commands go in, time passes, commands are done. Times are seconds, places bytes."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from dmsnap.block.model.host_queue import HostQueue

__all__ = ["Command", "Drive"]


@dataclass(slots=True, eq=False)
class Command:
    """One read or write as the drive sees it.

    Attributes:
        offset: First byte, counted from the start of the drive.
        length: Bytes, never 0.
        write: Whether it writes.
        owner: Whose it is; the drive does not look at it.
    """

    offset: int
    length: int
    write: bool = False
    owner: object = None


class Drive(ABC):
    """A drive in simulated time, which passes only inside `run`.

    The drive takes ``queue_depth`` commands at once; the host keeps the rest, in an order of its own, until one of
    these is done. A model says in `_accept` what becomes of a command, by way of events: `_at` some time a step is
    taken, or `_done_at` some time the command is done.

    Attributes:
        now: Seconds since the drive was made.
        capacity_bytes: Where it ends.
        start_bytes: Where on the drive a device lies that does not say otherwise.
        lock: To be held around `submit` and `run` where several threads use the drive.
    """

    def __init__(self, capacity_bytes: int, start_bytes: int, queue_depth: int, host_queue: HostQueue) -> None:
        self.now = 0.0
        self.capacity_bytes = capacity_bytes
        self.start_bytes = start_bytes
        self.lock = threading.Lock()
        self._room = queue_depth
        self._host_queue = host_queue
        self._events: list[tuple[float, int, Callable[[Command], None] | None, Command]] = []
        self._event_number = 0

    @property
    def busy(self) -> bool:
        """Whether any command is not done yet."""
        return bool(self._events)

    def submit(self, command: Command) -> None:
        """Gives the drive a command, now."""
        if self._room:
            self._room -= 1
            self._accept(command)
        else:
            self._host_queue.add(command)

    def run(self) -> Command:
        """Lets time pass until a command is done, and returns that. The drive must be `busy`."""
        while True:
            self.now, _, step, command = heappop(self._events)
            if step is not None:
                step(command)
                continue
            if self._host_queue:
                self._accept(self._host_queue.take())
            else:
                self._room += 1
            return command

    @abstractmethod
    def _accept(self, command: Command) -> None:
        """Begins, now, with a command that has come into the drive; at least one event must come of it."""

    def _at(self, time: float, step: Callable[[Command], None], command: Command) -> None:
        self._event_number += 1  # events of the same time happen in the order they were arranged
        heappush(self._events, (time, self._event_number, step, command))

    def _done_at(self, time: float, command: Command) -> None:
        self._event_number += 1
        heappush(self._events, (time, self._event_number, None, command))
