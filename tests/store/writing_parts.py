"""Stores to write to, and what they hold."""

import io
import struct

import numpy as np

from dmsnap.block import MemoryDevice
from dmsnap.block.wrap import LogDevice
from dmsnap.store import create_store, open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.testing.store_builder import area_chunk, build_store, in_allocation_order


def new_store(size_chunks, chunk_sectors=8, **options) -> PersistentStore:
    """An empty store on a logged device of memory."""
    device = MemoryDevice(size_chunks * chunk_sectors * 512, name="cow")
    create_store(device, chunk_sectors)
    return loaded(device, **options)


def loaded(device, **options) -> PersistentStore:
    """The store on a device, which is logged from now on."""
    log = LogDevice(device)
    store = PersistentStore(open_store(log), **options)
    log.events.clear()
    return store


def used_device(count, chunk_sectors=1, *, size_chunks=None, records=None) -> MemoryDevice:
    """A device with a store of ``count`` records, as a kernel makes it by changing chunks 0, 1, 2 …"""
    out = io.BytesIO()
    if records is None:
        records = in_allocation_order(range(count), chunk_sectors)
    build_store(out, records, chunk_size_sectors=chunk_sectors)
    device = MemoryDevice(out.getvalue(), name="cow")
    if size_chunks is not None:
        device.grow(size_chunks * chunk_sectors * 512)
    return device


def make_exceptions(store, first, count) -> list:
    """Makes exceptions of origin chunks, whose copies are not written: as one request does."""
    runs = store.allocate(first, count)
    assert sum(run.length for run in runs) == count
    for run in runs:
        store.table.add(*run)
    store.record(runs)
    return runs


def record_array(first, count, chunk_sectors=1):
    """Records ``first`` and ``count - 1`` more, for origin chunks of the same numbers, in the order of allocation."""
    return in_allocation_order(range(first + count), chunk_sectors)[first:].astype("<u8")


def area_on(device, area, chunk_sectors=1) -> list[tuple[int, int]]:
    """All records of an area as it lies on the device, those after the end marker too."""
    size = chunk_sectors * 512
    return list(struct.iter_unpack("<QQ", device.read_at(area_chunk(area, chunk_sectors) * size, size)))


def records_on(device, chunk_sectors=1) -> list[tuple[int, int]]:
    """The records that a reader finds, one area after the other, in order."""
    found, area = [], 0
    while True:
        for record in area_on(device, area, chunk_sectors):
            if not record[1]:
                return found
            found.append(record)
        area += 1


def pairs(records) -> list[tuple[int, int]]:
    """An array of records as a list."""
    return [tuple(record) for record in np.asarray(records).tolist()]
