"""What other threads have finished for a connection, and how it wakes up for that."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable

__all__ = ["Arrivals"]


class Arrivals:
    """Handed over from any thread, taken by one, which can wait for them in poll(2) beside its socket."""

    def __init__(self) -> None:
        self._queue: deque[Callable[[], None]] = deque()
        self._told = False
        self._wake, self._waiting = socket.socketpair()
        self._wake.setblocking(False)
        self._waiting.setblocking(False)

    def fileno(self) -> int:
        """Readable where something has arrived."""
        return self._waiting.fileno()

    def put(self, arrival: Callable[[], None]) -> None:
        """Hands over; ``arrival`` is called by who takes. It neither blocks nor raises, as a completion demands."""
        self._queue.append(arrival)
        if not self._told:
            self._tell()

    def take(self) -> None:
        """Calls everything that has arrived. After one that raises, the others are for the next `take`."""
        with contextlib.suppress(OSError):  # though nothing was told: one who was about to tell may do so late
            self._waiting.recv(64)
        self._told = False  # before looking: what comes now tells again
        queue = self._queue
        try:
            while queue:
                queue.popleft()()
        finally:
            if queue:
                self._tell()

    def _tell(self) -> None:
        self._told = True
        with contextlib.suppress(OSError):  # full, so that it wakes anyway; or closed: nobody is interested
            self._wake.send(b"\0")

    def close(self) -> None:
        """What still comes is dropped."""
        self._wake.close()
        self._waiting.close()
