"""How much room exceptions take in a store, and which sizes of a COW device are a trap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dmsnap.store.format import FIRST_DATA_CHUNK, SECTOR_BYTES, area_chunk, exceptions_per_area

__all__ = ["copies_in_order", "needed_bytes", "without_trap"]

_FEWEST_CHUNKS = 3
"""What LVM takes at least for a COW device."""


def needed_bytes(exceptions: int, chunk_size_sectors: int) -> int:
    """Size of the smallest COW device for so many exceptions, the area with the end marker included."""
    per_area = exceptions_per_area(chunk_size_sectors)
    chunks = 1 + area_chunk(exceptions // per_area, per_area)
    if exceptions % per_area:
        chunks += exceptions % per_area
    return max(_FEWEST_CHUNKS, chunks) * chunk_size_sectors * SECTOR_BYTES


def without_trap(size_bytes: int, chunk_size_sectors: int) -> int:
    """Returns a size of a COW device, in whole chunks and at least as large, that is no trap.

    Where the last chunk of a device is the last data chunk of an area, the area that has to follow it has no place, and
    a kernel invalidates the snapshot when it is full though everything had room (Linux dm-snapshot, all versions).
    """
    chunks = -(-size_bytes // (chunk_size_sectors * SECTOR_BYTES))
    stride = exceptions_per_area(chunk_size_sectors) + 1
    return (chunks + (chunks % stride == 1)) * chunk_size_sectors * SECTOR_BYTES


def copies_in_order(first: int, count: int, chunk_size_sectors: int) -> npt.NDArray[np.int64]:
    """The COW chunks that a kernel gives to exceptions ``first`` and on, when none was ever lost."""
    number = np.arange(first, first + count, dtype=np.int64)
    return number + number // exceptions_per_area(chunk_size_sectors) + FIRST_DATA_CHUNK
