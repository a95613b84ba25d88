"""Stores on devices in simulated time, for tests of traces."""

from __future__ import annotations

import io

from dmsnap.block.contract import BlockDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.model import ModelDevice, make_drive
from dmsnap.block.wrap import FaultDevice, fail_range
from dmsnap.testing.store_builder import build_store, in_allocation_order

__all__ = ["area_offset", "broken_at", "store_of", "timed"]


CHUNK_SECTORS = 1
PER_AREA = CHUNK_SECTORS * 512 // 16
"""With the smallest chunks a store of many areas is small."""


def store_of(areas: int, *, room_areas: int = 0) -> MemoryDevice:
    """A store that uses ``areas`` metadata areas, on a device that has room for more."""
    out = io.BytesIO()
    records = in_allocation_order(range((areas - 1) * PER_AREA + 5), CHUNK_SECTORS)
    chunks = (areas + room_areas) * (PER_AREA + 1) + 1
    build_store(out, records, chunk_size_sectors=CHUNK_SECTORS, size_chunks=chunks)
    return MemoryDevice(out.getvalue(), read_only=False)


def broken_at(area: int, areas: int) -> FaultDevice:
    """A store of which one area cannot be read."""
    return FaultDevice(store_of(areas), fail_range(area_offset(area), 512))


def area_offset(area: int) -> int:
    """Where an area begins, in bytes."""
    return (1 + area * (PER_AREA + 1)) * CHUNK_SECTORS * 512


def timed(device: BlockDevice, drive: str = "network-5ms") -> ModelDevice:
    """The device in simulated time: the same at each run."""
    return ModelDevice(device, make_drive(drive))
