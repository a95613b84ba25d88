"""What can go wrong with a server, as the errors of the device contract."""

from __future__ import annotations

import errno
import os

from dmsnap.block.contract import IOFailed, OutOfRoom, ReadOnlyDevice
from dmsnap.block.medium import CannotOpen
from dmsnap.block.nbd.wire import Command, NbdError
from dmsnap.errors import DmsnapError

__all__ = ["ConnectionLost", "ProtocolViolation", "cannot_open", "printable_text", "refused_request"]

MOST_MESSAGE_CHARACTERS = 200
"""As much of a server's own words goes into an error."""

_VERBS = {
    Command.READ: "read",
    Command.WRITE: "write",
    Command.FLUSH: "flush",
    Command.TRIM: "discard",
    Command.CACHE: "prefetch",
    Command.WRITE_ZEROES: "zero",
    Command.BLOCK_STATUS: "look for data",
}

_HINTS = {
    NbdError.EPERM: "the server allows no changes",
    NbdError.EIO: "the server's medium is failing; see its log",
    NbdError.ENOSPC: "make room where the server keeps it",
    NbdError.ESHUTDOWN: "the server is shutting down",
}


class ConnectionLost(IOFailed):
    """The connection to the server broke, or the server was silent for too long."""


class ProtocolViolation(IOFailed):
    """The server sent what the protocol forbids; the connection is of no use any more."""


def refused_request(name: str, command: Command, offset: int, number: int, message: str) -> DmsnapError:
    """Returns the error for a request that the server answered with one.

    Args:
        name: Of the device.
        command: What was asked.
        offset: Where it failed, or else where the request began, in bytes.
        number: The error on the wire, see `NbdError`.
        message: The server's words, or empty.
    """
    changes = command in (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
    kind: type[IOFailed | ReadOnlyDevice] = IOFailed
    if number == NbdError.ENOSPC:
        kind = OutOfRoom
    elif number == NbdError.EPERM and changes:
        kind = ReadOnlyDevice
    what = message or _meaning(number)
    error = kind(
        f"{name}: cannot {_VERBS[command]} at byte {offset}: {what}",
        hint=_HINTS.get(NbdError(number), "") if number in _NUMBERS else "",
        device=name,
        offset_bytes=offset,
    )
    error.errno = _of_this_system(number)
    return error


def cannot_open(name: str, what: str, hint: str, number: int | None = None) -> CannotOpen:
    """Returns the one-line error for an address that gives no device."""
    error = CannotOpen(f"{name}: {what}", hint=hint, device=name)
    error.errno = number
    return error


def printable_text(data: bytes | bytearray | memoryview) -> str:
    """Returns a server's words as they can stand in a one-line message."""
    text = bytes(data[: 4 * MOST_MESSAGE_CHARACTERS]).decode("utf-8", "replace")[:MOST_MESSAGE_CHARACTERS]
    return "".join(letter if letter.isprintable() else "?" for letter in text).strip()


_NUMBERS = frozenset(NbdError)


def _of_this_system(number: int) -> int:
    """The wire has Linux's numbers; others have the same names."""
    return int(getattr(errno, NbdError(number).name, number)) if number in _NUMBERS else number


def _meaning(number: int) -> str:
    if number in _NUMBERS:
        return os.strerror(_of_this_system(number)).lower()
    return f"error {number} of the server"
