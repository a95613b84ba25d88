"""Older texts of a group, as they lie in the ring of a metadata area until it comes round again.

Nothing on disk points to them and no checksum covers them. They are for when the text that counts is damaged in every
copy there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dmsnap.block import BlockDevice
from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.lvm.label import DiskArea
from dmsnap.lvm.metadata_area import HEADER_BYTES, MetadataArea, read_ring

__all__ = ["OlderText", "assumed_area", "older_texts"]

BEGINNING = re.compile(
    rb'\s*(?P<name>[A-Za-z0-9+_.-]{1,127})\s*\{\s*id\s*=\s*"(?P<id>[0-9A-Za-z!#-]{38})"\s*seqno\s*=\s*(?P<seqno>[0-9]{1,10})\b'
)
CREATED = re.compile(rb"^creation_time = ([0-9]{1,12})\b", re.MULTILINE)
WINDOW_BYTES = 1 << 20
MOST_SEARCHED_BYTES = 1 << 27
MOST_TEXTS = 16
TAIL_BYTES = 4096


class OlderText(NamedTuple):
    """A text that was found.

    Attributes:
        created: When it was written, in seconds since 1970; 0 where it does not say.
        seqno: As it says.
        offset_bytes: Where it begins on the device.
        text: Up to its zero byte.
    """

    created: int
    seqno: int
    offset_bytes: int
    text: bytes


class _Start(NamedTuple):
    seqno: int
    position: int
    group_id: bytes


def assumed_area(device: BlockDevice, place: DiskArea) -> MetadataArea | None:
    """The area that a label describes, for when its own header is damaged; None if there is no room for one."""
    size = min(place.size_bytes or device.size_bytes, device.size_bytes - place.offset_bytes)
    return MetadataArea(place.offset_bytes, size, None, None, False) if size > HEADER_BYTES else None


def older_texts(device: BlockDevice, area: MetadataArea) -> list[OlderText]:
    """Returns what the ring holds beside the text that counts, newest first: at most 16, of one group if it is known.

    The text that counts is left out, and so is what was written after it and never counted. At most the first 128 MiB
    of a ring are searched.

    Raises:
        IOFailed: The medium failed.
    """
    starts = list(_starts(device, area))
    skipped = {where.offset_bytes - HEADER_BYTES for where in (area.committed, area.precommitted) if where}
    newest = area.committed.offset_bytes - HEADER_BYTES if area.committed else None
    current = next((start for start in starts if start.position == newest), None)
    starts = [
        start
        for start in starts
        if start.position not in skipped
        and (current is None or (start.group_id == current.group_id and start.seqno < current.seqno))
    ]
    starts.sort(reverse=True)
    found = []
    left = 2 * area.ring_bytes
    for start in starts[:MOST_TEXTS]:
        text = _text_from(device, area, start.position, left)
        left -= len(text) or min(left, area.ring_bytes)
        if not text:
            continue
        created = CREATED.findall(text, max(0, len(text) - TAIL_BYTES))  # volumes say it too, and before
        offset = area.offset_bytes + HEADER_BYTES + start.position
        found.append(OlderText(int(created[-1]) if created else 0, start.seqno, offset, text))
    return sorted(found, key=lambda older: (older.created, older.seqno), reverse=True)


def _starts(device: BlockDevice, area: MetadataArea) -> Iterator[_Start]:
    """Where texts begin."""
    end = min(area.ring_bytes, MOST_SEARCHED_BYTES)
    for position in range(0, end, WINDOW_BYTES):
        window = read_ring(device, area, position, min(WINDOW_BYTES, end - position))
        if b"{" not in window:
            continue
        for at in range(0, len(window), SECTOR_BYTES):
            if match := BEGINNING.match(window, at, at + SECTOR_BYTES):
                yield _Start(int(match["seqno"]), position + at, match["id"])


def _text_from(device: BlockDevice, area: MetadataArea, position: int, most_bytes: int) -> bytes:
    """The text that begins there, or nothing if no zero byte ends it before ``most_bytes`` or a whole round."""
    pieces, length = [], 0
    most_bytes = min(most_bytes, area.ring_bytes)
    while length < most_bytes:
        piece = read_ring(device, area, position + length, min(WINDOW_BYTES, most_bytes - length))
        text, zero, _ = piece.partition(b"\0")
        pieces.append(text)
        if zero:
            return b"".join(pieces)
        length += len(piece)
    return b""
