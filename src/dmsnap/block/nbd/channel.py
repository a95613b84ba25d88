"""A connection as a row of bytes each way.

One thread receives while others, one at a time, send. A channel begins with a deadline for everything (the handshake);
`run` ends that: from then on sending waits as long as it takes, and receiving wakes its thread now and then.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from dmsnap.block.nbd.uri import NbdAddress

__all__ = ["Channel", "PlainChannel", "connect"]

MOST_PARTS = 512
"""Pieces of memory in one system call; Linux allows 1024, others fewer."""


class Channel(Protocol):
    """What the protocol needs of a connection."""

    def receive_into(self, view: memoryview) -> int:
        """Waits for bytes and returns how many were put into ``view``; 0 at the end of the connection.

        Raises:
            TimeoutError, BlockingIOError: Nothing came within a tick (or, before `run`, until the deadline).
            OSError: The connection broke.
        """
        ...

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """Sends all of it. Raises `OSError`; then part of it may have been sent."""
        ...

    def limit(self, seconds: float) -> None:
        """The next calls give up, with `TimeoutError`, after so many seconds."""
        ...

    def run(self, tick_seconds: float) -> None:
        """Ends the time limit; receiving now wakes after ``tick_seconds`` in which nothing came."""
        ...

    def shut_down(self) -> None:
        """Ends both directions, so that whoever waits in another thread wakes up."""
        ...

    def close(self) -> None:
        """Lets go of the connection; nobody may be using it."""
        ...


class PlainChannel:
    """The bytes as they are."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.receive_into = connection.recv_into

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """See `Channel`."""
        if len(parts) == 1:
            self.socket.sendall(parts[0])
            return
        for first in range(0, len(parts), MOST_PARTS):
            some = parts[first : first + MOST_PARTS]
            sent = self.socket.sendmsg(some)
            for part in some:
                if sent < len(part):
                    self.socket.sendall(memoryview(part)[sent:] if sent else part)
                sent = max(0, sent - len(part))

    def limit(self, seconds: float) -> None:
        """See `Channel`."""
        self.socket.settimeout(seconds)

    def run(self, tick_seconds: float) -> None:
        """See `Channel`. The system keeps the tick: Python's own would cost another system call for each receive."""
        self.socket.settimeout(None)
        milliseconds = max(1, int(tick_seconds * 1000))
        tick = (
            struct.pack("@L", milliseconds)
            if sys.platform == "win32"
            else struct.pack("@ll", milliseconds // 1000, milliseconds % 1000 * 1000)
        )
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, tick)

    def shut_down(self) -> None:
        """See `Channel`."""
        with contextlib.suppress(OSError):  # it is no longer connected
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Channel`."""
        self.socket.close()


def connect(address: NbdAddress, seconds: float) -> PlainChannel:
    """Connects to where an export is, without speaking yet.

    Raises:
        OSError: There is no such place, nobody answers there, or not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    if address.unix is not None:
        return PlainChannel(_connected(socket.socket(socket.AF_UNIX), address.unix, deadline))
    refused: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        try:
            connection = _connected(socket.socket(family, kind, protocol), place, deadline)
        except OSError as error:
            refused = error
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return PlainChannel(connection)
    raise refused or OSError("the name has no address")


def _connected(connection: socket.socket, place: Any, deadline: float) -> socket.socket:
    try:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.connect(place)
    except BaseException:
        connection.close()
        raise
    return connection
