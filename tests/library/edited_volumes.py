"""Recorded groups of LVM with other words in their metadata."""

from __future__ import annotations

import struct
from pathlib import Path

from dmsnap.testing.lvm_builder import AREA_OFFSET, crc_of, seal_area

__all__ = ["edit_metadata"]

LOCATION = AREA_OFFSET + 40


def edit_metadata(image: Path, *changes: tuple[str, str]) -> None:
    """Replaces words in the text that counts of a physical volume's metadata, and makes its checksums good again."""
    data = bytearray(image.read_bytes())
    offset, size, _, flags = struct.unpack_from("<QQII", data, LOCATION)
    start = AREA_OFFSET + offset
    text = bytes(data[start : start + size])
    for old, new in changes:
        assert old.encode() in text, old
        text = text.replace(old.encode(), new.encode())
    data[start : start + len(text)] = text
    struct.pack_into("<QQII", data, LOCATION, offset, len(text), crc_of(text), flags)
    seal_area(data, AREA_OFFSET)
    image.write_bytes(data)
