"""TLS for a server: who it is, and which clients it takes."""

from __future__ import annotations

import os
import ssl

from dmsnap.errors import DmsnapError

__all__ = ["BadCertificate", "TlsServer"]


class BadCertificate(DmsnapError):
    """A certificate or key cannot be read, or one is not the other's."""


class TlsServer:
    """Certificates of a server; with it, whoever does not begin with TLS (1.2 or later) is refused everything.

    Args:
        cert: File of the server's certificate, and what it was signed by, as PEM.
        key: File of its key, as PEM, not encrypted.
        client_ca: File of the certificates, as PEM, one of which must have signed that of the client. None: any client
            is taken, and TLS only keeps others from listening.

    Raises:
        BadCertificate: A file cannot be used.
    """

    def __init__(
        self,
        cert: str | os.PathLike[str],
        key: str | os.PathLike[str],
        client_ca: str | os.PathLike[str] | None = None,
    ) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        try:
            self.context.load_cert_chain(cert, key, password=_no_password)
            if client_ca is not None:
                self.context.load_verify_locations(client_ca)
                self.context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            files = ", ".join(os.fspath(path) for path in (cert, key, client_ca) if path is not None)
            raise BadCertificate(
                f"cannot use {files}: {reason}", hint="PEM files, the key without a password"
            ) from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")
