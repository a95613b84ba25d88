"""Builds persistent exception stores byte by byte, whatever they should hold, with nothing of dmsnap's own store code.

Tests want stores that no kernel would write as well as those it would: records in any order, holes, duplicates, areas
without a successor, odd headers. This module knows only the layout (Linux dm-snapshot, version 1)::

    chunk 0        header: "SnAp", valid, version, chunk size in sectors; each 32 bits, little-endian
    chunk 1        area 0: 16-byte records (origin chunk, COW chunk), each number 64 bits, little-endian
    chunk 2 …      as many data chunks as an area has records, then area 1, and so on
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Built", "Records", "area_chunk", "build_store", "data_chunks", "fill_chunk", "in_allocation_order"]

Records = npt.NDArray[np.uint64] | Sequence[tuple[int, int]]
"""Pairs (origin chunk, COW chunk) in the order in which they stand in the areas."""

ChunkData = Callable[[int, int], bytes]
"""Content of one data chunk, given origin chunk and COW chunk."""

SECTOR_BYTES = 512
RECORD_BYTES = 16
MAGIC = 0x70416E53


class Built(NamedTuple):
    """What was written.

    Attributes:
        chunk_size_bytes: Of the layout, whatever the header says.
        size_chunks: Size of the store.
        areas: Areas written, the terminating one included.
        records: Records written.
    """

    chunk_size_bytes: int
    size_chunks: int
    areas: int
    records: int


def area_chunk(area: int, chunk_size_sectors: int) -> int:
    """Returns the chunk in which an area lies."""
    return 1 + (chunk_size_sectors * 32 + 1) * area


def data_chunks(count: int, chunk_size_sectors: int) -> npt.NDArray[np.uint64]:
    """Returns the first ``count`` COW chunks in the order of a kernel's allocation: 2, 3, … without area chunks."""
    per_area = chunk_size_sectors * 32
    index = np.arange(count, dtype=np.uint64)
    return index + index // np.uint64(per_area) + np.uint64(2)


def in_allocation_order(origin_chunks: Iterable[int], chunk_size_sectors: int) -> npt.NDArray[np.uint64]:
    """Returns the records that a kernel writes when ``origin_chunks`` are changed one after the other."""
    origin = np.fromiter(origin_chunks, dtype=np.uint64)
    return np.column_stack((origin, data_chunks(len(origin), chunk_size_sectors)))


def fill_chunk(chunk_size_sectors: int) -> ChunkData:
    """Returns chunk content that tells where it belongs: both chunk numbers, over and over."""

    def fill(origin_chunk: int, cow_chunk: int) -> bytes:
        return struct.pack("<QQ", origin_chunk | 1 << 63, cow_chunk) * (
            chunk_size_sectors * SECTOR_BYTES // RECORD_BYTES
        )

    return fill


def build_store(
    out: BinaryIO,
    records: Records,
    *,
    chunk_size_sectors: int = 8,
    size_chunks: int | None = None,
    data: ChunkData | None = None,
    terminated: bool = True,
    magic: int = MAGIC,
    valid: int = 1,
    version: int = 1,
    header_chunk_size_sectors: int | None = None,
) -> Built:
    """Writes a store to the start of ``out`` (a file opened for writing, or `io.BytesIO`), leaving holes where it can.

    Args:
        out: Seekable; what it held before stays where nothing is written.
        records: Written to the areas as they come, unchecked. A COW chunk of 0 ends the store for every reader.
        chunk_size_sectors: Of the layout.
        size_chunks: Size of the store; by default just enough for its areas and for the data chunks of its records.
            Areas that would begin at or after it are left out.
        data: Content of data chunks, called for each record in turn; none by default (chunks read as zeros).
        terminated: Whether an area that is exactly full gets its empty successor.
        magic: The header's, as are the next three.
        valid: 0 is invalid.
        version: 1 is the only one there is.
        header_chunk_size_sectors: What the header says where it should differ from the layout.
    """
    chunk_bytes = chunk_size_sectors * SECTOR_BYTES
    table = np.asarray(records, dtype="<u8").reshape(-1, 2)
    per_area = chunk_bytes // RECORD_BYTES
    areas = max(1, -(-len(table) // per_area))
    if terminated and len(table) and len(table) % per_area == 0:
        areas += 1
    if size_chunks is None:
        highest = int(table[:, 1].max()) if len(table) else 0
        size_chunks = max(area_chunk(areas - 1, chunk_size_sectors), highest) + 1
    said = chunk_size_sectors if header_chunk_size_sectors is None else header_chunk_size_sectors

    if data is not None:
        for origin_chunk, cow_chunk in table.tolist():
            if cow_chunk < size_chunks:
                _put(out, cow_chunk * chunk_bytes, data(origin_chunk, cow_chunk))
    # Areas after data: a hostile record may name an area's chunk, and the area is to survive that.
    for area in range(areas):
        chunk = area_chunk(area, chunk_size_sectors)
        if chunk < size_chunks:
            content = table[area * per_area : (area + 1) * per_area].tobytes()
            _put(out, chunk * chunk_bytes, content.ljust(chunk_bytes, b"\0"))
    _put(
        out,
        0,
        struct.pack("<4I", magic, valid, version, said).ljust(min(chunk_bytes, size_chunks * chunk_bytes), b"\0"),
    )
    end = size_chunks * chunk_bytes
    if out.seek(0, 2) < end:
        _put(out, end - 1, b"\0")
    return Built(chunk_bytes, size_chunks, areas, len(table))


def _put(out: BinaryIO, offset: int, content: bytes) -> None:
    out.seek(offset)
    out.write(content)
