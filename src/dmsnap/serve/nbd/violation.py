"""What a client may not do, and ends its connection."""

from __future__ import annotations

from dmsnap.errors import DmsnapError

__all__ = ["ProtocolViolation"]


class ProtocolViolation(DmsnapError):
    """The client does not keep to the protocol, or is slower or asks for more than is allowed: it is cut off."""
