"""One client: its thread alone receives and sends, and does what is short; others only put what they finished."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from dmsnap.block.nbd.wire import NbdError
from dmsnap.serve.nbd.arrivals import Arrivals
from dmsnap.serve.nbd.borrowing import Borrower
from dmsnap.serve.nbd.counters import Counters
from dmsnap.serve.nbd.export import Export
from dmsnap.serve.nbd.handshake import GREETING, Agreement, Handshake, Phase
from dmsnap.serve.nbd.memory import Budget
from dmsnap.serve.nbd.outbox import Holdings, Outbox
from dmsnap.serve.nbd.reading import Reader
from dmsnap.serve.nbd.replies import ExtendedReplies, SimpleReplies, StructuredReplies
from dmsnap.serve.nbd.requests import Ahead, Disconnect, Event, Reads, Refused, RequestParser, Writes
from dmsnap.serve.nbd.stream import LEAST_BYTES_A_SECOND, PlainStream, TlsStream
from dmsnap.serve.nbd.tls import TlsServer
from dmsnap.serve.nbd.violation import ProtocolViolation
from dmsnap.serve.nbd.working import Worker

__all__ = ["Connection", "Rules"]

RECEIVE_BYTES = 1 << 19
"""Of the buffer for requests; the data of larger writes gets its own memory."""
HANDSHAKE_BYTES = 1 << 12
LINGER_SECONDS = 1.0
"""How long, at the end, the client has to take its last replies before the connection is closed."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every connection of a server.

    Attributes:
        exports: What there is.
        tls: Demanded where it is not None.
        handshake_seconds: For the whole handshake.
        request_seconds: From the first byte of a request to its last, beside a time for its data.
        send_seconds: How long a client may take nothing.
        budget: Memory for the requests of all.
    """

    exports: Sequence[Export]
    tls: TlsServer | None
    handshake_seconds: float
    request_seconds: float
    send_seconds: float
    budget: Budget


class Connection:
    """Serves one client.

    Args:
        sock: Connected; it stays the caller's to close.
        rules: Of the server.
        agreed: Called once the client has chosen an export.

    Attributes:
        counters: Of this connection.
        stopping: Set to end it after what was received; see `stop`.
    """

    def __init__(self, sock: socket.socket, rules: Rules, agreed: Callable[[], None]) -> None:
        self.counters = Counters()
        self.stopping = False
        self._sock = sock
        self._rules = rules
        self._agreed = agreed
        self._session: _Session | None = None
        self._plain = PlainStream(sock, send_seconds=rules.handshake_seconds)

    def hear_whether_alone(self, alone: bool) -> None:
        """The server has no other client now, or has: only to one it gives processor time that waiting would save."""
        self._plain.looks_out = alone

    def stop(self) -> None:
        """Ends it, from any thread: what was received is answered, and nothing more is received."""
        self.stopping = True
        _shut(self._sock, socket.SHUT_RD)

    def abort(self) -> None:
        """Ends it at once, from any thread; of what it was asked for, nothing more is begun."""
        self.stopping = True
        if self._session is not None:
            self._session.leave()
        _shut(self._sock, socket.SHUT_RDWR)

    def run(self) -> None:
        """Serves until the client or `stop` ends it.

        Raises:
            ProtocolViolation: The client was cut off.
            OSError: The connection broke.
            Exception: A mistake of the server's.
        """
        until = monotonic() + self._rules.handshake_seconds
        stream, handshake = self._shake_hands(until)
        if handshake.agreement is None or self.stopping:
            return
        stream.set_send_seconds(self._rules.send_seconds)
        self._session = session = _Session(self, stream, self._rules, handshake.agreement)
        try:
            session.serve(handshake.rest)
        finally:
            session.close()
        stream.finish()
        if self.stopping:
            self._linger(stream)

    def _shake_hands(self, until: float) -> tuple[PlainStream | TlsStream, Handshake]:
        rules = self._rules
        stream: PlainStream | TlsStream = self._plain
        handshake = Handshake(rules.exports, tls=rules.tls is not None)
        view = memoryview(bytearray(HANDSHAKE_BYTES))
        stream.send((GREETING,))
        while handshake.phase not in (Phase.AGREED, Phase.CLOSED):
            got = stream.receive(view, until - monotonic())
            if not got:
                return stream, handshake
            answer = handshake.receive(view[:got])
            if handshake.phase is Phase.AGREED:
                self._agreed()  # before the client knows, so that it counts as served from then on
            if answer:
                stream.send((answer,))
            if handshake.phase is Phase.TLS and rules.tls is not None:
                stream = TlsStream(self._plain, rules.tls.context)
                stream.handshake(until)
                handshake.secured()
        return stream, handshake

    def _linger(self, stream: PlainStream | TlsStream) -> None:
        """Takes what the client still sends, as closing at once could take the last replies from it."""
        rest = memoryview(bytearray(HANDSHAKE_BYTES))
        until = monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError, ProtocolViolation):
            while stream.receive(rest, until - monotonic()):
                pass


class _Session:
    """The transmission phase."""

    def __init__(
        self, connection: Connection, stream: PlainStream | TlsStream, rules: Rules, agreement: Agreement
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._rules = rules
        self._parser = RequestParser(agreement)
        counters = connection.counters
        replies = SimpleReplies()
        if agreement.structured:
            replies = ExtendedReplies() if agreement.extended else StructuredReplies()
        self._holdings = Holdings(rules.budget, self._wait)
        self._outbox = Outbox(stream, self._holdings)
        self._arrivals = Arrivals()
        shared = (replies, self._outbox, self._arrivals, self._holdings, counters)
        borrower = None
        if isinstance(stream, PlainStream):  # TLS touches what it sends, which borrowed memory forbids
            borrower = Borrower(agreement.export.device, replies, stream, counters)
        self._reader = Reader(agreement.export.device, *shared, borrower)
        self._worker = Worker(agreement, *shared)
        self._device = agreement.export.device
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._poll, self._poll_arrivals = select.poll(), select.poll()
        self._poll.register(stream.sock, select.POLLIN)
        self._poll.register(self._arrivals.fileno(), select.POLLIN)
        self._poll_arrivals.register(self._arrivals.fileno(), select.POLLIN)

    def serve(self, rest: bytes) -> None:
        """Serves until the client says good-bye, sends no more, or the connection is to stop."""
        buffer, connection, holdings = self._buffer, self._connection, self._holdings
        parse = self._parser.parse
        end = len(rest)
        buffer[:end] = rest
        until: float | None = None  # when a request that began to arrive must be there
        while True:
            if end:
                events, used = parse(buffer, end)
                if not self._do_all(events):
                    break
                if used == end:
                    end, until = 0, None
                else:
                    if used or until is None:
                        until = monotonic() + self._rules.request_seconds
                    buffer[: end - used] = buffer[used:end]
                    end -= used
                    ahead = self._parser.ahead
                    if ahead is not None and ahead.head_bytes + ahead.data_bytes > RECEIVE_BYTES:
                        self._take_large(ahead, buffer[ahead.head_bytes : end])
                        end, until = 0, None
            while holdings.crowded:
                self._wait()
            if connection.stopping:
                break
            got = self._receive(buffer[end:] if end else buffer, until)
            if not got:
                break
            end += got
        while holdings.pending:
            self._wait()

    def leave(self) -> None:
        """Nothing more is begun; from any thread."""
        self._worker.leave()

    def close(self) -> None:
        """Waits for what others do for it."""
        self._worker.close()
        self._outbox.parts.clear()
        while self._holdings.pending:
            with contextlib.suppress(Exception):  # one mistake of the server's is enough to end it
                self._wait_for_others()
            self._outbox.parts.clear()
        self._holdings.give_all()
        self._arrivals.close()

    def _do_all(self, events: list[Event]) -> bool:
        """Does what was asked for; False where that is to leave."""
        for event in events:
            if type(event) is Reads:
                self._reader.start(event.requests)
            elif type(event) is Writes:
                self._worker.write(event.requests)
            elif type(event) is Disconnect:
                self._send()
                return False
            elif type(event) is Refused:
                self._worker.refuse(*event)
            else:
                self._worker.do(event)  # type: ignore[arg-type]
        self._send()
        return True

    def _send(self) -> None:
        self._outbox.send()
        self._reader.sent()

    def _wait(self) -> None:
        """Until something that was to be done later is."""
        self._wait_for_others()
        self._send()

    def _wait_for_others(self) -> None:
        if self._reader.collects:
            self._reader.collect(wait=True)
        else:
            self._poll_arrivals.poll()
        self._arrivals.take()

    def _receive(self, into: memoryview, until: float | None) -> int:
        """Waits for the client, and answers meanwhile what others have done; 0 where the client sends no more."""
        while self._holdings.pending:
            if not self._stream.has_read_ahead():
                left = None if until is None else max(0.0, (until - monotonic()) * 1000)
                collects = self._reader.collects
                ready = [number for number, _ in self._poll.poll(0 if collects else left)]
                if self._arrivals.fileno() in ready:
                    self._arrivals.take()
                    self._send()
                if self._stream.sock.fileno() not in ready:
                    if not ready and until is not None and (not collects or left == 0):
                        raise ProtocolViolation("too slow")
                    if collects:
                        self._reader.collect(wait=True)
                        self._send()
                    continue
                if collects:
                    self._reader.collect(wait=False)
                    self._send()
            got = self._stream.receive_ready(into)
            if got is not None:
                return got
        return self._stream.receive(into, None if until is None else until - monotonic())

    def _take_large(self, ahead: Ahead, begun: memoryview) -> None:
        """Receives the data of one large request into memory of its own, and does it."""
        until = monotonic() + self._rules.request_seconds + ahead.data_bytes / LEAST_BYTES_A_SECOND
        refused, size, got = ahead.refused, ahead.data_bytes, len(begun)
        while refused is None:
            try:
                data = self._holdings.memory(size)
                break
            except MemoryError:
                refused = Refused(ahead.cookie, ahead.offset, NbdError.ENOMEM, "no memory")
        if refused is not None:
            while got < size:
                got += self._more(self._buffer[: size - got], until)
            self._worker.refuse(*refused)
            self._send()
            return
        taken = False
        try:
            view = memoryview(data)
            view[:got] = begun
            while got < size:
                got += self._more(view[got:], until)
            if ahead.fua:
                taken = True
                self._worker.write_durably(ahead.cookie, ahead.offset, data)
            else:
                self._worker.write([(ahead.cookie, ahead.offset, view)])
        finally:
            if not taken:
                self._holdings.give(size)
        self._send()

    def _more(self, into: memoryview, until: float) -> int:
        got = self._receive(into, until)
        if not got:
            raise ProtocolViolation("gone in the middle of a request")
        return got


def _shut(sock: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):  # it is closed, or the client is gone
        sock.shutdown(how)
