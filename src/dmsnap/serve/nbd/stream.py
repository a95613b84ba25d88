"""A connection as a stream of bytes, plain or under TLS, with limits on time."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import ssl
import struct
from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import cast

from dmsnap.serve.nbd.violation import ProtocolViolation

__all__ = ["PlainStream", "TlsStream", "Unreadable"]

MOST_PARTS = 512
"""Pieces of memory in one sendmsg(2); Linux takes 1024."""
UNIX_SEND_BYTES = 1 << 19
"""What a Unix socket is asked to hold of replies; Linux counts its own part in and allows for twice that, within
``net.core.wmem_max``. With what it holds by itself (208 KiB), client and server go to sleep in turns over one reply of
1 MiB. TCP finds its own size."""
LEAST_BYTES_A_SECOND = 1 << 16
"""What a client must take or give at least, beside the time that every transfer has."""
BRISK_SECONDS = 200e-6
"""A client is brisk while it does not let the server wait for longer than this, and `LOOK_OUT_SECONDS` after that."""
LOOK_OUT_SECONDS = 100e-6
_ASK_AFTER_SECONDS, _ASK_AGAIN_SECONDS = 60, 15  # TCP: a machine that went away would hold a place for ever
_TLS_BYTES = 1 << 18


class Unreadable(Exception):
    """What was to be sent cannot be read (EFAULT): memory that was lent may be a file that fails, or was cut short."""


class PlainStream:
    """A socket. One thread receives and sends.

    Args:
        sock: Connected, and blocking; it stays the caller's to close.
        send_seconds: How long the client may take nothing of what is sent.

    Attributes:
        looks_out: Whether the thread may wait for a brisk client without going to sleep.
    """

    def __init__(self, sock: socket.socket, *, send_seconds: float) -> None:
        self.sock = sock
        self.looks_out = False
        self._brisk = False
        self._receive_seconds: float | None = None
        self._send_seconds = send_seconds
        self._takes_more = select.poll()
        self._takes_more.register(sock, select.POLLOUT)
        if sock.family == socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNIX_SEND_BYTES)
        sock.settimeout(None)  # limits are the kernel's: those of Python cost a system call each time
        with contextlib.suppress(OSError):  # not for a unix socket
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASK_AFTER_SECONDS)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_AGAIN_SECONDS)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.set_send_seconds(send_seconds)

    def set_send_seconds(self, seconds: float) -> None:
        """Changes how long the client may take nothing of what is sent."""
        self._send_seconds = seconds
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))

    def receive(self, into: memoryview, seconds: float | None) -> int:
        """Waits for something to arrive.

        Args:
            into: Where to put it.
            seconds: How long to wait at most; None for ever.

        Returns:
            How many bytes; 0 where the client sends no more.

        Raises:
            ProtocolViolation: The time is over.
            OSError: The connection is broken.
        """
        if seconds != self._receive_seconds:
            if seconds is not None and seconds <= 0:
                raise _late()
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds or 0))
            self._receive_seconds = seconds
        if self._brisk and (got := self._receive_soon(into)) is not None:
            return got
        begun = perf_counter()
        try:
            got = self.sock.recv_into(into)
        except BlockingIOError:
            raise _late() from None
        self._brisk = self.looks_out and perf_counter() - begun < BRISK_SECONDS
        return got

    def _receive_soon(self, into: memoryview) -> int | None:
        """Looks again and again for a while: to be woken takes longer than a brisk client does."""
        receive, until = self.sock.recv_into, perf_counter() + LOOK_OUT_SECONDS
        while self.looks_out:
            try:
                return receive(into, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if perf_counter() > until:
                    break
        self._brisk = False
        return None

    def receive_ready(self, into: memoryview) -> int | None:
        """As `receive` of what has arrived, without waiting; None for nothing."""
        try:
            return self.sock.recv_into(into, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def has_read_ahead(self) -> bool:
        """Whether `receive_ready` would find something that the socket does not show."""
        return False

    def send(self, parts: Sequence[memoryview | bytes]) -> None:
        """Sends all parts, one after another.

        Raises:
            ProtocolViolation: The client does not take it, or too slowly.
            OSError: The connection is broken.
        """
        if len(parts) > MOST_PARTS:
            for begin in range(0, len(parts), MOST_PARTS):
                self.send(parts[begin : begin + MOST_PARTS])
            return
        try:
            if len(parts) == 1:
                total = len(parts[0])
                sent = self.sock.send(parts[0])
            else:
                total = sum(map(len, parts))
                sent = self.sock.sendmsg(parts)
            if sent < total:
                self._send_rest(parts, sent, total)
        except BlockingIOError:
            raise _late() from None

    def send_now(self, parts: Sequence[memoryview | bytes]) -> int:
        """Sends what the socket takes without waiting, of 1024 parts at most, and returns how many bytes that is.

        Raises:
            Unreadable: The memory of a part cannot be read; nothing was sent.
            OSError: The connection is broken.
        """
        try:
            return self.sock.sendmsg(parts, (), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno == errno.EFAULT:
                raise Unreadable("the memory of a reply cannot be read") from None
            raise

    def deadline(self, size: int) -> float:
        """Until when a client must have taken so many bytes; by `monotonic`."""
        return monotonic() + self._send_seconds + size / LEAST_BYTES_A_SECOND

    def wait_to_send(self, until: float) -> None:
        """Waits until the client takes more.

        Raises:
            ProtocolViolation: It does not, or it is too late.
        """
        left = min(until - monotonic(), self._send_seconds)
        if left <= 0 or not self.takes_more(left):
            raise _late()

    def takes_more(self, seconds: float) -> bool:
        """Whether `send_now` would send something, within so many seconds."""
        return bool(self._takes_more.poll(max(0.0, seconds) * 1000))

    def _send_rest(self, parts: Sequence[memoryview | bytes], sent: int, total: int) -> None:
        until = self.deadline(total)
        for part in parts:
            view = memoryview(part)[sent:]
            sent = max(0, sent - len(part))
            while view:
                if monotonic() > until:
                    raise _late()
                view = view[self.sock.send(view) :]

    def finish(self) -> None:
        """Says that nothing more will be sent."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)


