"""TLS for a server: who it is, and which clients it takes."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator

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
        with _told_of(cert):
            open(cert, "rb").close()  # OpenSSL does not say which of the two it means
        with _told_of(key):
            open(key, "rb").close()
        with _told_of(cert, key):
            self.context.load_cert_chain(cert, key, password=_no_password)
        if client_ca is not None:
            with _told_of(client_ca):
                self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED


@contextlib.contextmanager
def _told_of(*files: str | os.PathLike[str]) -> Iterator[None]:
    """Turns what goes wrong with files into `BadCertificate`."""
    names = " with ".join(os.fspath(path) for path in files)
    hint = "PEM files, the key without a password"
    try:
        yield
    except ssl.SSLError as error:
        reason = (
            "one is not for the other" if error.reason == "KEY_VALUES_MISMATCH" else "not what it should be, in PEM"
        )
        raise BadCertificate(f"cannot use {names}: {reason}", hint=hint) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BadCertificate(f"cannot use {names}: {reason}", hint="check the path") from error
    except ValueError as error:
        raise BadCertificate(f"cannot use {names}: {error}", hint=hint) from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")
