"""What programs write: every sector tells which write put it there and where.

So misplaced, stale and torn data shows. A sector holds a seed and its own number (64 bits each, little-endian) over and
over: as in `dmsnap.testing.kernelvm.content`, but with nothing but the standard library, for the guest.
"""

from __future__ import annotations

import struct

__all__ = ["SECTOR_BYTES", "describe_sector", "pattern"]

SECTOR_BYTES = 512
_PAIR = struct.Struct("<QQ")
_PAIRS = SECTOR_BYTES // _PAIR.size


def pattern(seed: int, sector: int, sectors: int) -> bytes:
    """Returns ``sectors`` sectors that carry ``seed`` and their numbers from ``sector`` on."""
    pack = _PAIR.pack
    return b"".join([pack(seed, number) * _PAIRS for number in range(sector, sector + sectors)])


def describe_sector(data: bytes) -> str:
    """Says in words what a sector holds."""
    if not any(data):
        return "zeros"
    seed, number = _PAIR.unpack_from(data)
    if data == _PAIR.pack(seed, number) * _PAIRS:
        return f"write {seed} at sector {number}"
    return f"{data[:16].hex(' ', 4)} …"