class TlsStream:
    """TLS on a `PlainStream`, which is not to be used otherwise from then on.

    Args:
        plain: The client will send its hello there.
        context: Certificates and rules.
    """

    def __init__(self, plain: PlainStream, context: ssl.SSLContext) -> None:
        self.sock = plain.sock
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._raw = memoryview(bytearray(_TLS_BYTES))
        self._ended = False

    def handshake(self, until: float) -> None:
        """Establishes TLS.

        Raises:
            ProtocolViolation: The client wants it otherwise, has no certificate that will do, or no time is left.
            OSError: The connection is broken.
        """
        try:
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self._push()
                    if not self._pull(self._plain.receive(self._raw, until - monotonic())):
                        raise ProtocolViolation("gone in the middle of the TLS handshake") from None
            self._push()
        except ssl.SSLError as error:
            with contextlib.suppress(OSError, ProtocolViolation):
                self._push()  # the alert that says why
            raise ProtocolViolation(f"no TLS: {error.reason or error}") from None

    def set_send_seconds(self, seconds: float) -> None:
        """As `PlainStream.set_send_seconds`."""
        self._plain.set_send_seconds(seconds)

    def receive(self, into: memoryview, seconds: float | None) -> int:
        """As `PlainStream.receive`."""
        until = None if seconds is None else monotonic() + seconds
        while True:
            got = self._decrypt(into)
            if got is not None:
                return got
            left = None if until is None else until - monotonic()
            self._pull(self._plain.receive(self._raw, left))

    def receive_ready(self, into: memoryview) -> int | None:
        """As `PlainStream.receive_ready`."""
        got = self._decrypt(into)
        if got is None and (arrived := self._plain.receive_ready(self._raw)) is not None:
            self._pull(arrived)
            got = self._decrypt(into)
        return got

    def has_read_ahead(self) -> bool:
        """As `PlainStream.has_read_ahead`: under TLS, what was received may be more than what was asked for."""
        return self._tls.pending() > 0 or (self._incoming.pending > 0 and not self._starved)

    def send(self, parts: Sequence[memoryview | bytes]) -> None:
        """As `PlainStream.send`."""
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[self._tls.write(view[:_TLS_BYTES]) :]
                    self._push()
        except ssl.SSLError as error:
            raise ConnectionAbortedError(str(error)) from None

    def finish(self) -> None:
        """As `PlainStream.finish`."""
        with contextlib.suppress(OSError, ProtocolViolation):
            self._tls.unwrap()
        with contextlib.suppress(OSError, ProtocolViolation):
            self._push()
        self._plain.finish()

    _starved = False  # what is in `_incoming` is less than a record

    def _decrypt(self, into: memoryview) -> int | None:
        """Takes all records that are complete and fit; None for none, 0 at the end."""
        got = 0
        try:
            while got < len(into):
                read = cast(int, self._tls.read(len(into) - got, cast(bytearray, into[got:])))
                if not read:
                    return got
                got += read
        except ssl.SSLWantReadError:
            self._starved = True
            self._push()
            return got or (0 if self._ended else None)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._ended = True
            return got
        except ssl.SSLError as error:
            raise ConnectionAbortedError(str(error)) from None
        return got

    def _pull(self, arrived: int) -> int:
        self._starved = False
        if arrived:
            self._incoming.write(self._raw[:arrived])
        else:
            self._ended = True
            self._incoming.write_eof()
        return arrived

    def _push(self) -> None:
        if data := self._outgoing.read():
            self._plain.send((data,))


def _timeval(seconds: float) -> bytes:
    """Of setsockopt(2); 0 means for ever, and is never meant by a time that is nearly over."""
    microseconds = max(1, int(seconds * 1e6)) if seconds else 0
    return struct.pack("@ll", *divmod(microseconds, 1_000_000))


def _late() -> ProtocolViolation:
    return ProtocolViolation("too slow")
