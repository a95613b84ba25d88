"""A compacted store reads as the old one, is as small as can be, and is what a kernel could have written."""

from __future__ import annotations

import io

import numpy as np
import pytest

from dmsnap.block import MemoryDevice
from dmsnap.maintenance.compacting import NeedsOrigin, NotSound, compacted
from dmsnap.maintenance.events import Begin, Data, End, Exceptions
from dmsnap.maintenance.room import copies_in_order, needed_bytes, without_trap
from dmsnap.store import BadChunkSize, open_store
from dmsnap.store.format import data_capacity
from dmsnap.testing.compacted import Way, compact_bytes, compacted_cases, random_way
from dmsnap.testing.damage import DAMAGES
from dmsnap.testing.linux_runs import linux_finds
from dmsnap.testing.random_snapshots import random_snapshot, read_plainly
from dmsnap.testing.store_builder import build_store, fill_chunk, in_allocation_order

SEEDS = range(250)
PER_TEST = 50


def built(records: object, sectors: int = 1, **options: object) -> bytes:
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=sectors, data=fill_chunk(sectors), **options)
    return out.getvalue()


def records_of(cow: bytes) -> list[tuple[int, int]]:
    device = MemoryDevice(cow, read_only=True)
    return [
        (origin, copy)
        for event in compacted(open_store(device))
        if isinstance(event, Exceptions)
        for origin, copy in event.records.tolist()
    ]


