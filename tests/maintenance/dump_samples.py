"""What tests of dumps share: stores in memory, dumps of them, and stores made of dumps."""

from __future__ import annotations

import io

import numpy as np

from dmsnap.block import MemoryDevice
from dmsnap.maintenance.dumping import FORMATS, read_dump
from dmsnap.maintenance.events import Events, Exceptions
from dmsnap.maintenance.reading import read_events
from dmsnap.maintenance.writing import write_events
from dmsnap.testing.store_builder import build_store, fill_chunk

ODD_RECORDS = [(2**64 - 1, 2), (0, 3), (3, 2**64 - 1), (3, 1), (4, 34), (4, 2), (5, 7 << 56)]
"""Numbers that no kernel writes."""


def stored(records: object, sectors: int = 1, **options: object) -> bytes:
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=sectors, data=fill_chunk(sectors), **options)
    return out.getvalue()


def dumped(content: bytes, form: str, *, data: bool = False) -> bytes:
    out = io.BytesIO()
    FORMATS[form].write(read_events(MemoryDevice(content), data=data), out)
    return out.getvalue()


def events(dump: bytes) -> Events:
    return read_dump(io.BufferedReader(io.BytesIO(dump)))  # type: ignore[arg-type]


def restored(dump: bytes, size: int) -> bytes:
    target = MemoryDevice(size)
    write_events(events(dump), target)
    return bytes(target.read_at(0, size))


def metadata(content: bytes, sectors: int, areas: int) -> bytes:
    chunk, stride = sectors * 512, sectors * 32 + 1
    chunks = [0, *(1 + area * stride for area in range(areas))]
    return b"".join(content[at * chunk : (at + 1) * chunk] for at in chunks)


def records_of_dump(dump: bytes) -> list[tuple[int, int]]:
    parts = [event.records.copy() for event in events(dump) if isinstance(event, Exceptions)]
    return [tuple(row) for row in np.concatenate([np.empty((0, 2), np.uint64), *parts]).tolist()]
