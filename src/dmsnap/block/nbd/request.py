"""One request under way, and what has come of it so far."""

from __future__ import annotations

import struct
from bisect import bisect_left
from typing import Protocol

from dmsnap.block.nbd.wire import Command

__all__ = ["Broken", "Done", "Request"]

MOST_RANGES = 4096
"""A reply may come in pieces in any order; with more gaps than this between them it is refused."""


class Broken(Exception):
    """The server sent what the protocol forbids; says what."""


class Done(Protocol):
    """What is told when a request is finished: a `Completion`, for instance."""

    def finish(self, error: Exception | None = None) -> None:
        """Called once."""
        ...


class Request:
    """A request and its answer.

    Attributes:
        command: What is asked.
        flags: How; `CommandFlag`.
        offset: First byte of the range.
        length: Bytes of the range.
        view: What is read is put there; what is written comes from there.
        done: Is told of the end.
        gives_up: Until when the server must have answered, on the clock of `time.monotonic`; 0 before it was sent.
        last_try: Until when it may be sent again over a new connection.
        error: What the server said was wrong, if it did: the number, the offset, and its words.
        status: For each context the extents as they came: the layout of an entry, and the entries.
    """

    __slots__ = (
        "_ranges",
        "command",
        "done",
        "error",
        "flags",
        "gives_up",
        "last_try",
        "length",
        "offset",
        "status",
        "view",
    )

    def __init__(
        self, command: Command, offset: int, length: int, done: Done, view: memoryview | None = None, flags: int = 0
    ) -> None:
        self.command = command
        self.flags = flags
        self.offset = offset
        self.length = length
        self.view = view
        self.done = done
        self.gives_up = self.last_try = 0.0
        self.error: tuple[int, int, str] | None = None
        self.status: dict[str, tuple[struct.Struct, bytes]] | None = None
        self._ranges: list[int] | None = None

    @property
    def data_bytes(self) -> int:
        """What goes over the network for it, to or fro."""
        return self.length if self.view is not None else 0

    @property
    def untouched(self) -> bool:
        """Whether no piece of an answer came yet."""
        return self._ranges is None and self.error is None

    def forget_answer(self) -> None:
        """Before it is sent again."""
        self.gives_up = 0.0
        self.error = self.status = self._ranges = None

    def place(self, offset: int, length: int) -> memoryview:
        """Returns the memory for a piece of what is read, after checking that it belongs there and is new."""
        start = offset - self.offset
        end = start + length
        if self.command is not Command.READ or self.view is None:
            raise Broken("data for a request that reads nothing")
        if length <= 0 or start < 0 or end > self.length:
            raise Broken(f"{length} bytes of data at byte {offset}, outside what was asked for")
        self._cover(start, end)
        return self.view[start:end]

    def whole(self) -> bool:
        """Tells whether every byte of a read came."""
        return self._ranges == [0, self.length]

    def _cover(self, start: int, end: int) -> None:
        """Notes a range as there. ``_ranges`` is begin, end, begin, end …, rising, touching ones joined."""
        ranges = self._ranges
        if ranges is None:
            self._ranges = [start, end]
            return
        at = bisect_left(ranges, start + 1)  # how many edges lie at or before the start
        if at % 2 or (at < len(ranges) and ranges[at] < end):
            raise Broken("the same bytes of a reply twice")
        before = at > 0 and ranges[at - 1] == start
        after = at < len(ranges) and ranges[at] == end
        ranges[at - before : at + after] = [start] * (not before) + [end] * (not after)
        if len(ranges) > 2 * MOST_RANGES:
            raise Broken("a reply in too many pieces")
