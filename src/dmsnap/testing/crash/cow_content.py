"""What a COW device holds when a crash program begins: a new store, with garbage wherever a store does not look."""

from __future__ import annotations

import struct

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.store import create_store
from dmsnap.testing.crash.image_device import ImageDevice
from dmsnap.testing.crash.program import Plan

__all__ = ["garbage", "new_cow"]


def garbage(sectors: int) -> bytes:
    """Returns what would pass for records."""
    records = (struct.pack("<QQ", 7 + at % 5, 2 + at % 9) for at in range(32))
    return b"".join(records) * sectors


def new_cow(plan: Plan, *, empty: bool) -> bytes:
    """Returns the content of a snapshot's COW device; without a store where it is to be ``empty``."""
    device = ImageDevice(bytearray(bytes(SECTOR_BYTES) + garbage(plan.cow_sectors - 1)))
    if not empty:
        create_store(device, plan.chunk_sectors)
    return bytes(device.content)
