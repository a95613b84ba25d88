"""Which chunk sizes a store may have, told by its areas: what is left to go by where the header is lost or doubtful.

A store of another chunk size has no area where one is looked for, but a part of the header, data, or zeros. Records are
hard to mistake: each names a chunk of the device that can hold data, no two the same one, and a kernel takes them in
order. An area without records says nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.store.format import FIRST_DATA_CHUNK, MAX_CHUNK_SECTORS, SECTOR_BYTES, exceptions_per_area

__all__ = ["Fit", "fitting_chunk_sizes"]

_LOOKED_AT_BYTES = 1 << 16
_DOUBTED = 8
"""One record in so many may be damaged."""


class Fit(NamedTuple):
    """A chunk size with which a device can be read as a store.

    Attributes:
        chunk_size_sectors: The size, in sectors of 512 bytes.
        records: In the part of the first area that was looked at, up to its end marker.
        in_order: How many of them point where a kernel puts the copy of such a record.
    """

    chunk_size_sectors: int
    records: int
    in_order: int


def fitting_chunk_sizes(device: BlockDevice) -> list[Fit]:
    """Returns the chunk sizes under which the first area has records, nearly all of which can be; the likeliest first.

    A size under which the area has none does not count, since that fits everywhere. What cannot be read does not fit.
    """
    smallest = max(SECTOR_BYTES, device.logical_block_size_bytes) // SECTOR_BYTES
    sizes = [1 << shift for shift in range(MAX_CHUNK_SECTORS.bit_length()) if smallest <= 1 << shift]
    fits = [fit for size in sizes if (fit := _fit(device, size)) is not None]
    return sorted(fits, key=lambda fit: (fit.in_order, fit.records), reverse=True)


def _fit(device: BlockDevice, chunk_size_sectors: int) -> Fit | None:
    chunk_bytes = chunk_size_sectors * SECTOR_BYTES
    looked_at = min(chunk_bytes, _LOOKED_AT_BYTES)
    if device.size_bytes < chunk_bytes + looked_at:
        return None
    try:
        area = np.frombuffer(device.read_at(chunk_bytes, looked_at), "<u8").reshape(-1, 2)
    except IOFailed:
        return None
    cow = area[:, 1]
    ends = np.flatnonzero(cow == 0)
    cow = cow[: ends[0]] if len(ends) else cow
    if not len(cow):
        return None
    sound = _sound(cow, device.size_bytes // chunk_bytes, exceptions_per_area(chunk_size_sectors))
    if _DOUBTED * (len(cow) - sound) > len(cow):
        return None
    in_order = int(np.count_nonzero(cow == np.arange(FIRST_DATA_CHUNK, FIRST_DATA_CHUNK + len(cow), dtype=np.uint64)))
    return Fit(chunk_size_sectors, len(cow), in_order)


def _sound(cow: npt.NDArray[np.uint64], chunks: int, per_area: int) -> int:
    """How many are chunks that can hold data, each counted once; the last ones of a store cut short are behind it."""
    possible = (cow >= FIRST_DATA_CHUNK) & (cow % np.uint64(per_area + 1) != 1)
    possible &= cow < np.uint64(max(chunks, FIRST_DATA_CHUNK + 2 * len(cow) + per_area))
    return len(np.unique(cow[possible])) if (cow < np.uint64(chunks)).any() else 0
