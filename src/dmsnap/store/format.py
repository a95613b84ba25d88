"""The persistent exception store on disk: the specification as code.

A COW device is a row of chunks. Chunk 0 holds the header, chunk 1 the first metadata area; the data chunks of that area
follow it, then comes the next area, and so on::

    chunk   0        1        2 … E+1       E+2      E+3 … 2E+2     2E+3
          ┌────────┬────────┬─────────────┬────────┬──────────────┬────────┬─ …
          │ header │ area 0 │ data chunks │ area 1 │ data chunks  │ area 2 │
          └────────┴────────┴─────────────┴────────┴──────────────┴────────┴─ …

An area is one chunk of ``E = chunk bytes / 16`` records, each two little-endian 64-bit numbers: the chunk of the origin
that was copied, and the chunk of the COW device that holds the copy. A record whose second number is 0 ends the
metadata; a full area is followed by another one. There is no checksum, sequence number or second copy anywhere.

Source: behaviour of Linux dm-snapshot, which has had this one version (1) of the format since 2.6.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dmsnap.errors import DmsnapError

__all__ = [
    "DEFAULT_CHUNK_SECTORS",
    "FIRST_DATA_CHUNK",
    "HEADER_BYTES",
    "MAGIC",
    "RECORD_BYTES",
    "SECTOR_BYTES",
    "VERSION",
    "BadChunkSize",
    "Header",
    "area_chunk",
    "areas_on",
    "check_chunk_size",
    "data_capacity",
    "exceptions_per_area",
    "is_metadata_chunk",
    "pack_header",
    "record_place",
    "unpack_header",
]

SECTOR_BYTES = 512
MAGIC = 0x70416E53
"""The bytes ``SnAp``, read as a little-endian number."""
VERSION = 1
RECORD_BYTES = 16
FIRST_DATA_CHUNK = 2
DEFAULT_CHUNK_SECTORS = 32
"""16 KiB: what the kernel takes when the table gives 0 and there is no header yet."""
MAX_CHUNK_SECTORS = (2**31 - 1) >> 9
"""The kernel's bound (INT_MAX >> SECTOR_SHIFT); the largest power of two below it is 1 GiB."""

_HEADER = struct.Struct("<4I")
HEADER_BYTES = _HEADER.size


class BadChunkSize(DmsnapError, ValueError):
    """A chunk size that the kernel refuses; the message has its words."""


class Header(NamedTuple):
    """The 16 bytes at the start of chunk 0.

    Attributes:
        magic: `MAGIC`; 0 means that no store was ever created here.
        valid: 1, or 0 once invalidated. The kernel takes any other number as valid.
        version: 1; nothing else has ever existed.
        chunk_size_sectors: Chunk size in sectors of 512 bytes.
    """

    magic: int
    valid: int
    version: int
    chunk_size_sectors: int


def unpack_header(data: bytes | bytearray | memoryview) -> Header:
    """Decodes the first 16 bytes of a COW device, without judging them."""
    return Header._make(_HEADER.unpack_from(data))


def pack_header(header: Header) -> bytes:
    """Encodes a header; the kernel fills the rest of chunk 0 with zeros and writes the whole chunk."""
    return _HEADER.pack(*header)


def exceptions_per_area(chunk_size_sectors: int) -> int:
    """Records in one metadata area: 256 for 4 KiB chunks, 1024 for 16 KiB."""
    return chunk_size_sectors * SECTOR_BYTES // RECORD_BYTES


def area_chunk(area: int, per_area: int) -> int:
    """The chunk that holds metadata area ``area`` (from 0), with ``per_area`` records in each area."""
    return 1 + area * (per_area + 1)


def record_place(number: int, per_area: int, chunk_bytes: int) -> tuple[int, int, int]:
    """Where a record lies, counted from the beginning of the store: area, index in it, and byte of the COW device."""
    area, index = divmod(number, per_area)
    return area, index, area_chunk(area, per_area) * chunk_bytes + index * RECORD_BYTES


def areas_on(device_chunks: int, per_area: int) -> int:
    """How many metadata areas lie wholly on a COW device of ``device_chunks`` whole chunks."""
    return max(0, device_chunks - 2 + per_area + 1) // (per_area + 1)


def is_metadata_chunk(chunk: int, per_area: int) -> bool:
    """Whether a chunk is the header or a metadata area, so that no record may point at it."""
    return chunk == 0 or chunk % (per_area + 1) == 1


def data_capacity(device_chunks: int, per_area: int) -> int:
    """How many data chunks a COW device of ``device_chunks`` whole chunks has room for."""
    beyond_header = device_chunks - 1
    return max(0, beyond_header - -(-beyond_header // (per_area + 1)))


def check_chunk_size(chunk_size_sectors: int, *logical_block_sizes_bytes: int) -> None:
    """Applies the kernel's rules for a chunk size, in its order and with its words.

    Args:
        chunk_size_sectors: The chunk size, in sectors of 512 bytes.
        *logical_block_sizes_bytes: Of the COW device and, where known, the origin.

    Raises:
        BadChunkSize: Not a power of two, not a multiple of a logical block size, or over 1 GiB.
    """

    def refuse(reason: str) -> BadChunkSize:
        return BadChunkSize(
            f"invalid chunk size {chunk_size_sectors}: {reason}",
            hint="chunk sizes are powers of two from 512 bytes to 1 GiB",
            chunk_size_sectors=chunk_size_sectors,
        )

    if chunk_size_sectors <= 0 or chunk_size_sectors & (chunk_size_sectors - 1):
        raise refuse("Chunk size is not a power of 2")
    if any(chunk_size_sectors * SECTOR_BYTES % size for size in logical_block_sizes_bytes):
        raise refuse("Chunk size is not a multiple of device blocksize")
    if chunk_size_sectors > MAX_CHUNK_SECTORS:
        raise refuse("Chunk size is too high")
