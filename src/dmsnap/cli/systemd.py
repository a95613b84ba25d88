"""What a service manager hands over and wants to hear: sockets that listen already, and when the service is ready.

Source: sd_listen_fds(3) and sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket

from dmsnap.errors import DmsnapError

__all__ = ["BadSocket", "notify", "passed_sockets"]

FIRST_DESCRIPTOR = 3
MOST_SOCKETS = 64


class BadSocket(DmsnapError):
    """A descriptor that was handed over is no socket that listens."""


def passed_sockets() -> list[socket.socket]:
    """Takes over the sockets that were handed to this process (``LISTEN_FDS`` and ``LISTEN_PID``), if any.

    Raises:
        BadSocket: One is not a stream socket that listens.
    """
    process, count = (os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS"))
    os.environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or not (count.isascii() and count.isdecimal()):
        return []
    if int(count) > MOST_SOCKETS:
        raise BadSocket(f"LISTEN_FDS={count[:20]}: too many sockets", hint=f"at most {MOST_SOCKETS}")
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(_listening(descriptor))
            for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count))
        ]
        stack.pop_all()
        return sockets


def _listening(descriptor: int) -> socket.socket:
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError:
        passed = None
    if (
        passed is None
        or passed.type != socket.SOCK_STREAM
        or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        if passed is not None:
            passed.detach()
        raise BadSocket(
            f"descriptor {descriptor} of LISTEN_FDS is not a stream socket that listens",
            hint="use ListenStream= and Accept=no in the socket unit",
        )
    passed.set_inheritable(False)
    return passed


def notify(state: str) -> None:
    """Tells a service manager that wants to hear (``NOTIFY_SOCKET``): ``READY=1``, ``STOPPING=1``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(1)
        channel.sendto(state.encode(), address)
