"""Stores that no kernel wrote, for a kernel to load and for us: sound ones, odd ones and hostile ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

from dmsnap.block.memory import MemoryDevice
from dmsnap.store import create_store
from dmsnap.testing.kernelvm.content import original
from dmsnap.testing.kernelvm.load_case import LoadCase
from dmsnap.testing.store_builder import Records, build_store, fill_chunk, in_allocation_order

CHUNK = 8
ORIGIN_CHUNKS = 16
COW_CHUNKS = 64


def built(
    name: str, records: Records, *, chunk: int = CHUNK, table_chunk: int | None = None, **options: Any
) -> LoadCase:
    """A case with a store of the test builder, on a COW device with room to spare unless ``size_chunks`` says."""
    out = io.BytesIO()
    options = {"size_chunks": COW_CHUNKS, "data": fill_chunk(chunk), **options}
    build_store(out, records, chunk_size_sectors=chunk, **options)
    origin = original(name, ORIGIN_CHUNKS * CHUNK)
    return LoadCase(name, origin, out.getvalue(), chunk_sectors=chunk if table_chunk is None else table_chunk)


def created(name: str, chunk: int, table_chunk: int) -> LoadCase:
    """A case with a new store of `create_store`."""
    cow = MemoryDevice(16 * chunk * 512)
    create_store(cow, chunk)
    content = bytes(cow.read_at(0, cow.size_bytes))
    return LoadCase(name, original(name, ORIGIN_CHUNKS * CHUNK), content, chunk_sectors=table_chunk)


def sound() -> Iterator[LoadCase]:
    """Stores that a kernel could have written, at least an old one."""
    for chunk in (1, 32, 2048):
        yield created(f"created-{chunk}", chunk, chunk)
    yield created("created-other-table", 64, 8)
    yield created("created-default-table", 64, 0)
    yield built("one-record", [(5, 2)])
    yield built("origin-chunk-0", [(0, 2), (3, 3)])
    yield built("run", in_allocation_order(range(3, 12), CHUNK))
    yield built("backwards", in_allocation_order(range(12, 3, -1), CHUNK))
    yield built("out-of-order", [(4, 9), (3, 5), (9, 2), (10, 12)])
    yield built("areas", in_allocation_order(range(100), 1), chunk=1, size_chunks=120)
    yield built("area-full", in_allocation_order(range(20, 52), 1), chunk=1)
    yield built("area-full-last-chunk", in_allocation_order(range(20, 52), 1), chunk=1, size_chunks=35)
    yield built("metadata-skip", [(3, 33)], chunk=1)
    yield built("last-chunk", [(3, COW_CHUNKS - 1)])
    yield built("partial-chunk-behind", [(3, 4)])._replace(cow_sectors=COW_CHUNKS * CHUNK + 5)
    yield built("end-marker-with-origin", [(5, 2), (7, 0), (6, 3)])


def odd() -> Iterator[LoadCase]:
    """Stores that no kernel writes."""
    yield built("duplicate", [(5, 2), (5, 3)])
    yield built("duplicate-joins-behind", [(6, 9), (5, 2), (6, 3)])
    yield built("duplicate-joins-before", [(5, 9), (6, 3), (5, 2)])
    yield built("duplicate-of-a-run", [(4, 2), (5, 3), (6, 4), (5, 7)])
    yield built("duplicate-before-a-run", [(5, 7), (4, 2), (5, 3), (6, 4)])
    yield built("duplicate-again", [(1, 8), (1, 5), (0, 4), (1, 5)])
    yield built("outside", [(5, 1000), (6, 2)])
    yield built("outside-first-chunk", [(5, COW_CHUNKS), (6, 2)])
    yield built("outside-in-partial-chunk", [(5, COW_CHUNKS), (6, 2)])._replace(cow_sectors=COW_CHUNKS * CHUNK + 5)
    yield built("huge-cow-chunk", [(5, (1 << 56) - 1), (6, 2)])
    yield built("huge-cow-chunk-wraps", [(5, 1 << 53 | 3), (6, 2)])
    yield built("huge-origin-chunk", [((1 << 64) - 1, 2), (6, 3)])
    yield built("beyond-origin", [(1000, 2), (6, 3)])
    yield built("into-area", [(5, 1), (6, 2)])
    yield built("top-bits", [(5, 2 | 3 << 56), (9, 6)])
    yield built("top-bits-next-record", [(5, 2 | 1 << 56), (6, 7)])
    yield built("top-bits-cow-0", [(5, 2 << 56), (9, 2)])
    yield built("all-ones", [((1 << 64) - 1, (1 << 64) - 1), (6, 2)])
    yield built("no-successor", in_allocation_order(range(20, 52), 1), chunk=1, size_chunks=34)
    yield built("valid-2", [(5, 2)], valid=2)
    yield built("valid-0", [(5, 2)], valid=0)
    yield built("version-2", [(5, 2)], version=2)
    yield built("version-0-and-invalid", [(5, 2)], version=0, valid=0)
    yield built("zero-magic", [(5, 2)], magic=0)
    yield built("other-magic", [(5, 2)], magic=0x12345678)
    for size in (0, 3, 1 << 22, 1 << 31):
        yield built(f"header-chunk-{size}", [(5, 2)], header_chunk_size_sectors=size)
    yield built("header-chunk-smaller", [(5, 2)], header_chunk_size_sectors=4)
    yield with_junk(built("junk-behind-header", [(5, 2)]))
    yield built("shorter-than-a-chunk", [])._replace(cow=bytes(512), cow_sectors=4)
    yield built("no-room-for-area", [], size_chunks=1)
    yield built("smaller-than-table-chunk", [(5, 2)], size_chunks=3, table_chunk=32)


def with_junk(case: LoadCase) -> LoadCase:
    """The case with the rest of its header's chunk filled with anything."""
    cow = bytearray(case.cow)
    cow[16:4096] = struct.pack("<Q", 0xDEADBEEF) * 510
    return case._replace(cow=bytes(cow))
