"""The persistent store, writing: usage, the end of the device, invalidation, growing, and going backwards."""

import io

import pytest
from writing_parts import area_on, loaded, make_exceptions, new_store, pairs, record_array, records_on, used_device

from dmsnap.block import IOFailed, MemoryDevice, OutOfRoom, ReadOnlyDevice
from dmsnap.block.wrap import FaultDevice
from dmsnap.block.wrap.fault import fail_nth
from dmsnap.store import create_store, open_store
from dmsnap.store.exception_store import AreaBeyondDevice, NewRun
from dmsnap.store.writable import DamagedStore, PersistentStore
from dmsnap.testing.store_builder import build_store, data_chunks, in_allocation_order

HEADER = bytes.fromhex("53 6e 41 70 01 00 00 00 01 00 00 00 08 00 00 00")
INVALID = bytes.fromhex("53 6e 41 70 00 00 00 00 01 00 00 00 08 00 00 00")


def words(store: PersistentStore) -> str:
    usage = store.usage()
    return f"{usage.allocated_sectors}/{usage.total_sectors} {usage.metadata_sectors}"


def filled(size_chunks: int, count: int, **options) -> PersistentStore:
    """A store with 4 KiB chunks after so many exceptions, each committed by itself."""
    store = new_store(size_chunks, **options)
    for chunk in range(count):
        make_exceptions(store, chunk, 1)
        store.commit()
    return store


# -- the golden example: two chunks are written, then merged ----------------------------------------------------------


def test_two_exceptions_make_the_kernels_bytes():
    store = new_store(6)
    for origin, cow in ((5, 2), (6, 3)):
        assert make_exceptions(store, origin, 1) == [NewRun(origin, cow, 1)]
    assert store.commit()
    assert store.device.read_at(0, 4096) == HEADER.ljust(4096, b"\0")
    assert store.device.read_at(4096, 4096) == bytes.fromhex(
        "05 00 00 00 00 00 00 00 02 00 00 00 00 00 00 00 06 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00"
    ).ljust(4096, b"\0")
    assert words(store) == "32/48 16"


def test_merging_them_makes_an_empty_store():
    store = new_store(6)
    make_exceptions(store, 5, 2)
    store.commit()
    assert [pairs(part) for part in store.last_records(9)] == [[(6, 3), (5, 2)]]
    store.clear_last(2)
    assert store.device.read_at(0, 4096) == HEADER.ljust(4096, b"\0")
    assert store.device.read_at(4096, 4096) == bytes(4096)
    assert words(store) == "16/48 16"


def test_losing_them_rewrites_the_header_chunk_and_nothing_else():
    store = new_store(6)
    make_exceptions(store, 5, 2)
    store.commit()
    area = store.device.read_at(4096, 4096)
    store.device.write_at(512, b"\xff" * 3584)  # the rest of chunk 0 is the header's too
    store.drop()
    assert store.device.read_at(0, 4096) == INVALID.ljust(4096, b"\0")
    assert store.device.read_at(4096, 4096) == area
    assert not store.valid


# -- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size_chunks", "count", "expected"),
    [
        (6, 0, "16/48 16"),
        (25, 1, "24/200 16"),
        (3, 1, "24/24 16"),
        (258, 255, "2056/2064 16"),
        (259, 256, "2072/2072 24"),
        (260, 257, "2080/2080 24"),
    ],
)
def test_usage_is_the_kernels(size_chunks, count, expected):
    assert words(filled(size_chunks, count)) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(49542, "397896/2097152 1560"), (22471, "180480/2097152 712")],
)
def test_usage_of_large_stores_is_that_of_the_kernels_documentation(count, expected):
    store = loaded(used_device(count, 8, size_chunks=262144))
    assert words(store) == expected


def test_usage_while_merging_is_that_of_the_kernels_documentation():
    """An area has been emptied; the merge steps back from it when it asks for more."""
    store = loaded(used_device(137 * 256 + 3, 8, size_chunks=262144))
    store.clear_last(3)
    assert words(store) == "281688/2097152 1112"
    store.last_records(1)
    assert words(store) == "281688/2097152 1104"


def test_what_is_allocated_counts_at_once_and_an_area_when_it_is_full():
    store = new_store(300)
    runs = store.allocate(0, 256)
    assert words(store) == "2072/2400 16"
    store.record(runs)
    assert words(store) == "2072/2400 24"
    store.commit()
    assert words(store) == "2072/2400 24"


# -- the end of the device --------------------------------------------------------------------------------------------


def test_the_last_slot_of_an_area_without_a_successor_cannot_be_recorded():
    store = filled(258, 255)
    runs = store.allocate(255, 1)
    assert runs
    with pytest.raises(AreaBeyondDevice):
        store.record(runs)
    assert pairs(records_on(store.device, 8)) == pairs(record_array(0, 255, 8))


def test_nor_can_a_run_that_goes_up_to_it():
    store = filled(258, 200)
    with pytest.raises(AreaBeyondDevice):
        make_exceptions(store, 200, 56)
    assert len(records_on(store.device, 8)) == 200


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_with_a_spare_slot_the_store_is_full_one_earlier(at_once):
    store = new_store(258, spare_last_slot=True)
    taken = 0
    while given := store.allocate(taken, at_once):
        store.record(given)
        taken += sum(run.length for run in given)
    store.commit()
    assert taken == 255
    assert len(records_on(store.device, 8)) == 255


