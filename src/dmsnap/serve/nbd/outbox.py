"""What is to be sent to a client next, and what its requests hold until then."""

from __future__ import annotations

from collections.abc import Callable

from dmsnap.serve.nbd.memory import Budget
from dmsnap.serve.nbd.stream import PlainStream, TlsStream

__all__ = ["Holdings", "Outbox"]

MOST_HELD_BYTES = 64 << 20
"""Of one connection: with more, nothing is received until something was answered."""
MOST_PENDING = 4096
"""Requests of one connection that other threads work on, likewise."""
MEMORY_SECONDS = 10.0
"""How long a request waits for memory that others hold; then it fails."""
ASSURED_BYTES = (2 << 20) + (1 << 16)
"""A connection may hold so much (2 MiB and headers) whatever the others do, or a few could starve the rest."""


class Holdings:
    """What the requests of one connection hold while others work on them.

    Args:
        budget: Of all connections.
        wait: Waits until something pending is done, and answers it.

    Attributes:
        pending: Requests that are not answered.
        held_bytes: Their memory.
    """

    def __init__(self, budget: Budget, wait: Callable[[], None]) -> None:
        self.wait = wait
        self.pending = 0
        self.held_bytes = 0
        self._budget = budget

    def hold(self, size: int) -> None:
        """Accounts for memory, when so much may be held; meanwhile, what others finished is answered.

        Errors as `Outbox.send`, and:

        Raises:
            MemoryError: Other connections hold everything.
        """
        while self.crowded:
            self.wait()
        while not self._budget.try_take(size, anyway=self.held_bytes + size <= ASSURED_BYTES):
            if not self.pending:
                self._budget.take(size, MEMORY_SECONDS)
                break
            self.wait()
        self.held_bytes += size

    def memory(self, size: int) -> bytearray:
        """Returns memory that is accounted for. Errors as `hold`, also where the system has no more."""
        self.hold(size)
        try:
            return bytearray(size)
        except MemoryError:
            self.give(size)
            raise

    def hold_anyway(self, size: int) -> None:
        """Accounts for memory that is held already."""
        self._budget.try_take(size, anyway=True)
        self.held_bytes += size

    def give(self, size: int) -> None:
        """The memory is free."""
        self._budget.give(size)
        self.held_bytes -= size

    def give_all(self) -> None:
        """The connection is over, and nobody works on its requests any more."""
        self.give(self.held_bytes)

    @property
    def crowded(self) -> bool:
        """Whether something must be answered before more is received."""
        return self.pending >= MOST_PENDING or (self.held_bytes >= MOST_HELD_BYTES and self.pending > 0)


class Outbox:
    """Replies, sent together.

    Args:
        stream: Where to.
        holdings: Of the connection.

    Attributes:
        parts: What is to be sent.
    """

    def __init__(self, stream: PlainStream | TlsStream, holdings: Holdings) -> None:
        self.parts: list[memoryview | bytes] = []
        self._stream = stream
        self._holdings = holdings
        self._to_give = 0

    def give_when_sent(self, size: int) -> None:
        """Memory that is free after the next `send`."""
        self._to_give += size

    def send(self) -> None:
        """Sends what there is. Errors as `PlainStream.send`."""
        try:
            if self.parts:
                self._stream.send(self.parts)
        finally:
            self.parts.clear()
            if self._to_give:
                self._holdings.give(self._to_give)
                self._to_give = 0
