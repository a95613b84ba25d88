"""A metadata area: a header of 512 bytes, and a ring with the text of the group and what is left of older ones.

All numbers are little-endian; offsets of texts count from the header::

    0    u32  CRC of the rest of the sector
    4    " LVM2 x[5A%r0N*>"
    20   u32  version, 1
    24   u64  where this header lies on the device
    32   u64  size of the area, header and ring
    40   (u64 offset, u64 size, u32 CRC, u32 flags) of the text that counts, then of one that is about to, then zeros

A text ends with a zero byte, which its size and CRC include, begins on a sector, and goes on behind the header when it
reaches the end of the ring. A change is written behind the text that counts, so that older ones stay until the ring
comes round again. Source: LVM2's on-disk format, as vgcreate 2.03 writes it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dmsnap.block import BlockDevice, IOFailed
from dmsnap.errors import DmsnapError
from dmsnap.lvm.crc import lvm_crc
from dmsnap.lvm.label import DiskArea
from dmsnap.lvm.reading import read_long, read_span

__all__ = ["BadMetadataArea", "MetadataArea", "TextLocation", "read_metadata_area", "read_ring", "read_text"]

HEADER_BYTES = 512
HEAD = struct.Struct("<I16sIQQ")
MAGIC = b" LVM2 x[5A%r0N*>"
VERSION = 1
CRC_BEGIN = 4
LOCATION = struct.Struct("<QQII")
FLAG_IGNORED = 1
COMMITTED, PRECOMMITTED = 0, 1

LARGEST_TEXT_BYTES = 1 << 28
"""A text over 256 MiB (some ten million segments) is taken for damage: nothing that large is put into memory."""


class BadMetadataArea(DmsnapError):
    """A metadata area, or a text in it, that cannot be used. ``offset_bytes`` says where on the device."""


@dataclass(frozen=True, slots=True)
class TextLocation:
    """Where a text lies.

    Attributes:
        offset_bytes: From the header of its area.
        size_bytes: With the zero byte at its end.
        crc: Of all of it.
    """

    offset_bytes: int
    size_bytes: int
    crc: int


@dataclass(frozen=True, slots=True)
class MetadataArea:
    """What the header of a metadata area says, checked against the device.

    Attributes:
        offset_bytes: Where it lies on the device.
        size_bytes: Of header and ring.
        committed: The text that counts, or None if no group is written there.
        precommitted: A text that was about to count, or None.
        ignored: The area is not kept up to date, and nothing in it counts.
    """

    offset_bytes: int
    size_bytes: int
    committed: TextLocation | None
    precommitted: TextLocation | None
    ignored: bool

    @property
    def ring_bytes(self) -> int:
        """Size of the ring."""
        return self.size_bytes - HEADER_BYTES


def read_metadata_area(device: BlockDevice, place: DiskArea) -> MetadataArea:
    """Reads the header of the metadata area at a place that a label gives.

    Raises:
        BadMetadataArea: There is none that can be used.
        IOFailed: The medium failed.
    """
    offset = place.offset_bytes
    data = read_span(device, offset, HEADER_BYTES)
    if len(data) < HEADER_BYTES:
        raise _bad(f"the metadata area would begin at byte {offset}, outside the device", offset)
    crc, magic, version, start, size = HEAD.unpack_from(data)
    if magic != MAGIC:
        raise _bad("there is no metadata area: its magic is wrong", offset)
    actual = lvm_crc(data[CRC_BEGIN:])
    if crc != actual:
        raise _bad(f"the header of the metadata area is damaged: checksum {actual:08x} instead of {crc:08x}", offset)
    if version != VERSION:
        raise _bad(f"the metadata area is of version {version}, and only {VERSION} is known", offset)
    if start != offset:
        raise _bad(f"the metadata area says it lies at byte {start}", offset)
    if size <= HEADER_BYTES or size > device.size_bytes - offset or (place.size_bytes and size > place.size_bytes):
        raise _bad(f"the metadata area would be {size} bytes long", offset)
    locations = [LOCATION.unpack_from(data, HEAD.size + index * LOCATION.size) for index in (COMMITTED, PRECOMMITTED)]
    found = [TextLocation(at, length, crc) if at else None for at, length, crc, _ in locations]
    ignored = bool(locations[COMMITTED][3] & FLAG_IGNORED)
    # The list ends at the first that is empty: one that is about to count has a place although none counts yet.
    return MetadataArea(offset, size, found[COMMITTED], found[PRECOMMITTED], ignored)


def read_text(device: BlockDevice, area: MetadataArea, where: TextLocation) -> bytearray:
    """Returns a text up to its first zero byte, where it ends.

    Raises:
        BadMetadataArea: It lies outside the ring, is too large, or contradicts its checksum.
        IOFailed: The medium failed.
    """
    offset = area.offset_bytes
    if not HEADER_BYTES <= where.offset_bytes < area.size_bytes or not 0 < where.size_bytes <= area.ring_bytes:
        raise _bad(f"{where.size_bytes} bytes of metadata at byte {where.offset_bytes} are outside the area", offset)
    if where.size_bytes > LARGEST_TEXT_BYTES:
        raise _bad(f"{where.size_bytes} bytes of metadata are more than the {LARGEST_TEXT_BYTES} that are read", offset)
    data = _from_ring(device, area, where.offset_bytes - HEADER_BYTES, where.size_bytes)
    if (actual := lvm_crc(data)) != where.crc:
        message = f"the metadata is damaged: checksum {actual:08x} instead of {where.crc:08x}"
        raise _bad(message, offset + where.offset_bytes)
    if (end := data.find(0)) >= 0:
        del data[end:]  # in place: a text may be long
    return data


def read_ring(device: BlockDevice, area: MetadataArea, position: int, length: int) -> bytes:
    """Returns a part of the ring, checked against nothing; ``position`` counts from the ring's start, and wraps.

    Raises:
        IOFailed: The medium failed.
    """
    length = min(length, area.ring_bytes, LARGEST_TEXT_BYTES)
    return bytes(_from_ring(device, area, position % area.ring_bytes, length))


def _from_ring(device: BlockDevice, area: MetadataArea, position: int, length: int) -> bytearray:
    begin = area.offset_bytes + HEADER_BYTES
    before_end = min(length, area.ring_bytes - position)
    data = read_long(device, begin + position, before_end)
    if before_end < length:
        data += read_long(device, begin, length - before_end)
    if len(data) != length:
        raise IOFailed(f"{device.name}: became shorter while it was read", device=device.name)
    return data


def _bad(message: str, offset: int) -> BadMetadataArea:
    return BadMetadataArea(message, offset_bytes=offset)
