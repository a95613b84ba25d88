"""The label of a physical volume: who it is, and where its metadata lies.

It takes one sector of 512 bytes, any of the first four of the device (the second unless ``--labelsector`` said
otherwise). All numbers are little-endian::

    0    "LABELONE"
    8    u64  number of this sector
    16   u32  CRC of everything behind it, to the end of the sector
    20   u32  where the header below begins in the sector (32)
    24   "LVM2 001"
    32   UUID, 32 characters
    64   u64  size of the device in bytes
    72   (u64 offset, u64 size) of each data area, then (0, 0); the same of each metadata area, then (0, 0)
    …    u32  version of the extension, u32 flags (1: of a group; since version 2), bootloader areas as above

Source: LVM2's on-disk format, as pvcreate 2.03 writes it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from dmsnap.block import BlockDevice
from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.errors import DmsnapError
from dmsnap.lvm.crc import lvm_crc
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.reading import read_span

__all__ = ["LABEL_SECTORS", "BadLabel", "DiskArea", "Label", "parse_label", "read_label"]

LABEL_SECTORS = 4
"""How many sectors at the start of a device may hold the label."""

HEAD = struct.Struct("<8sQII8s")
MAGIC = b"LABELONE"
TYPE = b"LVM2 001"
CRC_BEGIN = 20
UUID_BYTES = 32
UUID_CHARACTERS = re.compile(rb"[0-9A-Za-z!#]{32}")
UUID_GROUPS = (6, 4, 4, 4, 4, 4, 6)
SIZE = struct.Struct("<Q")
LOCATION = struct.Struct("<QQ")
EXTENSION = struct.Struct("<II")
FLAGS_SINCE_VERSION = 2
FLAG_USED = 1


class BadLabel(DmsnapError):
    """A sector that begins as a label, and is none that can be used."""


@dataclass(frozen=True, slots=True)
class DiskArea:
    """A part of a physical volume.

    Attributes:
        offset_bytes: From the start of the device.
        size_bytes: 0 for the rest of the device.
    """

    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Label:
    """What the label of a physical volume says. Nothing of it is checked against the device.

    Attributes:
        sector: Where it lies, 0 to 3.
        uuid: Of the physical volume, with its dashes.
        size_bytes: Of the device, when it was made a physical volume.
        data_areas: Where extents lie; the metadata of the group says it as well, and counts.
        metadata_areas: Where metadata lies; some volumes have none.
        bootloader_areas: Set apart for a boot loader.
        extension_version: 0 where there is no extension.
        used: Whether it belongs to a group, or None where that is not said.
    """

    sector: int
    uuid: str
    size_bytes: int
    data_areas: tuple[DiskArea, ...]
    metadata_areas: tuple[DiskArea, ...]
    bootloader_areas: tuple[DiskArea, ...]
    extension_version: int
    used: bool | None


def read_label(device: BlockDevice) -> tuple[Label | None, tuple[Finding, ...]]:
    """Returns the first good label in the first four sectors, if any, and what is odd about the others.

    Raises:
        IOFailed: The medium failed.
    """
    head = read_span(device, 0, LABEL_SECTORS * SECTOR_BYTES)
    label: Label | None = None
    findings = []
    for sector in range(len(head) // SECTOR_BYTES):
        data = head[sector * SECTOR_BYTES :][:SECTOR_BYTES]
        if not data.startswith(MAGIC):
            continue
        message = ""
        try:
            found = parse_label(data, sector)
        except BadLabel as error:
            message = error.message
        else:
            if label is None:
                label = found
            else:
                message = f"another label, of {found.uuid}: the one in sector {label.sector} counts"
        if message:
            text = f"{device.name}, sector {sector}: {message}"
            place = sector * SECTOR_BYTES
            findings.append(Finding(FindingKind.DAMAGED_LABEL, text, device=device.name, offset_bytes=place))
    return label, tuple(findings)


def parse_label(data: bytes, sector: int) -> Label:
    """Returns what a sector of 512 bytes, the ``sector``-th of its device, says.

    Raises:
        BadLabel: It is no label, or one that contradicts itself.
    """
    if len(data) != SECTOR_BYTES or not data.startswith(MAGIC):
        raise BadLabel("no label")
    _, number, crc, begin, kind = HEAD.unpack_from(data)
    actual = lvm_crc(data[CRC_BEGIN:])
    if crc != actual:
        raise BadLabel(f"the label is damaged: its checksum is {actual:08x} and should be {crc:08x}")
    if number != sector:
        raise BadLabel(f"the label says it lies in sector {number}")
    if kind != TYPE:
        raise BadLabel(f"the label is of another kind, {kind.decode('ascii', 'backslashreplace')!r}")
    if not HEAD.size <= begin <= SECTOR_BYTES - UUID_BYTES - SIZE.size:
        raise BadLabel(f"the header would begin at byte {begin} of the label")
    uuid = data[begin : begin + UUID_BYTES]
    if not UUID_CHARACTERS.fullmatch(uuid):
        raise BadLabel("the UUID has characters that none has")
    (size,) = SIZE.unpack_from(data, begin + UUID_BYTES)
    data_areas, position = _areas(data, begin + UUID_BYTES + SIZE.size)
    metadata_areas, position = _areas(data, position)
    version, used, bootloader_areas = _extension(data, position)
    return Label(sector, _with_dashes(uuid), size, data_areas, metadata_areas, bootloader_areas, version, used)


def _areas(data: bytes, position: int) -> tuple[tuple[DiskArea, ...], int]:
    """The areas of a list, and the byte after the pair of zeros that ends it."""
    areas: list[DiskArea] = []
    while position + LOCATION.size <= len(data):
        offset, size = LOCATION.unpack_from(data, position)
        position += LOCATION.size
        if not offset:
            return tuple(areas), position
        areas.append(DiskArea(offset, size))
    raise BadLabel("a list of areas does not end in the label")


def _extension(data: bytes, position: int) -> tuple[int, bool | None, tuple[DiskArea, ...]]:
    """Version, flag and bootloader areas; volumes from before 2012 end without them."""
    if position + EXTENSION.size > len(data):
        return 0, None, ()
    version, flags = EXTENSION.unpack_from(data, position)
    if not version:
        return 0, None, ()
    areas, _ = _areas(data, position + EXTENSION.size)
    return version, bool(flags & FLAG_USED) if version >= FLAGS_SINCE_VERSION else None, areas


def _with_dashes(uuid: bytes) -> str:
    """As LVM shows it: groups of 6, 4, 4, 4, 4, 4 and 6 characters."""
    text, parts = uuid.decode("ascii"), []
    for length in UUID_GROUPS:
        parts.append(text[:length])
        text = text[length:]
    return "-".join(parts)