@pytest.mark.parametrize("first", SEEDS[::PER_TEST])
def test_the_content_stays_and_the_store_is_sound(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        before, way = random_snapshot(seed), random_way(seed)
        cow = compact_bytes(before.cow, before.origin, way)
        assert read_plainly(cow, before.origin) == before.content, f"seed {seed}, {way}"
        store = open_store(MemoryDevice(cow, read_only=True), origin_size_bytes=len(before.origin))
        assert store.findings == (), f"seed {seed}, {way}"
        assert len(cow) == needed_bytes(len(store.table), store.chunk_size_sectors), f"seed {seed}, {way}"
        if len(store.table):
            assert store.allocated_sectors in (store.total_sectors, store.total_sectors + store.chunk_size_sectors)
        if way.drop_unchanged:
            chunk = store.chunk_size_bytes
            kept = [number for number in range(-(-len(before.origin) // chunk)) if store.table.lookup(number)]
            for at in (number * chunk for number in kept):
                assert before.origin[at : at + chunk] != before.content[at : at + chunk], f"seed {seed}, {way}"


@pytest.mark.parametrize("first", SEEDS[::PER_TEST])
def test_without_an_origin_records_keep_their_order_and_copies_every_byte(first: int) -> None:
    for seed in range(first, first + PER_TEST):
        before = random_snapshot(seed)
        cow = compact_bytes(before.cow)
        chunk = before.chunk_sectors * 512
        chosen = linux_finds(before.records)
        order = dict.fromkeys(old for old, new in before.records if chosen[old] == new)
        assert [old for old, _ in records_of(cow)] == list(order), f"seed {seed}"
        found = linux_finds(records_of(cow))
        for old, new in found.items():
            copied = before.cow[chosen[old] * chunk : (chosen[old] + 1) * chunk]
            assert cow[new * chunk : (new + 1) * chunk] == copied, f"seed {seed}, chunk {old}"


def test_what_is_compact_stays_byte_for_byte() -> None:
    for exceptions in (1, 31, 32, 33, 64, 100):
        cow = built(in_allocation_order(range(0, 3 * exceptions, 3), 1))
        assert compact_bytes(cow) == cow


def test_sorted_records_ascend() -> None:
    cow = compact_bytes(built([(9, 5), (3, 4), (4, 9), (1, 2)], size_chunks=60), way=Way(sort=True))
    assert records_of(cow) == [(1, 2), (3, 3), (4, 4), (9, 5)]


def test_of_duplicates_the_one_that_linux_finds_stays_where_it_was() -> None:
    records = [(7, 2), (3, 3), (7, 4), (3, 3), (2, 5)]
    cow = compact_bytes(built(records))
    assert [old for old, _ in records_of(cow)] == [7, 3, 2]
    assert read_plainly(cow, bytes(10 * 512)) == read_plainly(built(records), bytes(10 * 512))


def test_chunks_of_zeros_have_no_data() -> None:
    out = io.BytesIO()
    filled = fill_chunk(1)
    build_store(
        out,
        in_allocation_order(range(6), 1),
        chunk_size_sectors=1,
        data=lambda old, new: bytes(512) if old in (1, 2, 5) else filled(old, new),
    )
    events = list(compacted(open_store(MemoryDevice(out.getvalue()))))
    assert [(each.cow_chunk, len(each.data)) for each in events if isinstance(each, Data)] == [(2, 512), (5, 1024)]
    assert [type(each) for each in (events[0], events[1], events[-1])] == [Begin, Exceptions, End]


UNSOUND = [name for name, each in DAMAGES.items() if each.lost and not (each.refusal or each.huge)]


@pytest.mark.parametrize("name", UNSOUND)
def test_what_has_lost_content_is_refused(name: str) -> None:
    content = DAMAGES[name].content()
    with pytest.raises(NotSound, match="repair"):
        compact_bytes(content)


def test_an_invalid_store_is_refused() -> None:
    with pytest.raises(NotSound, match=r"marked invalid.*repair"):
        compact_bytes(built([(1, 2)], valid=0))


def test_records_past_the_end_of_the_origin_are_refused() -> None:
    with pytest.raises(NotSound, match="past the end of the origin"):
        compact_bytes(built([(10, 2)]), bytes(10 * 512))


@pytest.mark.parametrize("way", [Way(2), Way(drop_unchanged=True)])
def test_without_an_origin_nothing_can_be_compared_or_put_into_other_chunks(way: Way) -> None:
    with pytest.raises(NeedsOrigin, match="--origin"):
        compact_bytes(built([(1, 2)]), None, way)


@pytest.mark.parametrize("sectors", [3, 1 << 22])
def test_chunk_sizes_that_kernels_refuse_are_refused(sectors: int) -> None:
    store = open_store(MemoryDevice(built([(1, 2)])))
    with pytest.raises(BadChunkSize):
        compacted(store, origin=MemoryDevice(4096), chunk_size_sectors=sectors)


def test_progress_ends_with_everything() -> None:
    seen: list[tuple[int, int]] = []
    before = random_snapshot(3, duplicates=False)
    store = open_store(MemoryDevice(before.cow[: len(before.cow) // 512 * 512]))
    list(compacted(store, progress=lambda done, total: seen.append((done, total))))
    assert seen[-1] == (len(store.table) * store.chunk_size_bytes,) * 2


def test_what_a_kernel_is_to_load_reads_as_the_snapshot() -> None:
    cases = list(compacted_cases(range(5)))
    assert len({case.name for case, _ in cases}) == 5
    for case, snapshot in cases:
        assert read_plainly(case.cow, case.origin) == snapshot.content, case.name
        assert case.chunk_sectors == int.from_bytes(case.cow[12:16], "little")


# -- room -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sectors", [1, 2])
def test_the_room_needed_is_the_least_that_has_an_end_marker_and_no_trap(sectors: int) -> None:
    per_area = sectors * 32
    for exceptions in range(5 * per_area):
        chunks = needed_bytes(exceptions, sectors) // (sectors * 512)
        copies = copies_in_order(0, exceptions, sectors)
        end_area = 1 + (per_area + 1) * (exceptions // per_area)
        assert chunks == max(3, end_area + 1, int(copies[-1]) + 1 if exceptions else 0)
        assert data_capacity(chunks, per_area) >= exceptions
        assert without_trap(chunks * sectors * 512, sectors) == chunks * sectors * 512


def test_sizes_with_the_trap_become_one_chunk_larger() -> None:
    assert without_trap(258 * 4096, 8) == 259 * 4096
    assert without_trap(257 * 4096 + 1, 8) == 259 * 4096
    assert [without_trap(chunks * 4096, 8) // 4096 for chunks in (256, 257, 259, 260)] == [256, 257, 259, 260]


def test_numbers_are_those_of_the_kernels_allocation() -> None:
    assert np.array_equal(copies_in_order(0, 200, 2), in_allocation_order(range(200), 2)[:, 1])
    assert np.array_equal(copies_in_order(150, 50, 2), in_allocation_order(range(200), 2)[150:, 1])
