"""Builds disk images with partition tables, with nothing of dmsnap's own code for them: MBR and GPT, sound.

Layout: UEFI 2.10, chapter 5. Places and lengths are in sectors of the disk.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

__all__ = ["build_gpt", "build_mbr", "put", "seal_gpt"]

GPT_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRIES = 128
ENTRY_BYTES = 128
LVM_TYPE = 0x8E
LINK_TYPE = 0x05

Place = tuple[int, int]
"""First sector and count."""


def build_mbr(
    size_sectors: int,
    primary: Mapping[int, Place],
    *,
    extended: Place | None = None,
    logical: Sequence[Place] = (),
    sector_bytes: int = 512,
    extended_type: int = LINK_TYPE,
) -> bytearray:
    """Returns a disk with an MBR.

    Args:
        size_sectors: Of the disk.
        primary: Partitions by their numbers, 1 to 4.
        extended: The extended partition, which takes the first free number.
        logical: Partitions in it. Each is described in the sector before it, the first in the first of ``extended``.
        sector_bytes: Of the disk.
        extended_type: 0x05, 0x0F or 0x85.
    """
    disk = bytearray(size_sectors * sector_bytes)
    entries = {number: (LVM_TYPE, *place) for number, place in primary.items()}
    if extended is not None:
        number = next(number for number in (1, 2, 3, 4) if number not in entries)
        entries[number] = (extended_type, *extended)
        links = [extended[0], *(first - 1 for first, _ in logical[1:])]
        for index, (first, count) in enumerate(logical):
            link = {1: (LVM_TYPE, first - links[index], count)}
            if index + 1 < len(logical):
                link[2] = (LINK_TYPE, links[index + 1] - extended[0], logical[index + 1][1] + 1)
            _put_entries(disk, links[index] * sector_bytes, link)
    _put_entries(disk, 0, entries)
    return disk


def _put_entries(disk: bytearray, offset: int, entries: Mapping[int, tuple[int, int, int]]) -> None:
    for number, (kind, first, count) in entries.items():
        struct.pack_into("<B3xB3xII", disk, offset + 446 + (number - 1) * 16, 0, kind, first, count)
    disk[offset + 510 : offset + 512] = b"\x55\xaa"


def build_gpt(size_sectors: int, partitions: Mapping[int, Place], *, sector_bytes: int = 512) -> bytearray:
    """Returns a disk with a protective MBR, a GPT and its backup; partitions are given by their numbers, from 1."""
    disk = bytearray(size_sectors * sector_bytes)
    _put_entries(disk, 0, {1: (0xEE, 1, size_sectors - 1)})
    entries = bytearray(ENTRIES * ENTRY_BYTES)
    for number, (first, count) in partitions.items():
        at = (number - 1) * ENTRY_BYTES
        struct.pack_into("<16s16sQQ", entries, at, b"\x01" * 16, bytes([number]) * 16, first, first + count - 1)
    length, last = len(entries) // sector_bytes, size_sectors - 1
    for own, other, at in ((1, last, 2), (last, 1, last - length)):
        put(disk, at * sector_bytes, entries)
        header = (b"EFI PART", 0x10000, GPT_HEADER.size, 0, 0, own, other, 2 + length, last - length - 1, b"\x02" * 16)
        GPT_HEADER.pack_into(disk, own * sector_bytes, *header, at, ENTRIES, ENTRY_BYTES, zlib.crc32(entries))
        seal_gpt(disk, own * sector_bytes)
    return disk


def seal_gpt(disk: bytearray, offset: int = 512) -> None:
    """Makes the checksum of a GPT header good."""
    struct.pack_into("<I", disk, offset + 16, 0)
    struct.pack_into("<I", disk, offset + 16, zlib.crc32(disk[offset : offset + GPT_HEADER.size]))


def put(disk: bytearray, offset: int, content: bytes | bytearray) -> None:
    """Puts bytes into a disk."""
    disk[offset : offset + len(content)] = content
