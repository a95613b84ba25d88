"""Partitions of a disk image: MBR with its extended partitions, and GPT with its backup.

All numbers are little-endian, and counted in the sectors of the disk, 512 or 4096 bytes, which an image does not tell::

    sector 0      MBR: at 446 four times (flag, 3 bytes, type, 3 bytes, u32 first, u32 count); at 510 55 AA
    sector 1      GPT: "EFI PART", u32 revision, u32 size, u32 CRC of the header, u32 0, u64 own sector, u64 the other,
                  u64 first and last usable sector, 16 bytes GUID, u64 sector of entries, u32 count, u32 size, u32 CRC
    last sector   the backup of the GPT header

An extended partition is a chain of sectors like the first: one entry for a partition, counted from that sector, and
one for the next link, counted from the start of the extended partition. Source: UEFI 2.10, chapter 5; Linux's
numbering (extended partitions hold 5 and up).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from dmsnap.block import BlockDevice
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.reading import read_span

__all__ = ["SECTOR_SIZES", "Partition", "read_partitions"]

SECTOR_SIZES = (512, 4096)
"""Sizes of a sector, in bytes, that disks have."""

MBR_BYTES = 512
MBR_ENTRIES = 446
MBR_ENTRY = struct.Struct("<B3xB3xII")
MBR_SIGNATURE = b"\x55\xaa"
EXTENDED = (0x05, 0x0F, 0x85)
PROTECTIVE = 0xEE
FIRST_LOGICAL = 5
MOST_LOGICAL = 256

GPT = struct.Struct("<8sIIIIQQQQ16sQIII")
GPT_MAGIC = b"EFI PART"
GPT_CRC = slice(16, 20)
GPT_ENTRY = struct.Struct("<16s16sQQ")
MOST_ENTRIES_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition, cut to the device.

    Attributes:
        number: As Linux numbers it.
        offset_bytes: Where it begins.
        size_bytes: Its length, never 0.
    """

    number: int
    offset_bytes: int
    size_bytes: int


def read_partitions(
    device: BlockDevice, sector_bytes: int, *, lost_start: bool = True
) -> tuple[tuple[Partition, ...], tuple[Finding, ...]]:
    """Returns the partitions of a disk whose sectors have ``sector_bytes``, and what is odd about their table.

    Partitions that begin outside the device, or inside another, are left out. A disk without a table has none; a table
    of another size of sector gives none, or wrong ones: try each of `SECTOR_SIZES`.

    Args:
        device: The disk.
        sector_bytes: Size of its sectors.
        lost_start: Whether a GPT, or its backup, counts although the first sector of the disk does not tell of it.

    Raises:
        IOFailed: The medium failed.
    """
    partitions, findings = _read(device, sector_bytes, lost_start=lost_start)
    apart: list[Partition] = []
    odd = list(findings)
    for partition in sorted(partitions, key=lambda partition: (partition.offset_bytes, partition.number)):
        if apart and partition.offset_bytes < apart[-1].offset_bytes + apart[-1].size_bytes:
            message = f"partition {partition.number} begins inside partition {apart[-1].number}, and does not count"
            odd.append(_odd(device, partition.offset_bytes, message))
        else:
            apart.append(partition)
    return tuple(sorted(apart, key=lambda partition: partition.number)), tuple(odd)


def _read(
    device: BlockDevice, sector_bytes: int, *, lost_start: bool
) -> tuple[tuple[Partition, ...], tuple[Finding, ...]]:
    """The partitions as the table has them: a hostile one may name the same bytes a thousand times."""
    entries = _mbr_entries(read_span(device, 0, MBR_BYTES))
    findings: tuple[Finding, ...] = ()
    if (lost_start and not entries) or any(kind == PROTECTIVE for _, kind, _, _ in entries):
        found, findings = _gpt(device, sector_bytes)
        if found is not None:
            return found, findings
    return tuple(_of_mbr(device, [entry for entry in entries if entry[1] != PROTECTIVE], sector_bytes)), findings


# -- MBR --------------------------------------------------------------------------------------------------------------


def _mbr_entries(data: bytes) -> list[tuple[int, int, int, int]]:
    """Number, type, first sector and count of the entries in use; none where it is no MBR."""
    if len(data) < MBR_BYTES or data[-2:] != MBR_SIGNATURE:
        return []
    entries = []
    for index in range(4):
        flag, kind, first, count = MBR_ENTRY.unpack_from(data, MBR_ENTRIES + index * MBR_ENTRY.size)
        if flag & 0x7F:
            return []  # a boot sector of a file system, with code where entries would be
        if kind and count:
            entries.append((index + 1, kind, first, count))
    return entries


