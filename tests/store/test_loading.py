"""Loading a persistent store: the kernel's rules, one by one (Linux dm-snapshot; see docs in dmsnap.store)."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmsnap.block.contract import IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice
from dmsnap.block.wrap.fault import fail_range
from dmsnap.store import Kind, Severity, TruncatedStore, open_store
from dmsnap.testing.store_builder import area_chunk, build_store, data_chunks, in_allocation_order

SECTORS = 1  # 512-byte chunks: 32 records an area, so that a few records already fill several
PER_AREA = 32
CHUNK = 512


def device_of(records, *, extra_chunks=0, **options):
    out = io.BytesIO()
    options.setdefault("chunk_size_sectors", SECTORS)
    build_store(out, records, **options)
    return MemoryDevice(out.getvalue() + bytes(extra_chunks * CHUNK), read_only=True)


def content(store):
    return {
        int(o) + i: int(c) + i if c else 0
        for runs in store.table.batches()
        for o, c, n in zip(*runs, strict=True)
        for i in range(int(n))
    }


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 64, 1000])
@pytest.mark.parametrize("prefetch", ["auto", "kernel", 0, 1, 500])
def test_every_policy_loads_the_same(count, prefetch):
    records = in_allocation_order(range(0, 3 * count, 3), SECTORS)
    store = open_store(device_of(records), prefetch=prefetch)
    assert content(store) == dict(records.tolist())
    assert (store.areas, store.committed) == (count // PER_AREA + 1, count % PER_AREA)
    assert store.findings == ()


def test_the_end_marker_is_a_cow_chunk_of_zero_whatever_the_origin_chunk_says():
    store = open_store(device_of([(5, 2), (0, 3), (9, 0), (6, 4)]))
    assert content(store) == {5: 2, 0: 3}
    assert store.committed == 2


def test_what_lies_in_areas_behind_the_end_marker_is_never_read():
    records = [(i, c) for i, c in in_allocation_order(range(40), SECTORS).tolist()]
    records[20] = (20, 0)
    store = open_store(device_of(records))
    assert (len(store.table), store.areas, store.committed) == (20, 1, 20)


def test_a_full_last_area_needs_a_successor_that_reads_as_the_end():
    records = in_allocation_order(range(PER_AREA), SECTORS)
    store = open_store(device_of(records))
    assert (store.areas, store.committed, len(store.table)) == (2, 0, PER_AREA)


def test_a_full_last_area_without_room_for_a_successor_cannot_be_loaded():
    device = device_of(in_allocation_order(range(PER_AREA), SECTORS), terminated=False)
    assert device.size_bytes // CHUNK == area_chunk(1, SECTORS)
    with pytest.raises(TruncatedStore, match="metadata area 1") as raised:
        open_store(device)
    assert raised.value.offset_bytes == area_chunk(1, SECTORS) * CHUNK


def test_any_valid_but_zero_is_valid_and_zero_loads_no_exceptions():
    records = [(1, 2)]
    assert open_store(device_of(records, valid=2)).valid
    store = open_store(device_of(records, valid=0))
    assert (store.valid, len(store.table)) == (False, 0)


def test_the_version_is_looked_at_before_valid():
    with pytest.raises(Exception, match="version 2"):
        open_store(device_of([(1, 2)], version=2, valid=0))


def test_the_chunk_size_is_looked_at_before_the_version():
    with pytest.raises(Exception, match="not a power of 2"):
        open_store(device_of([(1, 2)], version=2, header_chunk_size_sectors=3))


def test_the_next_chunk_follows_the_highest_one_and_skips_metadata():
    last_of_area_0 = area_chunk(1, SECTORS) - 1
    store = open_store(device_of([(7, last_of_area_0), (8, 5)], extra_chunks=8))
    assert store.next_free == area_chunk(1, SECTORS) + 1
    assert open_store(device_of([(7, 5), (8, 4)])).next_free == 6


def test_status_numbers_count_sectors():
    device = device_of(in_allocation_order(range(33), 8), chunk_size_sectors=8, extra_chunks=3)
    store = open_store(device)
    assert (store.allocated_sectors, store.total_sectors, store.metadata_sectors) == (35 * 8, 35 * 8 + 3, 16)


def test_the_first_of_two_records_for_a_chunk_wins_and_is_told():
    store = open_store(device_of([(4, 2), (5, 3), (4, 4), (5, 5)]))
    assert content(store) == {4: 2, 5: 3}
    assert [(f.kind, f.count) for f in store.findings] == [(Kind.DUPLICATE, 2)]


@pytest.mark.parametrize(
    ("cow", "kind"),
    [
        (1, Kind.INTO_METADATA),
        (34, Kind.INTO_METADATA),
        (50, Kind.OUTSIDE_COW),
        (2**56 - 1, Kind.OUTSIDE_COW),
        (2**56 + 3, Kind.TOP_BITS),
        (2**64 - 1, Kind.TOP_BITS),
    ],
)
def test_a_record_that_points_nowhere_is_a_finding_and_the_rest_loads(cow, kind):
    store = open_store(device_of([(4, 2), (5, cow), (6, 3)], size_chunks=50))
    assert content(store) == {4: 2, 5: 0, 6: 3}
    (finding,) = store.findings
    assert (finding.kind, finding.count, finding.area, finding.index) == (kind, 1, 0, 1)
    assert finding.offset_bytes == CHUNK + 16


def test_a_record_beyond_the_origin_is_a_finding_where_the_origin_is_known():
    device = device_of([(4, 2), (9, 3), (2**63, 4)])
    assert [f.count for f in open_store(device).findings] == [1]
    store = open_store(device, origin_size_bytes=5 * CHUNK)
    assert [(f.kind, f.severity, f.count) for f in store.findings] == [
        (Kind.OUTSIDE_ORIGIN, Severity.DAMAGE, 1),  # no device has that chunk
        (Kind.OUTSIDE_ORIGIN, Severity.WARNING, 1),
    ]
    assert store.table.lookup(4) == 2


def test_an_unreadable_area_in_use_is_an_error_and_one_behind_the_end_is_not():
    device = device_of(in_allocation_order(range(PER_AREA + 1), SECTORS), extra_chunks=200)
    in_use = area_chunk(1, SECTORS) * CHUNK
    with pytest.raises(IOFailed, match="metadata area 1") as raised:
        open_store(FaultDevice(device, fail_range(in_use, CHUNK)))
    assert (raised.value.area, raised.value.offset_bytes) == (1, in_use)
    behind = area_chunk(2, SECTORS) * CHUNK
    store = open_store(FaultDevice(device, fail_range(behind, CHUNK)), prefetch="kernel")
    assert len(store.table) == PER_AREA + 1


def test_chunks_over_1_mib_are_read_in_pieces_and_load_the_same():
    sectors = 4096
    count = 65536 + 10  # into the second 1 MiB piece of the area
    records = np.column_stack((np.arange(count, dtype=np.uint64) * 2, data_chunks(count, sectors)))
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=sectors, size_chunks=3)
    store = open_store(MemoryDevice(out.getvalue(), read_only=True))
    assert (store.areas, store.committed) == (1, count)
    assert store.table.lookup(0) == 2
    assert store.findings[0].kind == Kind.OUTSIDE_COW


record = st.tuples(
    st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1)), st.one_of(st.integers(1, 80), st.integers(0, 2**64 - 1))
)


@settings(deadline=None)
@given(st.lists(record, max_size=100), st.integers(2, 90), st.booleans())
def test_whatever_the_records_say_the_chunks_that_can_be_had_are_the_first_ones(records, size_chunks, terminated):
    device = device_of(records, size_chunks=size_chunks, terminated=terminated)
    size_chunks = device.size_bytes // CHUNK
    model = {}
    for area in range(100):
        if area_chunk(area, SECTORS) >= size_chunks:
            model = None
            break
        raw = device.read_at(area_chunk(area, SECTORS) * CHUNK, CHUNK)
        pairs = np.frombuffer(raw, "<u8").reshape(-1, 2).tolist()
        for origin, cow in pairs:
            if not cow:
                break
            fit = cow < size_chunks and cow % (PER_AREA + 1) != 1
            if origin < 2**63 // CHUNK:
                model.setdefault(origin, cow if fit else 0)
        else:
            continue
        break
    if model is None:
        with pytest.raises(TruncatedStore):
            open_store(device)
    else:
        assert content(open_store(device)) == model
