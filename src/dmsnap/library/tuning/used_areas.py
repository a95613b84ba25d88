"""How many metadata areas a store uses, guessed from a few of them: for stores that take too long to load."""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice
from dmsnap.store.format import SECTOR_BYTES, area_chunk, areas_on, exceptions_per_area

__all__ = ["guess_used_areas"]

PROBES = 16
"""Areas looked at together: each step, which takes as long as one read, leaves a 17th of the range."""


def guess_used_areas(device: BlockDevice, chunk_size_sectors: int, known: int, until: float) -> int:
    """Returns how many areas are in use, as far as the last records of some of them tell.

    An area is full if its last record is none of zeros, and those in use are full but for the last one. Behind them
    may lie areas of an older store, so the first that is not full counts; with bad luck all that were looked at were
    such.

    Args:
        device: The COW device.
        chunk_size_sectors: The store's chunk size.
        known: So many areas are known to be full.
        until: When to stop and take the middle of what is left, by the device's clock.

    Raises:
        IOFailed: A record cannot be read.
    """
    per_area = exceptions_per_area(chunk_size_sectors)
    chunk_bytes = chunk_size_sectors * SECTOR_BYTES
    full, not_full = known - 1, areas_on(device.size_bytes // chunk_bytes, per_area)
    while not_full - full > 1:
        if device.clock() >= until:
            return (full + not_full) // 2 + 1
        between = range(full + 1, not_full)
        probes = sorted({between[len(between) * (number + 1) // (PROBES + 1)] for number in range(PROBES)})
        block = device.logical_block_size_bytes
        buffers = [memoryview(bytearray(block)) for _ in probes]
        ends = [(area_chunk(area, per_area) + 1) * chunk_bytes for area in probes]
        for completion in device.start_reads(
            [(end - block, buffer) for end, buffer in zip(ends, buffers, strict=True)]
        ):
            completion.wait()
        for area, buffer in zip(probes, buffers, strict=True):
            if not any(buffer[-8:]):
                not_full = area
                break
            full = area
    return not_full + 1
