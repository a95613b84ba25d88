"""What a server has done."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Sums since a server, or one connection, began; requests are counted when they are answered.

    Attributes:
        reads: Requests.
        bytes_read: Bytes.
        writes: Requests, those with FUA among them.
        bytes_written: Bytes.
        zeroes: Requests to write zeros or to trim.
        bytes_zeroed: Bytes of these.
        flushes: Requests.
        others: Other requests: block status, cache.
        errors: Requests that were answered by an error.
        connections: Open now.
        connections_ever: That were accepted.
        clients: Connections that have chosen an export, now.
        clients_ever: So many there were.
        turned_away: Connections closed for want of a place, or in the handshake in favour of another.
        violations: Connections cut off for what they sent, or for being too slow.
        crashes: Connections closed for a mistake of the server's.
    """

    reads: int = 0
    bytes_read: int = 0
    writes: int = 0
    bytes_written: int = 0
    zeroes: int = 0
    bytes_zeroed: int = 0
    flushes: int = 0
    others: int = 0
    errors: int = 0
    connections: int = 0
    connections_ever: int = 0
    clients: int = 0
    clients_ever: int = 0
    turned_away: int = 0
    violations: int = 0
    crashes: int = 0

    def add(self, other: Counters) -> None:
        """Adds what another counted."""
        for name in _NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_NAMES = tuple(field.name for field in fields(Counters))
