"""What cannot be put together here, and why."""

from __future__ import annotations

from dmsnap.errors import DmsnapError

__all__ = ["NotAssembled", "why_not_assembled"]

_THIN = "its blocks lie where its pool's own metadata say, which dmsnap does not read"
_CACHED = "what was written to it last may be in its cache alone, which dmsnap does not read"
_VDO = "its blocks are compressed and shared"
_PARITY = "its content is spread over its legs with parity"
_REASONS = {
    "thin": _THIN,
    "thin-pool": _THIN,
    "cache": _CACHED,
    "cache-pool": _CACHED,
    "writecache": _CACHED,
    "vdo": _VDO,
    "vdo-pool": _VDO,
    "integrity": "its blocks lie among checksums and a journal",
    "raid10": "its content is spread over its legs in mirrored stripes",
    "raid4": _PARITY,
    "raid5": _PARITY,
    "raid6": _PARITY,
}
_ASSEMBLED = frozenset(("striped", "mirror", "raid1", "raid0", "raid0_meta", "zero", "error", "snapshot"))


class NotAssembled(DmsnapError):
    """A volume that cannot be had: there is none of this name, a part of it is missing, or dmsnap lacks its type."""


def why_not_assembled(kind: str) -> str | None:
    """Returns why volumes of a type cannot be put together, in words that follow the type; None where they can.

    Args:
        kind: As `dmsnap.lvm.model.Segment`; ``raid5_ls`` is one of ``raid5``, and so on.
    """
    if kind in _ASSEMBLED:
        return None
    return _REASONS.get(kind) or _REASONS.get(kind.partition("_")[0]) or "dmsnap does not know this type"
