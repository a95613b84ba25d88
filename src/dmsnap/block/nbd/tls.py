"""Encrypted connections: whom to trust, and TLS as a channel."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from dmsnap.block.medium import CannotOpen
from dmsnap.block.nbd.channel import PlainChannel
from dmsnap.block.nbd.failure import cannot_open
from dmsnap.block.nbd.uri import NbdAddress

__all__ = ["TlsChannel", "tls_context"]

RAW_BYTES = 256 << 10
"""Encrypted bytes taken from the system at once."""


class TlsChannel:
    """TLS over a plain channel.

    OpenSSL's state is only used under a lock, and never while waiting for the network: so one thread can wait for
    replies while another sends, which an `ssl.SSLSocket` does not promise.
    """

    def __init__(self, plain: PlainChannel, context: ssl.SSLContext, hostname: str | None) -> None:
        self._plain = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self._lock = threading.Lock()
        self._raw = memoryview(bytearray(RAW_BYTES))

    def shake_hands(self, deadline: float) -> None:
        """Agrees on keys and verifies the server.

        Args:
            deadline: On the clock of `time.monotonic`.

        Raises:
            ssl.SSLError: The server cannot be trusted, or does not trust us, or speaks no TLS.
            OSError: The connection broke or took too long.
        """
        while True:
            self._plain.limit(max(0.001, deadline - time.monotonic()))
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_encrypted()
                if not self._receive_encrypted():
                    raise ConnectionResetError("the server hung up") from None
            except ssl.SSLError:
                with contextlib.suppress(OSError):  # the server may have gone without waiting for our alert
                    self._send_encrypted()
                raise
            else:
                self._send_encrypted()
                return

    def receive_into(self, view: memoryview) -> int:
        """See `Channel`."""
        while True:
            with self._lock:
                try:
                    return self._tls.read(len(view), view)  # type: ignore[arg-type, return-value]  # typeshed: bytearray
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLZeroReturnError:
                    return 0
            if not self._receive_encrypted():
                return 0

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """See `Channel`. What the receiving side has to say (new keys) goes out before it, in its order."""
        for part in parts:
            view = memoryview(part)
            while view:
                with self._lock:
                    done = self._tls.write(view[:RAW_BYTES])
                    encrypted = self._outgoing.read()
                self._plain.socket.sendall(encrypted)
                view = view[done:]

    def limit(self, seconds: float) -> None:
        """See `Channel`."""
        self._plain.limit(seconds)

    def run(self, tick_seconds: float) -> None:
        """See `Channel`."""
        self._plain.run(tick_seconds)

    def shut_down(self) -> None:
        """See `Channel`."""
        self._plain.shut_down()

    def close(self) -> None:
        """See `Channel`."""
        self._plain.close()

    def _send_encrypted(self) -> None:
        if encrypted := self._outgoing.read():
            self._plain.socket.sendall(encrypted)

    def _receive_encrypted(self) -> int:
        got = self._plain.receive_into(self._raw)
        with self._lock:
            self._incoming.write(self._raw[:got])
        return got


def tls_context(address: NbdAddress) -> ssl.SSLContext:
    """Returns whom to trust and who we are, as the address says.

    Raises:
        CannotOpen: The certificates cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not address.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if address.tls_certificates is None:
            context.load_default_certs()
            return context
        folder = Path(address.tls_certificates)
        if not folder.is_dir():
            raise cannot_open(address.uri, f"{folder} is no folder", "tls-certificates=FOLDER holds ca-cert.pem")
        authority = folder / "ca-cert.pem"
        if authority.exists():
            context.load_verify_locations(cafile=authority)
        else:
            context.load_default_certs()
        files = (folder / "client-cert.pem", folder / "client-key.pem")
        if all(file.exists() for file in files):
            context.load_cert_chain(*files, password="")  # a key that has one fails instead of asking
    except CannotOpen:
        raise
    except (OSError, ValueError) as error:
        what = f"cannot use the certificates in {address.tls_certificates}: {error}".replace("\n", " ")
        raise cannot_open(address.uri, what, "they are ca-cert.pem, client-cert.pem and client-key.pem") from error
    return context