@pytest.mark.parametrize(("size_chunks", "usable"), [(257, 255), (259, 256), (260, 257), (515, 511), (516, 512)])
def test_a_spare_slot_is_spared_only_where_the_kernel_would_fail(size_chunks, usable):
    store = new_store(size_chunks, spare_last_slot=True)
    assert sum(run.length for run in store.allocate(0, 1000)) == usable


def test_a_device_that_grows_has_room_again_and_its_area():
    store = filled(258, 255, spare_last_slot=True)
    assert not store.allocate(300, 1)
    store.device.device.grow(260 * 4096)
    make_exceptions(store, 300, 2)
    store.commit()
    assert records_on(store.device, 8)[255:] == [(300, 257), (301, 259)]
    assert words(store) == "2080/2080 24"


# -- commits ----------------------------------------------------------------------------------------------------------


def test_nothing_is_written_before_a_commit_and_nothing_by_an_empty_one():
    store = new_store(20)
    make_exceptions(store, 3, 2)
    assert not store.device.events
    assert store.commit()
    store.device.events.clear()
    assert not store.commit()
    assert not store.device.events


def test_a_run_is_a_record_for_each_of_its_chunks():
    store = new_store(400)
    make_exceptions(store, 1000, 300)
    make_exceptions(store, 7, 1)
    store.commit()
    chunks = data_chunks(301, 8).tolist()
    assert records_on(store.device, 8) == list(zip([*range(1000, 1300), 7], chunks, strict=True))


def test_what_was_given_back_leaves_no_record_and_its_chunks_are_used_again():
    store = new_store(20)
    store.give_back(store.allocate(3, 2))
    make_exceptions(store, 9, 1)
    store.commit()
    assert records_on(store.device, 8) == [(9, 2)]


def test_a_commit_that_failed_for_want_of_room_is_made_by_the_next():
    class Full(FaultDevice):
        def _write_at(self, offset, view):
            if self.faults:
                raise OutOfRoom("no room")
            super()._write_at(offset, view)

    device = MemoryDevice(20 * 4096)
    create_store(device, 8)
    full = Full(device, fail_nth("write"))
    store = loaded(full)
    make_exceptions(store, 3, 1)
    with pytest.raises(OutOfRoom):
        store.commit()
    make_exceptions(store, 4, 1)
    full.faults.clear()
    assert store.commit()
    assert records_on(device, 8) == [(3, 2), (4, 3)]


# -- invalidation -----------------------------------------------------------------------------------------------------


def test_what_is_complete_is_recorded_before_the_store_is_lost():
    store = new_store(20)
    make_exceptions(store, 3, 1)
    store.drop()
    assert area_on(store.device, 0, 8)[:2] == [(3, 2), (0, 0)]
    assert store.device.read_at(0, 512)[:16] == INVALID
    assert not store.commit()


def test_records_of_copies_that_may_be_lost_are_not_recorded():
    device = MemoryDevice(20 * 4096)
    create_store(device, 8)
    fault = FaultDevice(device)
    store = loaded(fault)
    make_exceptions(store, 3, 1)
    fault.faults.append(fail_nth("flush", 1))
    with pytest.raises(IOFailed):
        store.commit()
    store.drop()
    assert records_on(device, 8) == []
    assert device.read_at(0, 512)[:16] == INVALID


def test_a_store_whose_header_could_not_be_written_is_marked_at_the_next_try():
    device = MemoryDevice(20 * 4096)
    create_store(device, 8)
    fault = FaultDevice(device, fail_nth("write", 1))
    store = loaded(fault)
    store.drop()
    assert not store.valid
    assert open_store(device).valid
    store.drop()
    assert not open_store(device).valid


def test_a_store_is_marked_once():
    store = new_store(20)
    store.drop()
    store.device.events.clear()
    store.drop()
    assert not store.device.events


def test_the_block_with_the_header_is_written_first_so_that_no_crash_leaves_zeros():
    store = new_store(20)
    store.drop()
    assert [event[:3] for event in store.device.events] == [("write_durably", 0, 512), ("zero", 512, 3584)]


# -- going backwards --------------------------------------------------------------------------------------------------


def test_after_a_merge_that_stopped_the_next_chunk_is_that_of_a_store_loaded_anew():
    """The kernel's estimate would hand out a chunk in use where chunks were passed over."""
    device = used_device(0, records=[(0, 2), (1, 9), (2, 3), (3, 12)], size_chunks=40)
    store = loaded(device)
    store.clear_last(1)
    store.table.remove(3)
    assert store.usage().allocated_sectors == 5
    assert store.allocate(8, 1) == [NewRun(8, 10, 1)]
    assert open_store(device).next_free == 10


def test_an_emptied_store_begins_anew():
    store = loaded(used_device(2, size_chunks=40))
    store.clear_last(2)
    store.table.remove(0, 2)
    assert store.allocate(8, 1) == [NewRun(8, 2, 1)]


# -- what must not be added to ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [(7, 1), (7, 34), (7, 900), (7, 1 << 60)])
def test_records_that_cannot_be_right_refuse_more(record):
    out = io.BytesIO()
    records = [*in_allocation_order(range(3), 1).tolist(), record]
    build_store(out, records, chunk_size_sectors=1, size_chunks=50)
    device = MemoryDevice(out.getvalue())
    with pytest.raises(DamagedStore):
        PersistentStore(open_store(device))


def test_a_device_that_was_opened_to_look_is_refused():
    device = used_device(3)
    device.read_only = True
    with pytest.raises(ReadOnlyDevice):
        PersistentStore(open_store(device))
