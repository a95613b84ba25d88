"""The checksum of LVM2's labels, metadata area headers and metadata texts."""

from __future__ import annotations

import zlib

__all__ = ["INITIAL", "lvm_crc"]

INITIAL = 0xF597A6CF
"""What LVM2 starts from."""


def lvm_crc(data: bytes | bytearray | memoryview, initial: int = INITIAL) -> int:
    """Returns LVM2's CRC of ``data``.

    It is the CRC-32 of Ethernet and zlib without the inversions before and after. A text that wraps around in its
    circular buffer is summed in parts: the result of the first is the ``initial`` of the second.
    """
    return zlib.crc32(data, initial ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
