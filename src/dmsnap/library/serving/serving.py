"""A server and everything that it serves, as one thing that can be closed."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.origin_doubts import Warn
from dmsnap.library.serving.parts import Parts, Snap, export_names
from dmsnap.library.serving.tcp_address import tcp_address
from dmsnap.library.snapshot_file import SnapshotFile, WhenFull, WritableSnapshotFile
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.serve.nbd import Export, Server, TlsServer
from dmsnap.store import Store
from dmsnap.target.exceptions import SyncMode
from dmsnap.target.status import Status, store_status

__all__ = ["Offer", "Serving", "serve"]


class Offer(NamedTuple):
    """An export, as a client meets it.

    Attributes:
        name: What clients ask for.
        size_bytes: Its size.
        read_only: Whether writes are refused.
        uris: Where it is, one for each address that is listened on.
    """

    name: str
    size_bytes: int
    read_only: bool
    uris: list[str]


class Serving:
    """A running NBD server, and what it serves: `serve` makes it; closing it, or leaving its ``with`` block, ends it.

    Attributes:
        server: The server, with its counters.
        exports: What it serves, by name.
    """

    def __init__(self, parts: Parts, server: Server, exports: Sequence[Export], stack: ExitStack, warn: Warn) -> None:
        self.server = server
        self._warn = warn
        self.exports = {export.name: export for export in exports}
        self._parts = parts
        self._stack = stack.pop_all()

    @property
    def addresses(self) -> list[str]:
        """Where it listens: ``nbd+unix:///?socket=PATH``, ``nbd://HOST:PORT``."""
        return self.server.addresses

    def uri(self, name: str) -> str:
        """Returns the URI of an export, as NBD clients take it, on the first address.

        Raises:
            KeyError: There is no such export.
        """
        return self.uris(name)[0]

    def uris(self, name: str) -> list[str]:
        """Returns the URI of an export on each address. Errors as `uri`."""
        path = quote(self.exports[name].name, safe="")
        return [_with_path(address, path) for address in self.addresses]

    def offers(self) -> list[Offer]:
        """Returns what clients find, in the order of ``exports``."""
        return [
            Offer(name, export.device.size_bytes, not export.writable, self.uris(name))
            for name, export in self.exports.items()
        ]

    def usage(self) -> dict[str, Status]:
        """Returns how full the store of each snapshot is, as ``dmsnap status`` would say it."""
        return {name: _status(snapshot) for name, snapshot in self._parts.snapshots.items()}

    @property
    def lost(self) -> dict[str, str]:
        """Why snapshots were invalidated while they were served, by name; a full store of type ``P``, for instance."""
        return self._parts.lost

    def close(self) -> None:
        """Ends in order: requests under way are answered, everything is committed, and then the devices are let go.

        A second call does nothing.

        Raises:
            DmsnapError: Something could not be made durable; whatever else there is was closed all the same, and if
                that failed too, ``warn`` was told.
        """
        try:
            self._stack.close()
        except DmsnapError as error:
            earlier = error.__context__
            while earlier is not None:
                if isinstance(earlier, DmsnapError):
                    self._warn(earlier.message)
                earlier = earlier.__context__
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def serve(
    snaps: Source | Iterable[Snap],
    origin: Source | None = None,
    *,
    unix: str | os.PathLike[str] | None = None,
    tcp: str | int | None = None,
    sockets: Sequence[socket.socket] = (),
    read_only: bool = False,
    sync: SyncMode = "flush",
    full: WhenFull = "enospc",
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    tls_client_ca: str | os.PathLike[str] | None = None,
    max_connections: int = 256,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    warn: Warn | None = None,
) -> Serving:
    """Serves snapshots, and the origin they were taken of, to NBD clients.

    Each snapshot is an export of its own, and can be written to: what is written goes into its store. The origin is the
    export ``origin``; what is written to it is copied to every snapshot before, so that all of them stay as they were.
    The stores are what a kernel could use at any time after the server has ended.

    Args:
        snaps: The COW stores. Each is exported by the stem of its file's name (``a.cow`` as ``a``); of a pair, by the
            name that comes first. A logical volume in images, ``lvm:VG/LV@IMAGE[,IMAGE…]``, is exported by its own.
        origin: The device that all of them were taken of; None where LVM2 knows it. Nobody else may write to it. Where
            it cannot be opened for writing, ``warn`` is told and it is exported read-only; so is that of volumes in
            LVM2 unless all of its snapshots are served.
        unix: Listen on a Unix socket of this path.
        tcp: Listen on this address: ``HOST:PORT``, or a port of this machine alone; port 0 is any that is free.
        sockets: Listen on these, which listen already; taken over.
            Without any of the three it is a Unix socket in a folder that only this user can enter, and that goes with
            the server.
        read_only: Only look: nothing is written, and nobody is kept away.
        sync: ``"flush"``: what a client wrote is durable when it flushes. ``"commit"``: as in the kernel, when the
            first write to a chunk returns; slower.
        full: What a write gets that a store has no room for, as `dmsnap.open_snapshot`: ``"enospc"``: that error, also
            where it is one to the origin, and everything else goes on; ``"overflow"``: the snapshot takes no more
            writes (``PO``); ``"invalidate"``: it is lost (``P``). With these two it is lost by writes to the origin.
        tls_cert: File of the certificate chain, PEM: clients must use TLS.
        tls_key: File of its key.
        tls_client_ca: File of certificates: clients must show one that one of these has signed.
        max_connections: How many clients at once.
        prefetch: How the stores' areas are read; as `dmsnap.open_snapshot`.
        trace: Records how the stores are loaded.
        warn: Called with a line for what is doubtful and yet no error, also while it serves and from any thread.

    Returns:
        The running server: close it, or use it in a ``with`` block.

    Raises:
        DmsnapError: As `dmsnap.open_snapshot`; two exports would have one name; the address cannot be had; the
            certificate is none.
    """
    tell = warn or (lambda _: None)
    named = export_names([snaps] if isinstance(snaps, str | os.PathLike | BlockDevice) else snaps)
    address = None if tcp is None else tcp_address(tcp)
    with ExitStack() as stack:
        for each in sockets:
            stack.callback(each.close)
        tls = _tls(tls_cert, tls_key, tls_client_ca)
        parts = Parts(
            named,
            origin,
            stack,
            read_only=read_only,
            sync=sync,
            full=full,
            prefetch=prefetch,
            trace=trace,
            warn=tell,
        )
        exports = parts.exports()
        if unix is None and address is None and not sockets:
            unix = Path(_private_folder(stack), "nbd.sock")
        server = Server(exports, tls=tls, max_connections=max_connections)
        stack.callback(server.stop)
        if unix is not None:
            server.listen_unix(os.fspath(unix))
        if address is not None:
            server.listen_tcp(*address)
        for each in sockets:
            server.listen_on(each)
        server.start()
        return Serving(parts, server, exports, stack, tell)


def _status(snapshot: SnapshotFile | WritableSnapshotFile) -> Status:
    if isinstance(snapshot, WritableSnapshotFile):
        return snapshot.status()
    assert isinstance(snapshot.store, Store)
    return store_status(snapshot.store)


class BadTls(DmsnapError, ValueError):
    """What TLS needs is not there together."""


def _tls(
    cert: str | os.PathLike[str] | None, key: str | os.PathLike[str] | None, client_ca: str | os.PathLike[str] | None
) -> TlsServer | None:
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise BadTls("TLS needs a certificate and its key", hint="give both --tls-cert and --tls-key")
    return TlsServer(cert, key, client_ca)


def _private_folder(stack: ExitStack) -> str:
    folder = tempfile.mkdtemp(prefix="dmsnap-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _with_path(address: str, path: str) -> str:
    """Puts the name of an export into an address.

    >>> _with_path("nbd+unix:///?socket=/run/s", "a")
    'nbd+unix:///a?socket=/run/s'
    """
    location, mark, query = address.partition("?")
    return f"{location.removesuffix('/')}/{path}{mark}{query}"
