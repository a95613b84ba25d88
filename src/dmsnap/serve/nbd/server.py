"""The server: accepts, gives each client a thread, and ends cleanly."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Self

from dmsnap.errors import DmsnapError
from dmsnap.serve.nbd.connection import Connection, Rules
from dmsnap.serve.nbd.counters import Counters
from dmsnap.serve.nbd.descriptors import affordable_connections
from dmsnap.serve.nbd.export import Export, check_exports
from dmsnap.serve.nbd.listening import Listener
from dmsnap.serve.nbd.memory import Budget
from dmsnap.serve.nbd.tls import TlsServer
from dmsnap.serve.nbd.violation import ProtocolViolation

__all__ = ["Server"]

log = logging.getLogger("dmsnap.serve.nbd")

PAUSE_SECONDS = 0.1
"""After accepting failed for want of descriptors or memory."""
ABORT_SECONDS = 5.0
"""How long connections that were broken off have to end."""


class Server:
    """Serves exports to NBD clients; as a context manager it starts, and stops at the end.

    Args:
        exports: What to serve; the first is what a client gets that names none. Their devices stay the caller's.
        tls: Demand TLS. None: none is offered.
        max_connections: At once, or fewer where the limit of open files does not allow for so many. When all are taken,
            the one that has been in its handshake for longest gives way to a new one; where all are served, the new one
            is closed.
        handshake_seconds: For a client to choose an export.
        request_seconds: For a request from its first byte to its last, beside a second for every 64 KiB of its data.
        send_seconds: How long a client may leave replies unread when no more can be sent to it.
        memory_bytes: For the requests of all clients together, beside about 4 MiB for each connection.

    Raises:
        BadRequest: The exports cannot be served.
    """

    def __init__(
        self,
        exports: Sequence[Export],
        *,
        tls: TlsServer | None = None,
        max_connections: int = 256,
        handshake_seconds: float = 10.0,
        request_seconds: float = 30.0,
        send_seconds: float = 30.0,
        memory_bytes: int = 512 << 20,
    ) -> None:
        check_exports(exports)
        self._exports = tuple(exports)
        budget = Budget(memory_bytes)
        self._rules = Rules(self._exports, tls, handshake_seconds, request_seconds, send_seconds, budget)
        self._tls = tls is not None
        self._max_connections = min(max_connections, affordable_connections())
        if self._max_connections < max_connections:
            log.warning("the limit of open files allows for %d clients at once", self._max_connections)
        self._listeners: list[Listener] = []
        self._changed = threading.Condition()
        self._shaking: dict[Connection, threading.Thread] = {}
        self._serving: dict[Connection, threading.Thread] = {}
        self._leaving: set[threading.Thread] = set()
        self._past = Counters()
        self._acceptor: threading.Thread | None = None
        self._stopping = False
        self._wake, self._woken = socket.socketpair()

    # -- where ---------------------------------------------------------------------------------------------------------

    def listen_unix(self, path: str | os.PathLike[str]) -> None:
        """Listens on a unix socket that only its owner may connect to; errors as `Listener.unix`."""
        self._listeners.append(Listener.unix(path, tls=self._tls))

    def listen_tcp(self, host: str, port: int) -> None:
        """Listens on a TCP port, 0 for any; errors as `Listener.tcp`."""
        self._listeners.append(Listener.tcp(host, port, tls=self._tls))

    def listen_on(self, sock: socket.socket) -> None:
        """Takes a socket that listens already (socket activation); errors as `Listener.given`."""
        self._listeners.append(Listener.given(sock, tls=self._tls))

    @property
    def addresses(self) -> list[str]:
        """Where clients find it, as URIs of NBD without an export's name."""
        return [listener.address for listener in self._listeners]

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to accept clients where it listens by now, in a thread; returns at once."""
        if self._acceptor is None:
            self._acceptor = threading.Thread(target=self._accept_all, name="nbd-accept", daemon=True)
            self._acceptor.start()

    def stop(self, *, grace_seconds: float = 30.0) -> None:
        """Ends cleanly; a second call does nothing.

        Nobody is accepted any more, what was asked for is done and answered, connections are closed, and at last the
        devices are flushed.

        Args:
            grace_seconds: After that, what is still not answered is broken off.

        Raises:
            DmsnapError: A device cannot be flushed.
        """
        with self._changed:
            if self._stopping:
                return
            self._stopping = True
        self._wake.send(b"\0")
        if self._acceptor is not None:
            self._acceptor.join()
        for listener in self._listeners:
            listener.close()
        with self._changed:
            connections = {**self._shaking, **self._serving}
            threads = [*connections.values(), *self._leaving]
        for connection in connections:
            connection.stop()
        _join(threads, grace_seconds)
        for connection in connections:
            connection.abort()
        _join(threads, ABORT_SECONDS)
        self._wake.close()
        self._woken.close()
        self._flush()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def wait_for_last_client(self, timeout: float | None = None) -> bool:
        """Waits until a client has been served and none is any more; False where ``timeout`` seconds were not enough.

        A client is served once it has chosen an export: who only looked at the list does not count.
        """
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._past.clients_ever) and not self._serving, timeout)

    @property
    def counters(self) -> Counters:
        """What was done until now, a copy."""
        with self._changed:
            counters = Counters()
            counters.add(self._past)
            counters.connections = len(self._shaking) + len(self._serving)
            counters.clients = len(self._serving)
            for connection in (*self._shaking, *self._serving):
                counters.add(connection.counters)
            return counters

    # -- accepting -----------------------------------------------------------------------------------------------------

    def _accept_all(self) -> None:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        listening = {listener.sock.fileno(): listener.sock for listener in self._listeners}
        for number in listening:
            poll.register(number, select.POLLIN)
        while not self._stopping:
            for number, _ in poll.poll():
                if number in listening:
                    self._accept(listening[number])

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:
            log.warning("cannot accept a client: %s", error)
            select.select([self._woken], [], [], PAUSE_SECONDS)
            return
        connection = Connection(sock, self._rules, lambda: self._agreed(connection))
        thread = threading.Thread(target=self._serve, args=(connection, sock), name="nbd-client", daemon=True)
        if not self._place_for(connection, thread):
            sock.close()
            return
        try:
            thread.start()
        except RuntimeError:  # no more threads
            log.warning("no thread for a client")
            with self._changed:
                self._shaking.pop(connection, None)
                self._past.turned_away += 1
            sock.close()

    def _place_for(self, connection: Connection, thread: threading.Thread) -> bool:
        """Gives a new connection a place, maybe another's."""
        with self._changed:
            self._past.connections_ever += 1
            if len(self._shaking) + len(self._serving) >= self._max_connections:
                self._past.turned_away += 1
                oldest = next(iter(self._shaking), None)
                if oldest is None or len(self._leaving) >= self._max_connections:
                    return False
                self._leaving.add(self._shaking.pop(oldest))
                oldest.abort()
            self._shaking[connection] = thread
            return True

    def _agreed(self, connection: Connection) -> None:
        with self._changed:
            thread = self._shaking.pop(connection, None)
            if thread is None:
                raise ConnectionAbortedError("its place was given to another")
            self._serving[connection] = thread
            self._past.clients_ever += 1
            self._tell_who_is_alone()

    def _tell_who_is_alone(self) -> None:
        for connection in self._serving:
            connection.hear_whether_alone(len(self._serving) == 1)

    def _serve(self, connection: Connection, sock: socket.socket) -> None:
        try:
            connection.run()
        except ProtocolViolation as violation:
            connection.counters.violations += 1
            log.info("a client was cut off: %s", violation)
        except OSError as error:
            log.info("a connection broke: %s", error)
        except Exception:
            connection.counters.crashes += 1
            log.exception("a connection was closed for a mistake of the server's")
        finally:
            with contextlib.suppress(OSError):
                sock.close()
            with self._changed:
                self._past.add(connection.counters)
                self._shaking.pop(connection, None)
                if self._serving.pop(connection, None) is not None:
                    self._tell_who_is_alone()
                self._leaving.discard(threading.current_thread())
                self._changed.notify_all()

    def _flush(self) -> None:
        failure: DmsnapError | None = None
        for export in self._exports:
            if export.writable and not export.device.closed:
                try:
                    export.device.flush()
                except DmsnapError as error:
                    failure = failure or error
        if failure is not None:
            raise failure


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    """Waits for threads, for so long altogether."""
    until = monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - monotonic()))
