"""The chunk size of a store can be told from its areas."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from dmsnap.block import MemoryDevice
from dmsnap.block.open import open_device
from dmsnap.maintenance.fitting import fitting_chunk_sizes
from dmsnap.store import open_store
from dmsnap.testing.fixtures import load, names
from dmsnap.testing.store_builder import build_store, fill_chunk, in_allocation_order


def stored(records: object, sectors: int, **options: object) -> MemoryDevice:
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=sectors, data=fill_chunk(sectors), **options)
    return MemoryDevice(out.getvalue())


@pytest.mark.parametrize("sectors", [1, 8, 32, 128])
@pytest.mark.parametrize("exceptions", [1, 5, 100])
def test_a_store_fits_its_own_chunk_size_and_no_other(sectors: int, exceptions: int) -> None:
    device = stored(in_allocation_order(random.Random(1).sample(range(500), exceptions), sectors), sectors, magic=7)
    assert [fit.chunk_size_sectors for fit in fitting_chunk_sizes(device)] == [sectors]
    seen = min(exceptions, sectors * 32)
    assert fitting_chunk_sizes(device)[0][1:] == (seen, seen)


def test_an_empty_store_says_nothing() -> None:
    assert fitting_chunk_sizes(stored([], 8, size_chunks=10)) == []


def test_what_is_no_store_fits_nothing() -> None:
    assert fitting_chunk_sizes(MemoryDevice(random.Random(2).randbytes(1 << 20))) == []
    assert fitting_chunk_sizes(MemoryDevice(b"a text and no store, of 32 bytes\n" * 4096)) == []
    assert fitting_chunk_sizes(MemoryDevice(512)) == []


def test_some_damaged_records_and_a_store_cut_short_still_fit() -> None:
    records = in_allocation_order(range(0, 300, 3), 8)
    records[7, 1] = 2**60
    records[9, 1] = 1
    assert [fit.chunk_size_sectors for fit in fitting_chunk_sizes(stored(records, 8, size_chunks=30))] == [8]


@pytest.mark.parametrize("name", names())
def test_stores_of_the_kernel_fit_what_their_header_says(name: str, tmp_path: Path) -> None:
    fixture = load(name, tmp_path)
    if fixture.status is None:  # the kernel refuses it
        return
    with open_device(str(fixture.cow)) as device:
        store = open_store(device)
        fits = fitting_chunk_sizes(device)
        if len(store.table) or not store.valid:
            assert fits == [] or fits[0].chunk_size_sectors == store.chunk_size_sectors
        if len(store.table):
            assert fits
