"""The list of changed ranges."""

from __future__ import annotations

import io
import random
import tracemalloc
from itertools import pairwise

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.store import Store, open_store
from dmsnap.testing.store_builder import Records, build_store, in_allocation_order
from dmsnap.transfer import ChangedRange, changed_ranges

CHUNK = 4096


def store_with(records: Records) -> Store:
    out = io.BytesIO()
    build_store(out, records)
    return open_store(MemoryDevice(out.getvalue()))


def test_an_empty_store_changed_nothing() -> None:
    assert list(changed_ranges(store_with([]))) == []


def test_neighbours_are_one_range_wherever_their_copies_lie() -> None:
    store = store_with([(7, 2), (5, 3), (6, 4), (9, 5)])
    assert list(changed_ranges(store)) == [(5 * CHUNK, 3 * CHUNK, True), (9 * CHUNK, CHUNK, True)]


def test_ranges_end_where_the_origin_does() -> None:
    store = store_with([(0, 2), (2, 3), (3, 4), (9, 5)])
    assert list(changed_ranges(store, 3 * CHUNK + 512)) == [(0, CHUNK, True), (2 * CHUNK, CHUNK + 512, True)]
    assert list(changed_ranges(store, 2 * CHUNK)) == [(0, CHUNK, True)]


def test_a_chunk_whose_copy_is_lost_did_change() -> None:
    assert list(changed_ranges(store_with([(3, 1)]))) == [(3 * CHUNK, CHUNK, True)]


def test_the_json_form_is_that_of_rbd_diff() -> None:
    assert ChangedRange(4096, 8192).to_json() == {"offset": 4096, "length": 8192, "exists": True}


@pytest.mark.parametrize("seed", range(10))
def test_every_changed_chunk_is_in_exactly_one_range(seed: int) -> None:
    rng = random.Random(seed)
    chunks = rng.sample(range(2000), rng.randrange(1, 1500))
    ranges = list(changed_ranges(store_with(in_allocation_order(chunks, 8))))
    covered = [c for offset, length, _ in ranges for c in range(offset // CHUNK, (offset + length) // CHUNK)]
    assert covered == sorted(chunks)
    assert all(a.offset + a.length < b.offset for a, b in pairwise(ranges))


def test_stretches_join_across_batches_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmsnap.store.table._BATCH_RUNS", 7)
    backwards = in_allocation_order(range(99, -1, -1), 8)  # each chunk a run of its own
    assert list(changed_ranges(store_with(backwards))) == [(0, 100 * CHUNK, True)]


def test_memory_does_not_grow_with_the_number_of_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmsnap.store.table._BATCH_RUNS", 100)
    ranges = changed_ranges(store_with(in_allocation_order(range(0, 10_000, 2), 8)))
    first = next(ranges)
    tracemalloc.start()
    try:
        assert 1 + sum(1 for _ in ranges) == 5000
        assert tracemalloc.get_traced_memory()[1] < 64 << 10
    finally:
        tracemalloc.stop()
    assert first == (0, CHUNK, True)
