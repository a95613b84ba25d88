"""Requests under way: sent by whoever asks, answered in a thread that receives, and sent again after a new connection.

Three rules keep it from standing still. The receiving thread never waits to send, so the server can always get rid of
its replies and goes on reading. What would exceed the bounds on requests under way waits in a backlog, which a second
thread sends as room appears; starting a request waits for neither. And a request that was sent has a time limit; when
it passes, the whole connection is given up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from time import monotonic, sleep

from dmsnap.block.contract import IOFailed
from dmsnap.block.medium import CannotOpen
from dmsnap.block.nbd.channel import Channel
from dmsnap.block.nbd.failure import ConnectionLost, ProtocolViolation
from dmsnap.block.nbd.handshake import Terms
from dmsnap.block.nbd.replies import ReplyReader
from dmsnap.block.nbd.request import Broken, Request
from dmsnap.block.nbd.wire import (
    EXTENDED_REQUEST,
    EXTENDED_REQUEST_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    Command,
    CommandFlag,
)

__all__ = ["Connection"]

MOST_REQUESTS = 1024
MOST_BYTES = 64 << 20
"""Requests, and their data, that may be with the server at once."""

SLOWEST_BYTES_A_SECOND = 1 << 20
"""On top of its time limit a request has the time that what is under way takes at this speed."""

CONNECT_SECONDS = 10.0
"""For connecting and the handshake together."""

TICK_SECONDS = 0.5
RETRY_SECONDS = 0.2


class Connection:
    """A connection to one export, with requests under way. Any thread may use it.

    Args:
        name: Of the device, for errors.
        connect: Makes a connection within so many seconds; raises `CannotOpen`.
        timeout_seconds: How long the server may take to answer a request.
        reconnect_seconds: For so long a broken connection is made anew, and what was under way sent again; 0 for never.
        on_reconnect: Called, before anything is sent again, when there is a new connection.

    Attributes:
        terms: What was agreed on; it stays true after a new connection but for the numbers of contexts.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[float], tuple[Channel, Terms]],
        *,
        timeout_seconds: float,
        reconnect_seconds: float,
        on_reconnect: Callable[[], None],
    ) -> None:
        self._name = name
        self._connect = connect
        self._timeout = timeout_seconds
        self._reconnect = reconnect_seconds
        self._on_reconnect = on_reconnect
        self._tick = min(TICK_SECONDS, timeout_seconds / 4)
        channel, self.terms = connect(CONNECT_SECONDS)
        self._pending: dict[int, Request] = {}
        self._backlog: deque[Request] = deque()
        self._sending = threading.Lock()  # held to send, and to change what is sent on
        self._room = threading.Event()
        self._quiet = threading.Event()
        self._closing = False
        self._failure: IOFailed | None = None
        self._cookie = 0
        self._sent_bytes = 0
        self._use(channel, self.terms)
        self._down_since = 0.0
        self._receiver = threading.Thread(target=self._receive, name=f"{name}-replies", daemon=True)
        self._feeder = threading.Thread(target=self._feed, name=f"{name}-backlog", daemon=True)
        try:
            self._receiver.start()
            self._feeder.start()
        except RuntimeError as error:
            channel.shut_down()
            raise CannotOpen(f"{name}: the system has no threads for it", hint="see ulimit -u", device=name) from error

    # -- asking -------------------------------------------------------------------------------------------------------

    def start(self, requests: Sequence[Request]) -> None:
        """Starts requests, and returns without waiting for answers. Each is told its end, an error too."""
        in_callback = threading.current_thread() is self._receiver  # of a completion: it must not wait to send
        with nullcontext() if in_callback else self._sending:
            failure = self._failure
            if failure is None and in_callback:
                self._put_off(requests)
            elif failure is None:
                fit = 0 if self._backlog else self._fitting(requests)
                if fit:
                    self._send(requests[:fit])
                if fit < len(requests):
                    self._put_off(requests[fit:])
        if failure is not None:
            for request in requests:
                request.done.finish(self._again(failure))

    def _put_off(self, requests: Sequence[Request]) -> None:
        """Under ``_sending``, or in the receiving thread, which is the one that may find that all is lost."""
        self._backlog.extend(requests)
        self._room.set()

    def _fitting(self, requests: Sequence[Request]) -> int:
        """How many of the requests may be sent now."""
        if self._channel is None:
            return 0
        free = MOST_REQUESTS - len(self._pending)
        under_way = self._sent_bytes - self._reader.finished_bytes
        for count, request in enumerate(requests):
            if count >= free or (under_way and under_way + request.data_bytes > MOST_BYTES):
                return count
            under_way += request.data_bytes
        return len(requests)

    def _send(self, requests: Sequence[Request]) -> None:
        """Sends under ``_sending``. Where that fails, the receiving thread hears of it and sees to the requests."""
        assert self._channel is not None
        layout, magic = (EXTENDED_REQUEST, EXTENDED_REQUEST_MAGIC) if self.terms.extended else (REQUEST, REQUEST_MAGIC)
        pack, cookie = layout.pack, self._cookie
        parts: list[bytes | memoryview] = []
        heads: list[bytes] = []
        sent = 0
        try:
            under_way = self._sent_bytes - self._reader.finished_bytes + sum(request.data_bytes for request in requests)
            gives_up = monotonic() + self._timeout + under_way / SLOWEST_BYTES_A_SECOND
            for request in requests:
                cookie += 1
                sent += request.data_bytes
                request.gives_up = gives_up
                request.last_try = request.last_try or gives_up + self._reconnect
                flags, writes = request.flags, request.command is Command.WRITE
                if writes and self.terms.extended:
                    flags |= CommandFlag.PAYLOAD_LEN
                heads.append(pack(magic, flags, request.command, cookie, request.offset, request.length))
                if writes:
                    assert request.view is not None
                    parts += (b"".join(heads), request.view)
                    heads = []
                self._pending[cookie] = request
            self._cookie, self._sent_bytes = cookie, self._sent_bytes + sent
            if heads:
                parts.append(b"".join(heads))
            self._channel.send(parts)
        except OSError:
            self._channel.shut_down()
        except BaseException:  # an interrupt: how much went out is not known
            self._channel.shut_down()
            raise

    def _feed(self) -> None:
        """The second thread: sends the backlog as there is room."""
        while True:
            self._room.wait()
            self._room.clear()
            if self._closing and not self._backlog:
                return
            with self._sending:
                while self._backlog and (fit := self._fitting(self._backlog)):
                    self._send([self._backlog.popleft() for _ in range(fit)])

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        """The receiving thread."""
        try:
            failure = self._receive_while_connected()
            while self._revive(failure):
                failure = self._receive_while_connected()
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            failure = IOFailed(f"{self._name}: cannot go on: {error}", device=self._name)
        self._fail(failure)

    def _receive_while_connected(self) -> IOFailed:
        """Receives until that is no longer possible, and returns why."""
        try:
            while True:
                self._reader.receive()
                if self._backlog and self._half_empty():
                    self._room.set()
                if self._closing and not self._pending and not self._backlog:
                    self._quiet.set()
        except Broken as error:
            what = f"{self._name}: the server breaks the NBD protocol: it sent {error}"
            return ProtocolViolation(what, hint="see what runs there", device=self._name)
        except IOFailed as error:
            return error
        except (OSError, EOFError) as error:
            what = "it hung up" if isinstance(error, EOFError) else str(error.strerror or error).lower()
            return ConnectionLost(f"{self._name}: lost the server: {what}", hint="see its log", device=self._name)

    def _half_empty(self) -> bool:
        under_way = self._sent_bytes - self._reader.finished_bytes
        return 2 * len(self._pending) <= MOST_REQUESTS and 2 * under_way <= MOST_BYTES

    def _check_time(self) -> None:
        """Raises when the oldest request has waited for too long."""
        oldest = next(iter(list(self._pending.values())), None)  # a copy: others add to it meanwhile
        if oldest is not None and 0 < oldest.gives_up < monotonic():
            raise ConnectionLost(
                f"{self._name}: the server did not answer within {self._timeout:g} s",
                hint="it hangs, or what it reads from does",
                device=self._name,
            )

    def _use(self, channel: Channel, terms: Terms) -> None:
        channel.run(self._tick)
        self._channel: Channel | None = channel
        self.terms = terms
        self._sent_bytes = 0
        self._reader = ReplyReader(self._name, channel, terms, self._pending, self._check_time)

    # -- a broken connection ------------------------------------------------------------------------------------------

    def _drop(self) -> None:
        """Under ``_sending`` or before it: lets go of the connection, waking whoever is stuck in sending."""
        channel = self._channel
        if channel is not None:
            channel.shut_down()
        with self._sending:
            self._channel = None
        if channel is not None:
            channel.close()

    def _revive(self, failure: IOFailed) -> bool:
        """Makes a new connection, where asked, and has what was under way sent again."""
        self._drop()
        now = monotonic()
        if self._reader.answered or not self._down_since:
            self._down_since = now
        elif not isinstance(failure, ProtocolViolation):
            sleep(min(RETRY_SECONDS, self._reconnect))  # it came back, and was gone again at once
        until = self._down_since + self._reconnect
        while not (isinstance(failure, ProtocolViolation) or self._closing) and (left := until - monotonic()) > 0:
            try:
                channel, terms = self._connect(min(left, CONNECT_SECONDS))
            except OSError:
                sleep(min(RETRY_SECONDS, left))
                continue
            if not terms.same_export(self.terms):
                channel.close()
                return False
            self._on_reconnect()
            with self._sending:
                self._use(channel, terms)
                again = list(self._pending.values())
                self._pending.clear()
                now = monotonic()
                hopeless = [request for request in again if request.last_try < now]
                for request in again:
                    request.forget_answer()
                self._backlog.extendleft(reversed([request for request in again if request.last_try >= now]))
            for request in hopeless:
                request.done.finish(self._again(failure))
            self._put_off(())
            return True
        return False

    def _fail(self, failure: IOFailed) -> None:
        """The end: every request, under way or to come, fails."""
        self._failure = failure
        self._drop()
        with self._sending:
            lost = [*self._pending.values(), *self._backlog]
            self._pending.clear()
            self._backlog.clear()
        for request in lost:
            request.done.finish(self._again(failure))
        self._quiet.set()

    def _again(self, failure: IOFailed) -> IOFailed:
        """The same error once more: each waiting thread raises one of its own."""
        return type(failure)(failure.message, hint=failure.hint, **failure.fields)

    # -- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Waits for what was started, takes leave and ends the threads."""
        self._closing = True
        if self._pending or self._backlog:
            self._quiet.wait()
        with self._sending:
            channel = self._channel
            if channel is not None and self._failure is None:
                layout, magic = (
                    (EXTENDED_REQUEST, EXTENDED_REQUEST_MAGIC) if self.terms.extended else (REQUEST, REQUEST_MAGIC)
                )
                with suppress(OSError):  # it is gone already
                    channel.send([layout.pack(magic, 0, Command.DISC, 0, 0, 0)])
                channel.shut_down()
        self._receiver.join()
        self._room.set()
        self._feeder.join()