def _of_mbr(device: BlockDevice, entries: list[tuple[int, int, int, int]], sector_bytes: int) -> Iterator[Partition]:
    logical = FIRST_LOGICAL
    for number, kind, first, count in entries:
        if kind not in EXTENDED:
            yield from _within(device, number, first, count, sector_bytes)
            continue
        for begin, length in _logical(device, first, sector_bytes):
            yield from _within(device, logical, begin, length, sector_bytes)
            logical += 1


def _logical(device: BlockDevice, extended: int, sector_bytes: int) -> Iterator[tuple[int, int]]:
    """First sector and count of the logical partitions, along the chain; it ends where it would go round."""
    link = extended
    seen: set[int] = set()
    while link not in seen and len(seen) < MOST_LOGICAL:
        seen.add(link)
        following = None
        for _, kind, first, count in _mbr_entries(read_span(device, link * sector_bytes, MBR_BYTES)):
            if kind not in EXTENDED:
                yield link + first, count
            elif following is None:
                following = extended + first
        if following is None:
            return
        link = following


# -- GPT --------------------------------------------------------------------------------------------------------------


def _gpt(device: BlockDevice, sector_bytes: int) -> tuple[tuple[Partition, ...] | None, tuple[Finding, ...]]:
    """The partitions by the first header that is sound; None where there is none, with findings of damaged ones."""
    last = device.size_bytes // sector_bytes - 1
    findings: list[Finding] = []
    places, tried = [1, last], set[int]()
    while places:
        place = places.pop(0)
        if place in tried or not 0 < place <= last:
            continue
        tried.add(place)
        header = read_span(device, place * sector_bytes, sector_bytes)
        if not header.startswith(GPT_MAGIC):
            continue
        if place == 1:
            places.insert(0, GPT.unpack_from(header)[6])  # the image may have grown since: the backup is not at its end
        message, entries, size = _gpt_entries(device, header, place, sector_bytes)
        if not message:
            if place != 1 and not findings:
                findings.append(_odd(device, sector_bytes, "the GPT header is gone, its backup counts"))
            return tuple(_of_gpt(device, entries, size, sector_bytes)), tuple(findings)
        findings.append(_odd(device, place * sector_bytes, message))
    return None, tuple(findings)


def _gpt_entries(device: BlockDevice, header: bytes, place: int, sector_bytes: int) -> tuple[str, bytes, int]:
    """What is wrong with a header, if anything, its array of entries, and the size of one."""
    _, _, size, crc, _, own, _, _, _, _, first, count, entry_bytes, entries_crc = GPT.unpack_from(header)
    if not GPT.size <= size <= sector_bytes:
        return f"the GPT header says it is {size} bytes long", b"", 0
    blanked = bytearray(header[:size])
    blanked[GPT_CRC] = bytes(4)
    if zlib.crc32(blanked) != crc:
        return "the GPT header contradicts its checksum", b"", 0
    if own != place:
        return f"the GPT header says it lies in sector {own}", b"", 0
    length = count * entry_bytes
    if entry_bytes < 128 or entry_bytes & (entry_bytes - 1) or length > MOST_ENTRIES_BYTES:
        return f"the GPT says it has {count} entries of {entry_bytes} bytes", b"", 0
    entries = read_span(device, first * sector_bytes, length)
    if len(entries) < length or zlib.crc32(entries) != entries_crc:
        return "the entries of the GPT contradict their checksum", b"", 0
    return "", entries, entry_bytes


def _of_gpt(device: BlockDevice, entries: bytes, entry_bytes: int, sector_bytes: int) -> Iterator[Partition]:
    for index in range(len(entries) // entry_bytes):
        kind, _, first, last = GPT_ENTRY.unpack_from(entries, index * entry_bytes)
        if any(kind):
            yield from _within(device, index + 1, first, last - first + 1, sector_bytes)


# -- both -------------------------------------------------------------------------------------------------------------


def _within(device: BlockDevice, number: int, first: int, count: int, sector_bytes: int) -> Iterator[Partition]:
    """The partition as far as it lies on the device, in whole blocks of it; nothing if that is nothing."""
    offset, block = first * sector_bytes, device.logical_block_size_bytes
    size = min(count * sector_bytes, device.size_bytes - offset) // block * block
    if size > 0 and offset > 0 and offset % block == 0:
        yield Partition(number, offset, size)


def _odd(device: BlockDevice, offset: int, message: str) -> Finding:
    text = f"{device.name}, byte {offset}: {message}"
    return Finding(FindingKind.DAMAGED_PARTITIONS, text, device=device.name, offset_bytes=offset)
