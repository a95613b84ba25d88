"""What a store would be with other chunks is told from its table alone, and is what compacting then makes."""

from __future__ import annotations

import io

import pytest

from dmsnap.block import MemoryDevice
from dmsnap.maintenance.rechunking import at_chunk_sizes
from dmsnap.store import Store, open_store
from dmsnap.testing.compacted import Way, compact_bytes
from dmsnap.testing.random_snapshots import RandomSnapshot, random_snapshot
from dmsnap.testing.store_builder import build_store


def loaded(snapshot: RandomSnapshot) -> Store:
    cow = MemoryDevice(snapshot.cow[: len(snapshot.cow) // 512 * 512], read_only=True)
    return open_store(cow, origin_size_bytes=len(snapshot.origin))


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_compacting_makes(seed: int) -> None:
    snapshot = random_snapshot(seed)
    for each in at_chunk_sizes(loaded(snapshot), len(snapshot.origin)):
        cow = compact_bytes(snapshot.cow, snapshot.origin, Way(each.chunk_size_bytes // 512))
        store = open_store(MemoryDevice(cow, read_only=True))
        assert (len(store.table), len(cow)) == (each.exceptions, each.size_bytes), f"seed {seed}, {each}"


@pytest.mark.parametrize("seed", range(100, 110))
def test_larger_chunks_are_counted_as_by_hand(seed: int) -> None:
    snapshot = random_snapshot(seed)
    for each in at_chunk_sizes(loaded(snapshot)):
        parts = each.chunk_size_bytes // (snapshot.chunk_sectors * 512)
        if parts:
            assert each.exceptions == len({origin // parts for origin, _ in snapshot.records}), f"seed {seed}, {each}"


def test_the_sizes_go_from_a_sector_to_a_mebibyte_and_its_own_is_among_them() -> None:
    out = io.BytesIO()
    build_store(out, [(5, 2)], chunk_size_sectors=4096)
    told = at_chunk_sizes(open_store(MemoryDevice(out.getvalue())))
    assert [each.chunk_size_bytes for each in told] == [*(512 << shift for shift in range(12)), 2 << 20]
    assert [each.exceptions for each in told] == [*(4096 >> shift for shift in range(12)), 1]


def test_a_read_of_data_is_never_needed() -> None:
    out = io.BytesIO()
    build_store(out, [(5, 2), (6, 3)], chunk_size_sectors=1)
    device = MemoryDevice(out.getvalue())
    store = open_store(device)
    device.close()
    assert at_chunk_sizes(store)[1].exceptions == 2, "chunks 5 and 6 of 512 bytes are in 2 and 3 of 1 KiB"
