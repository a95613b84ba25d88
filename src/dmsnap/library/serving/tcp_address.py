"""Where to listen, as people write it: ``HOST:PORT``, ``:PORT`` or a bare port."""

from __future__ import annotations

import re

from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError

__all__ = ["LOOPBACK", "BadAddress", "is_loopback", "tcp_address"]

LOOPBACK = "127.0.0.1"

_ADDRESS = re.compile(r"(?:(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^:\[\]/\s]*)):)?(?P<port>[0-9]{1,5})", re.ASCII)


class BadAddress(DmsnapError, ValueError):
    """Not an address to listen on."""


def tcp_address(address: str | int) -> tuple[str, int]:
    """Returns host and port of an address; without a host it is this machine alone.

    >>> tcp_address(":10809")
    ('127.0.0.1', 10809)
    >>> tcp_address("[::1]:0")
    ('::1', 0)

    Raises:
        BadAddress: It is none.
    """
    match = _ADDRESS.fullmatch(str(address))
    if match is None or int(match["port"]) > 0xFFFF:
        raise BadAddress(
            f"not an address to listen on: {printable(str(address))}", hint="HOST:PORT, or :PORT for this machine alone"
        )
    return match["six"] or match["host"] or LOOPBACK, int(match["port"])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host's address; a name other than ``localhost`` is not looked up."""
    from ipaddress import ip_address  # used for --tcp only

    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
