"""``GET /metrics`` and nothing else of HTTP: every byte from the socket is hostile.

A request gets a few seconds from its first byte to its reply and a few KiB; so many connections are answered at once,
and one more is closed unheard. No dependency, and nothing of the request is used but its first line.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from time import monotonic

from dmsnap.serve.metrics import CONTENT_TYPE

__all__ = ["MetricsEndpoint"]

MOST_REQUEST_BYTES = 8192
MOST_CONNECTIONS = 8
DEADLINE_SECONDS = 5.0

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
}


class MetricsEndpoint:
    """Answers scrapes on a listening socket, in threads of its own, until it is closed.

    Args:
        listener: Bound and listening; taken over.
        collect: Called for each scrape; returns the text.
        deadline_seconds: What a connection may take in all.
    """

    def __init__(
        self, listener: socket.socket, collect: Callable[[], str], *, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        listener.setblocking(True)
        self._listener = listener
        self._collect = collect
        self._deadline_seconds = deadline_seconds
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops listening; what is being answered ends by itself, in bounded time. A second call does nothing."""
        if self._closing:
            return
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._closing:
                    return
                threading.Event().wait(0.1)  # no descriptors left, for instance: it may pass
                continue
            if not self._free.acquire(blocking=False):
                connection.close()
                continue
            try:
                threading.Thread(target=self._answer, args=(connection,), name="metrics", daemon=True).start()
            except RuntimeError:  # no more threads
                self._free.release()
                connection.close()

    def _answer(self, connection: socket.socket) -> None:
        until = monotonic() + self._deadline_seconds
        try:
            with connection, contextlib.suppress(OSError):
                status, text = self._reply_to(_request(connection, until))
                body = text.encode("utf-8", "backslashreplace")
                head = (
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {CONTENT_TYPE}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                )
                _send(connection, head.encode() + body, until)
        finally:
            self._free.release()

    def _reply_to(self, request: bytes) -> tuple[int, str]:
        """Returns status and body."""
        if not request.endswith(b"\r\n\r\n"):
            return (431, "too long\n") if len(request) >= MOST_REQUEST_BYTES else (400, "not a request\n")
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return 400, "not a request\n"
        if words[0] != b"GET":
            return 405, "GET only\n"
        if words[1].split(b"?")[0] != b"/metrics":
            return 404, "it is at /metrics\n"
        try:
            return 200, self._collect()
        except Exception as error:  # noqa: BLE001 - whatever fails while the numbers are taken, the scraper is told
            return 500, f"{type(error).__name__}\n"


def _request(connection: socket.socket, until: float) -> bytes:
    """Reads up to the empty line that ends a request, what there is at its end, or as much as is allowed."""
    request = b""
    while len(request) < MOST_REQUEST_BYTES:
        _limit(connection, until)
        part = connection.recv(MOST_REQUEST_BYTES - len(request))
        request += part
        end = request.find(b"\r\n\r\n")
        if end >= 0:
            return request[: end + 4]
        if not part:
            break
    return request


def _send(connection: socket.socket, data: bytes, until: float) -> None:
    view = memoryview(data)
    while view:
        _limit(connection, until)
        view = view[connection.send(view) :]


def _limit(connection: socket.socket, until: float) -> None:
    """Gives the next call on a connection what is left of its time.

    Raises:
        TimeoutError: Nothing is.
    """
    left = until - monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)
