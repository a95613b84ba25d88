"""The metadata of a store, packed: small enough to go with a bug report, and with no user data in it.

All numbers are little-endian::

    offset  size
    0       8     the bytes DMSNAPM1
    8       4     valid, as in the header of the store
    12      4     chunk size in sectors
    16      8     size of the COW device in sectors
    24            blocks, each of
              4     how many records, at most 65536
              4     how many bytes follow
                    a zlib stream: how much each origin chunk, then how much each COW chunk is more than the one
                    before it (modulo 2^64; the first one of the store, than 0), as eight planes of bytes each
            4     0: no more blocks
            4     CRC-32 of all before
            8     how many records there were

Consecutive numbers have equal differences, whose planes shrink to next to nothing.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dmsnap.maintenance.dumped_store import BadDump, dumped_header, most_exceptions
from dmsnap.maintenance.events import BATCH_RECORDS, Begin, End, Events, Exceptions, IncompleteStream
from dmsnap.store.format import RECORD_BYTES, SECTOR_BYTES, VERSION

__all__ = ["PACKED_MAGIC", "read_packed", "write_packed"]

PACKED_MAGIC = b"DMSNAPM1"
_BEGIN = struct.Struct("<8sIIQ")
_BLOCK = struct.Struct("<II")
_COUNT = struct.Struct("<Q")
_LARGEST_BLOCK_BYTES = BATCH_RECORDS * RECORD_BYTES * 9 // 8  # more than zlib makes of what does not shrink


def write_packed(events: Events, out: BinaryIO) -> int:
    """Writes the metadata of a stream of events; what data it has is left out. Returns the number of exceptions.

    Raises:
        IncompleteStream: The stream has no beginning or no end.
    """
    begin = next(events, None)
    if not isinstance(begin, Begin):
        raise IncompleteStream("a stream of a store does not begin with its header")
    head = _BEGIN.pack(
        PACKED_MAGIC, begin.header.valid, begin.header.chunk_size_sectors, begin.cow_size_bytes // SECTOR_BYTES
    )
    out.write(head)
    checksum, last = zlib.crc32(head), np.zeros((1, 2), np.uint64)
    for event in events:
        if isinstance(event, Exceptions) and len(event.records):
            content = zlib.compress(_planes(event.records, last))
            block = _BLOCK.pack(len(event.records), len(content)) + content
            checksum = zlib.crc32(block, checksum)
            out.write(block)
            last = event.records[-1:].copy()
        elif isinstance(event, End):
            out.write(_BLOCK.pack(0, checksum) + _COUNT.pack(event.exceptions))
            return event.exceptions
    raise IncompleteStream("a stream of a store breaks off", hint="it was cut short: get the whole of it")


def read_packed(stream: BinaryIO) -> Events:
    """Yields the events of packed metadata; memory is bounded by one block, whatever the blocks say of themselves.

    Raises:
        BadDump: It is damaged, or says what no store can be.
        IncompleteStream: It breaks off.
    """
    head = _read(stream, _BEGIN.size)
    magic, valid, chunk_size_sectors, cow_sectors = _BEGIN.unpack(head)
    if magic != PACKED_MAGIC:
        raise BadDump("not packed metadata")
    if cow_sectors >> 54:
        raise BadDump("the size of the store is out of range")
    begin = dumped_header(VERSION, valid, chunk_size_sectors, cow_sectors)
    yield begin
    most, count, last = most_exceptions(begin), 0, np.zeros((1, 2), np.uint64)
    checksum = zlib.crc32(head)
    while True:
        head = _read(stream, _BLOCK.size)
        number, size = _BLOCK.unpack(head)
        if not number:
            break
        if number > BATCH_RECORDS or size > _LARGEST_BLOCK_BYTES or count + number > most:
            raise BadDump("packed metadata with a block that is too large", hint="it is damaged: get it again")
        content = _read(stream, size)
        checksum = zlib.crc32(content, zlib.crc32(head, checksum))
        records = _records(_inflated(content, number * RECORD_BYTES), last)
        if not records[:, 1].all():
            raise BadDump("COW chunk 0 is the header: no record can point there")
        yield Exceptions(count, records)
        count, last = count + number, records[-1:].copy()
    (said,) = _COUNT.unpack(_read(stream, _COUNT.size))
    if size != checksum or said != count or stream.read(1):
        raise BadDump("packed metadata does not match its checksum", hint="it is damaged: get it again")
    yield End(count)


def _planes(records: npt.NDArray[np.uint64], last: npt.NDArray[np.uint64]) -> bytes:
    steps = np.diff(np.concatenate((last, records)), axis=0)
    return (
        np.ascontiguousarray(steps.T)
        .astype("<u8", copy=False)
        .view(np.uint8)
        .reshape(2, -1, 8)
        .swapaxes(1, 2)
        .tobytes()
    )


def _records(planes: bytes, last: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    octets = np.frombuffer(planes, np.uint8).reshape(2, 8, -1).swapaxes(1, 2)
    steps = np.ascontiguousarray(octets).view("<u8")[:, :, 0].T
    return np.cumsum(np.concatenate((last, steps)), axis=0, dtype=np.uint64)[1:]


def _inflated(content: bytes, size: int) -> bytes:
    inflate = zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        data = inflate.decompress(content, size)
        beyond = inflate.decompress(inflate.unconsumed_tail, 1)
        if len(data) == size and not beyond and inflate.eof and not inflate.unused_data:
            return data
    raise BadDump("packed metadata cannot be unpacked", hint="it is damaged: get it again")


def _read(stream: BinaryIO, size: int) -> bytes:
    """Reads just so many bytes, from a pipe as well; a size that is not there takes no memory."""
    parts: list[bytes] = []
    while size:
        part = stream.read(min(size, 1 << 16))
        if not part:
            raise IncompleteStream("packed metadata breaks off", hint="it was cut short: get the whole of it")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
