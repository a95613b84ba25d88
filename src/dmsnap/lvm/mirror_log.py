"""The log of a ``mirror`` on disk: which regions are known to be the same on every leg.

Source: Linux dm-log (``disk``), since 2.6.12. A header, all numbers little-endian, and from byte 1024 on a bit for each
region, lowest bit of the first byte first, which is set where the legs hold the same::

    0   0x4D695272 ("MiRr")       4   version: 2              8   number of regions, 64 bits
"""

from __future__ import annotations

import struct

from dmsnap.block.contract import BlockDevice

__all__ = ["regions_out_of_sync"]

_HEADER = struct.Struct("<IIQ")
_MAGIC = 0x4D695272
_VERSION = 2
_BITS_AT_BYTES = 1024
_READ_BYTES = 1 << 20

_MOST_REGIONS = 1 << 26
"""128 TiB at LVM's default of 2 MiB; LVM's logs are an extent long, 4 MiB, which is half as many."""


def regions_out_of_sync(log: BlockDevice, regions: int) -> int | None:
    """Returns how many regions the log does not know to be the same on every leg.

    Regions that the mirror has got since the log was last written are none that it knows.

    Args:
        log: The volume with the log.
        regions: How many regions the mirror has.

    Returns:
        None where this is no log, or one too short for so many regions, or there are more than 2**26 of them.

    Raises:
        IOFailed: The log cannot be read.
    """
    end = _BITS_AT_BYTES + -(-regions // 8)
    block = log.logical_block_size_bytes
    if end > log.size_bytes or regions > _MOST_REGIONS:
        return None
    magic, version, known = _HEADER.unpack_from(log.read_at(0, block))
    if (magic, version) != (_MAGIC, _VERSION):
        return None
    known = min(known, regions)
    end = _BITS_AT_BYTES + -(-known // 8)
    in_sync = 0
    for position in range(0, end, _READ_BYTES):
        data = log.read_at(position, min(_READ_BYTES, -(-(end - position) // block) * block))
        if position + len(data) >= end:
            del data[end - position :]
            if known % 8:
                data[-1] &= (1 << known % 8) - 1
        if not position:
            del data[:_BITS_AT_BYTES]
        in_sync += int.from_bytes(data, "little").bit_count()
    return regions - in_sync
