"""NBD addresses: ``nbd://HOST:PORT/EXPORT``, ``nbd+unix:///EXPORT?socket=PATH``, and ``nbds`` for TLS.

Source: the NetworkBlockDevice project's ``doc/uri.md``; ``tls-certificates`` is libnbd's, with libnbd's file names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from dmsnap.block.medium import CannotOpen, printable
from dmsnap.block.nbd.failure import cannot_open
from dmsnap.block.nbd.wire import MOST_NAME_BYTES

__all__ = ["DEFAULT_PORT", "NBD_SCHEMES", "NbdAddress", "parse_nbd_uri"]

DEFAULT_PORT = 10809
"""As registered with IANA."""

NBD_SCHEMES = ("nbd", "nbds", "nbd+unix", "nbds+unix")

_FORMS = "use nbd://HOST:PORT/EXPORT or nbd+unix:///EXPORT?socket=PATH"
_URI = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?", re.I | re.A
)
_AUTHORITY = re.compile(
    r"(?:(?P<user>[^@]*)@)?(?:\[(?P<ipv6>[0-9a-fA-F:.]+(?:%25[^\]]+)?)\]|(?P<host>[^:@\[\]]*))(?::(?P<port>[0-9]*))?"
)
_BAD_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})")
_LATER = {
    "tls-psk-file": "shared keys are not supported; use certificates",
    "tls-username": "user names belong to shared keys, which are not supported; use certificates",
}


@dataclass(frozen=True, slots=True)
class NbdAddress:
    """Where an export is.

    Attributes:
        uri: As given, printable.
        export: Name of the export, UTF-8; often empty.
        host: Name or address of the machine; empty for a Unix socket.
        port: TCP port.
        unix: Path of a Unix socket (one that begins with NUL is in Linux's abstract namespace), or None for TCP.
        tls: Whether the connection must be encrypted. Without, it is plain.
        tls_certificates: Folder with ``ca-cert.pem`` (the system's authorities where it has none), and with
            ``client-cert.pem`` and ``client-key.pem`` where the server wants to know who asks.
        tls_hostname: The name that the server's certificate must have, when it is not ``host``.
        tls_verify: Whether the server's certificate is verified.
    """

    uri: str
    export: bytes = b""
    host: str = ""
    port: int = DEFAULT_PORT
    unix: bytes | None = None
    tls: bool = False
    tls_certificates: str | None = None
    tls_hostname: str = ""
    tls_verify: bool = True


def parse_nbd_uri(uri: str) -> NbdAddress:
    """Takes an NBD address apart.

    Raises:
        CannotOpen: Not an NBD address, or one that asks for what there is not, with a hint.
    """
    name = printable(uri)
    parts = _URI.fullmatch(uri)
    if parts is None or parts["scheme"].lower() not in NBD_SCHEMES:
        raise cannot_open(name, "is no NBD address", _FORMS)
    if bad := _BAD_PERCENT.search(uri):
        raise cannot_open(
            name, f"has a % at character {bad.start() + 1} without two hexadecimal digits", "write % itself as %25"
        )
    scheme = parts["scheme"].lower()
    tls = scheme.startswith("nbds")
    query = _query(name, parts["query"] or "", tls=tls)
    export = unquote_to_bytes((parts["path"] or "/")[1:])
    if len(export) > MOST_NAME_BYTES or b"\0" in export:
        raise cannot_open(name, f"the name of an export has at most {MOST_NAME_BYTES} bytes, none zero", _FORMS)
    socket = query.pop("socket", None)
    address = _authority(name, parts["authority"])
    if scheme.endswith("+unix"):
        if not socket:
            raise cannot_open(name, "lacks the path of its Unix socket", "add ?socket=PATH")
        if parts["authority"]:
            raise cannot_open(name, "has a machine's name and a Unix socket", "use nbd+unix:///EXPORT?socket=PATH")
        if b"\0" in socket[1:]:
            raise cannot_open(name, "has a zero byte in the path of its Unix socket", "check the path")
    elif socket is not None:
        raise cannot_open(name, "has a Unix socket, but is for TCP", "use nbd+unix:///EXPORT?socket=PATH")
    elif not address[0]:
        raise cannot_open(name, "lacks the name of a machine", _FORMS)
    verify = query.get("tls-verify-peer", b"1")
    if verify not in (b"0", b"1"):
        raise cannot_open(name, "tls-verify-peer is neither 0 nor 1", "leave it out: the server is verified then")
    certificates = query.get("tls-certificates")
    return NbdAddress(
        uri=name,
        export=export,
        host=address[0],
        port=address[1],
        unix=socket,
        tls=tls,
        tls_certificates=None if certificates is None else _text(name, certificates),
        tls_hostname=_text(name, query.get("tls-hostname", b"")),
        tls_verify=verify == b"1",
    )


def _query(name: str, query: str, *, tls: bool) -> dict[str, bytes]:
    """The parameters; "+" stands for itself, as RFC 3986 has it. What is not known is diagnosed, as ``uri.md`` asks."""
    found: dict[str, bytes] = {}
    for field in query.split("&") if query else ():
        key, _, value = field.partition("=")
        if key in _LATER:
            raise cannot_open(name, f"{key}: {_LATER[key]}", "tls-certificates=FOLDER names them")
        if key not in ("socket", "tls-certificates", "tls-hostname", "tls-verify-peer", "tls-type"):
            raise cannot_open(
                name,
                f"does not have a parameter that is known as {printable(key)}",
                "there are socket, tls-certificates, tls-hostname, tls-verify-peer and tls-type",
            )
        if key in found:
            raise cannot_open(name, f"has {key} twice", "give it once")
        if key.startswith("tls-") and not tls:
            raise cannot_open(name, f"has {key}, but asks for no encryption", "use nbds:// or nbds+unix://")
        found[key] = unquote_to_bytes(value)
    if found.get("tls-type", b"x509") != b"x509":
        raise cannot_open(name, "asks for TLS without certificates, which is not supported", "use tls-type=x509")
    return found


def _authority(name: str, authority: str) -> tuple[str, int]:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise cannot_open(name, "has no machine's name that can be understood", "put [] around an IPv6 address")
    if parts["user"] is not None:
        raise cannot_open(name, f"user names: {_LATER['tls-username']}", "leave out what is before the @")
    port = (
        int(parts["port"]) if parts["port"] and len(parts["port"]) < 8 else (DEFAULT_PORT if not parts["port"] else 0)
    )
    if not 0 < port < 65536:
        raise cannot_open(name, "has a port that is not between 1 and 65535", f"NBD's own is {DEFAULT_PORT}")
    host = parts["ipv6"] or parts["host"] or ""
    return _text(name, unquote_to_bytes(host)), port


def _text(name: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise CannotOpen(f"{name}: has a part that is not text", hint=_FORMS, device=name)
    return text
