"""Partition tables for the guest's disks; its kernel judges whether they are right."""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

__all__ = ["write_table"]

_SECTOR = 512
_LARGE_SECTOR = 4096
_LINUX_LVM = 0x8E
_EXTENDED = 0x05
_LVM_TYPE = uuid.UUID("e6d6d379-f507-44c2-a23c-238f2a3df928")
_GPT_ENTRIES = 128


def write_table(image: Path, scheme: str) -> None:
    """Writes a table into the image file, which has its size already.

    Args:
        image: The disk.
        scheme: ``mbr``: partition 1 from 1 MiB to the end. ``extended``: an extended partition 1 from 1 MiB to the end
            with the halves as logical partitions 5 and 6. ``gpt``: the halves as partitions 1 and 2. ``gpt-4k``: the
            same for a disk with sectors of 4096 bytes; all others have 512.
    """
    sector_bytes = _LARGE_SECTOR if scheme == "gpt-4k" else _SECTOR
    with open(image, "r+b") as disk:
        for sector, content in _TABLES[scheme](image.stat().st_size // sector_bytes):
            disk.seek(sector * sector_bytes)
            disk.write(content)


def _boot_sector(*partitions: tuple[int, int, int]) -> bytes:
    """A sector with up to four partitions: type, first sector, count of sectors."""
    entries = b"".join(
        struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start, count)
        for kind, start, count in partitions
    )
    return bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa"


def _mbr(sectors: int) -> list[tuple[int, bytes]]:
    return [(0, _boot_sector((_LINUX_LVM, 2048, sectors - 2048)))]


def _extended(sectors: int) -> list[tuple[int, bytes]]:
    start, half = 2048, (sectors - 2048) // 2
    gap = 64  # before a logical partition, for its boot sector
    return [
        (0, _boot_sector((_EXTENDED, start, sectors - start))),
        (start, _boot_sector((_LINUX_LVM, gap, half - gap), (_EXTENDED, half, half))),
        (start + half, _boot_sector((_LINUX_LVM, gap, half - gap))),
    ]


def _gpt(sectors: int, sector_bytes: int = _SECTOR) -> list[tuple[int, bytes]]:
    table = _GPT_ENTRIES * 128 // sector_bytes
    first, last = 2 + table, sectors - 2 - table
    middle = (sectors // 2) // 8 * 8
    entries = b"".join(
        struct.pack(
            "<16s16sQQQ72s",
            _LVM_TYPE.bytes_le,
            bytes([number]) * 16,
            start,
            end,
            0,
            f"part{number}".encode("utf-16-le"),
        )
        for number, (start, end) in enumerate((((1 << 20) // sector_bytes, middle - 1), (middle, last)), 1)
    ).ljust(_GPT_ENTRIES * 128, b"\0")

    def header(own: int, other: int, table: int) -> bytes:
        def packed(checksum: int) -> bytes:
            return struct.pack(
                "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, checksum, 0, own, other, first, last,
                b"dmsnap test disk", table, _GPT_ENTRIES, 128, zlib.crc32(entries),
            )  # fmt: skip

        return packed(zlib.crc32(packed(0)))

    return [
        (0, _boot_sector((0xEE, 1, sectors - 1))),
        (1, header(1, sectors - 1, 2)),
        (2, entries),
        (last + 1, entries),
        (sectors - 1, header(sectors - 1, 1, last + 1)),
    ]


_TABLES: dict[str, Callable[[int], list[tuple[int, bytes]]]] = {
    "mbr": _mbr,
    "extended": _extended,
    "gpt": _gpt,
    "gpt-4k": partial(_gpt, sector_bytes=_LARGE_SECTOR),
}
