"""The order in which the host hands out commands that the drive has no room for yet."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dmsnap.block.model.drive import Command

__all__ = ["Elevator", "Fifo", "HostQueue"]


class HostQueue(Protocol):
    """Commands that wait in the host."""

    def __len__(self) -> int: ...

    def add(self, command: Command) -> None:
        """Puts a command in."""

    def take(self) -> Command:
        """Takes out the one whose turn it is."""


class Fifo:
    """First come, first served: Linux's noop and none schedulers, but for merging."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()

    def __len__(self) -> int:
        return len(self._commands)

    def add(self, command: Command) -> None:
        """Puts a command in."""
        self._commands.append(command)

    def take(self) -> Command:
        """Takes out the oldest."""
        return self._commands.popleft()


class Elevator:
    """In ascending order of place, and from the lowest again: what Linux's deadline does until a deadline passes.

    Neighbours are not merged into one command.
    """

    def __init__(self) -> None:
        self._commands: list[Command] = []  # by place; among equals the order they came in
        self._position = 0

    def __len__(self) -> int:
        return len(self._commands)

    def add(self, command: Command) -> None:
        """Puts a command in."""
        insort(self._commands, command, key=_offset)

    def take(self) -> Command:
        """Takes out the next one at or after the end of the one taken before, or else the lowest."""
        at = bisect_left(self._commands, self._position, key=_offset)
        command = self._commands.pop(at if at < len(self._commands) else 0)
        self._position = command.offset + command.length
        return command


def _offset(command: Command) -> int:
    return command.offset
