"""What scenarios write: every sector tells which write put it there and where, so content is derived, never stored.

A sector holds a tag and its own number (64 bits each, little-endian) over and over. The tag names the scenario and the
write; misplaced, stale and torn data all show. Such content also packs a hundredfold.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

__all__ = ["SECTOR_BYTES", "Applied", "Side", "original", "pattern", "replay", "stale", "written"]

SECTOR_BYTES = 512
_STALE, _ORIGINAL, _FIRST_WRITE = 1, 2, 16

Side = Literal["snapshot", "origin"]
"""Which device a write goes to."""


class Applied(NamedTuple):
    """A write as it took effect: where, from which sector, how many."""

    device: Side
    sector: int
    sectors: int


def pattern(tag: int, first_sector: int, sectors: int) -> bytes:
    """Returns ``sectors`` sectors that carry ``tag`` and their numbers from ``first_sector`` on."""
    words = np.empty((sectors, SECTOR_BYTES // 16, 2), dtype="<u8")
    words[:, :, 0] = tag
    words[:, :, 1] = np.arange(first_sector, first_sector + sectors, dtype=np.uint64)[:, None]
    return words.tobytes()


def _tag(scenario: str, what: int) -> int:
    return zlib.crc32(scenario.encode()) << 32 | what


def original(scenario: str, sectors: int) -> bytes:
    """Returns what the origin holds when the snapshot is taken."""
    return pattern(_tag(scenario, _ORIGINAL), 0, sectors)


def stale(scenario: str, sectors: int) -> bytes:
    """Returns what an unwiped COW device holds: garbage that would pass for records, behind a zeroed first 4 KiB."""
    return bytes(4096) + pattern(_tag(scenario, _STALE), 8, sectors - 8)


def written(scenario: str, number: int, sector: int, sectors: int) -> bytes:
    """Returns the data of the scenario's write ``number``."""
    return pattern(_tag(scenario, _FIRST_WRITE + number), sector, sectors)


def replay(scenario: str, origin_sectors: int, writes: Sequence[Applied]) -> tuple[bytes, bytes]:
    """Returns the content of origin and snapshot after ``writes``, numbered as they stand.

    Writes that ran at the same time must not overlap on the same device; then their order does not matter.
    """
    content = {side: bytearray(original(scenario, origin_sectors)) for side in ("origin", "snapshot")}
    for number, (device, sector, sectors) in enumerate(writes):
        at = sector * SECTOR_BYTES
        content[device][at : at + sectors * SECTOR_BYTES] = written(scenario, number, sector, sectors)
    return bytes(content["origin"]), bytes(content["snapshot"])
