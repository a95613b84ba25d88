"""Where clients come to: sockets that listen."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from urllib.parse import quote

from dmsnap.errors import DmsnapError

__all__ = ["CannotListen", "Listener"]

BACKLOG = 1024
_IN_USE = "another server listens there"
_MOST_PATH_BYTES = 107
"""Of a unix socket: ``sun_path`` of Linux, without the zero at its end."""

_WAYS_OUT = {
    errno.ENOENT: "make the directory first, or name another path",
    errno.EACCES: "name a place that this user may use; ports below 1024 are privileged",
    errno.EADDRINUSE: "stop what listens there, or take another port; 0 is any that is free",
    errno.EADDRNOTAVAIL: "name an address of this machine",
    socket.EAI_NONAME: "check the name of the host",
}


class CannotListen(DmsnapError):
    """An address cannot be listened on."""


@dataclass(slots=True)
class Listener:
    """A socket that listens.

    Attributes:
        sock: Listening, not blocking.
        address: For clients, as a URI of NBD.
        path: Of a unix socket that `remove` is to remove; None for others.
        identity: Device and inode of that, to remove no other's.
    """

    sock: socket.socket
    address: str
    path: str | None = None
    identity: tuple[int, int] | None = None

    @classmethod
    def unix(cls, path: str | os.PathLike[str], *, tls: bool) -> Listener:
        """Listens on a unix socket that only its owner may connect to. A socket that nobody listens on is replaced.

        Raises:
            CannotListen: Another server does, something else has that path, or it is not permitted.
        """
        if not os.fspath(path):
            raise CannotListen("the path of the socket is empty", hint="name one")
        name = _absolute(os.fspath(path))
        if len(os.fsencode(name)) > _MOST_PATH_BYTES:
            hint = f"{_MOST_PATH_BYTES} bytes is the most, with all its directories"
            raise CannotListen(f"{name}: too long for the path of a socket", hint=hint)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _remove_stale(name)
            os.fchmod(sock.fileno(), 0o600)  # Linux gives the file this mode, so that there is no moment with another
            sock.bind(name)
            os.chmod(name, 0o600)  # noqa: PTH101 - where the line before does nothing
            found = os.lstat(name)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise _cannot_listen(name, error) from error
        except BaseException:
            sock.close()
            raise
        return cls(sock, _unix_uri(name, tls=tls), name, (found.st_dev, found.st_ino))

    @classmethod
    def tcp(cls, host: str, port: int, *, tls: bool) -> Listener:
        """Listens on a TCP port; 0 takes any that is free. Who can reach the host can connect.

        Raises:
            CannotListen: It is taken, or not ours.
        """
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
            sock.setblocking(False)
        except (OSError, OverflowError) as error:
            raise _cannot_listen(f"{host} port {port}", error) from error
        return cls(sock, _tcp_uri(sock, tls=tls))

    @classmethod
    def given(cls, sock: socket.socket, *, tls: bool) -> Listener:
        """Takes a socket that listens already; it is closed in the end, and its path is not removed.

        Raises:
            CannotListen: It is no listening stream socket.
        """
        if sock.type != socket.SOCK_STREAM or not _listens(sock):
            raise CannotListen("the given socket does not listen for streams")
        sock.setblocking(False)
        if sock.family == socket.AF_UNIX:
            return cls(sock, _unix_uri(os.fsdecode(sock.getsockname()), tls=tls))
        return cls(sock, _tcp_uri(sock, tls=tls))

    def close(self) -> None:
        """Stops listening; a unix socket of its own making goes, if it is still that."""
        self.sock.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                found = os.lstat(self.path)
                if (found.st_dev, found.st_ino) == self.identity:
                    os.unlink(self.path)  # noqa: PTH108
            self.path = None


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        hint = "change to another, or name an absolute path"
        raise CannotListen(f"{path}: the working directory is gone", hint=hint) from error


def _cannot_listen(where: str, error: OSError | OverflowError) -> CannotListen:
    number = getattr(error, "errno", None) or 0
    own_words = number <= 0 or isinstance(error, socket.gaierror)  # else Python adds what it attempted
    reason = (getattr(error, "strerror", None) or str(error)) if own_words else os.strerror(number)
    return CannotListen(f"{where}: cannot listen there: {reason.lower()}", hint=_WAYS_OUT.get(number, ""))


def _remove_stale(name: str) -> None:
    """Removes a socket that nobody listens on."""
    try:
        found = os.lstat(name)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise CannotListen(f"{name}: is there already, and no socket", hint="name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            os.unlink(name)  # noqa: PTH108
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass  # its queue is full, so somebody listens
    raise CannotListen(f"{name}: {_IN_USE}", hint="stop it, or name another path")


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _unix_uri(path: str, *, tls: bool) -> str:
    return f"nbd{'s' * tls}+unix:///?socket={quote(os.fsencode(path))}"


def _tcp_uri(sock: socket.socket, *, tls: bool) -> str:
    host, port = sock.getsockname()[:2]
    return f"nbd{'s' * tls}://{f'[{host}]' if ':' in host else host}:{port}"
