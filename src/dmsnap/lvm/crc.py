"""The checksum of LVM2's labels, headers and texts."""

from __future__ import annotations

import zlib

__all__ = ["INITIAL", "lvm_crc"]

INITIAL = 0xF597A6CF
"""What every checksum on disk begins with."""

ALL_ONES = 0xFFFFFFFF


def lvm_crc(data: bytes | bytearray | memoryview, initial: int = INITIAL) -> int:
    """Returns the CRC-32 (reflected, polynomial 0xEDB88320) of ``data``, without the usual inversions.

    Args:
        data: A row of bytes.
        initial: The checksum of what came before, where ``data`` continues it.
    """
    return zlib.crc32(data, initial ^ ALL_ONES) ^ ALL_ONES
