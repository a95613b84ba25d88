"""Metadata areas being written: what is on the device, and in what order it gets there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from writing_parts import area_on, pairs, record_array, records_on, used_device

from dmsnap.block import IOFailed, MemoryDevice, OutOfRoom
from dmsnap.block.wrap import FaultDevice, LogDevice
from dmsnap.block.wrap.fault import fail_nth
from dmsnap.store import create_store
from dmsnap.store.areas import MetadataAreas
from dmsnap.testing.store_builder import area_chunk

PER_AREA = 32
CHUNK = 512


def place(area: int) -> int:
    return area_chunk(area, 1) * CHUNK


def areas_of(count: int, *, size_chunks: int = 400, device=None) -> tuple[MetadataAreas, LogDevice]:
    log = LogDevice(used_device(count, size_chunks=size_chunks) if device is None else device)
    return MetadataAreas(log, 1, count // PER_AREA, count % PER_AREA), log


def changes(log: LogDevice) -> list[tuple[str, int]]:
    """Writes and flushes, in their order, with the areas written."""
    areas = {place(area): area for area in range(20)}
    return [(e.op, areas.get(e.offset, -1)) for e in log.events if e.op not in ("read", "start_read")]


# -- appending --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1, 31, 32, 40, 64])
@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_records_go_on_behind_the_last_one(before, count):
    areas, log = areas_of(before)
    areas.append(record_array(before, count))
    assert records_on(log) == pairs(record_array(0, before + count))
    assert (areas.area, areas.committed) == divmod(before + count, PER_AREA)


def test_copies_are_flushed_before_a_record_is_written_and_the_record_after():
    areas, log = areas_of(5)
    areas.append(record_array(5, 1))
    assert changes(log) == [("flush", -1), ("write", 0), ("flush", -1)]


def test_an_area_that_fills_is_written_after_its_successor():
    areas, log = areas_of(31)
    areas.append(record_array(31, 1))
    assert changes(log) == [("flush", -1), ("write", 1), ("flush", -1), ("write", 0), ("flush", -1)]
    assert area_on(log, 1) == [(0, 0)] * PER_AREA


def test_records_of_several_areas_are_written_before_the_area_that_leads_to_them():
    areas, log = areas_of(30)
    areas.append(record_array(30, 70))
    assert changes(log) == [
        ("flush", -1),
        *(("write", area) for area in (1, 2, 3)),
        ("flush", -1),
        ("write", 0),
        ("flush", -1),
    ]


def test_copies_are_flushed_first_where_a_full_area_leads_to_the_records_already():
    """A merge may leave a full area as the current one; what is written to its successor can be seen at once."""
    areas, log = areas_of(32)
    areas.step_back()
    assert (areas.area, areas.committed) == (0, 32)
    areas.append(record_array(32, 1))
    assert changes(log)[:2] == [("flush", -1), ("write", 1)]
    assert records_on(log) == pairs(record_array(0, 33))


@pytest.mark.parametrize("count", [1, 10, 32, 40])
def test_what_lies_behind_the_end_never_becomes_a_record(count):
    device = used_device(100)
    area = device.read_at(place(0), CHUNK)
    area[16 * 4 : 16 * 5] = bytes(16)  # the end marker, with 27 records behind it, and areas of more
    device.write_at(place(0), area)
    areas, log = areas_of(4, device=device)
    areas.append(record_array(4, count))
    assert records_on(log) == pairs(record_array(0, 4 + count))


@given(st.integers(0, 70), st.lists(st.integers(1, 70), min_size=1, max_size=6))
def test_any_row_of_appends_leaves_the_same_bytes_as_one(before, counts):
    step_by_step, log = areas_of(before, size_chunks=700)
    at_once, other = areas_of(before, size_chunks=700)
    done = before
    for count in counts:
        step_by_step.append(record_array(done, count))
        done += count
    at_once.append(record_array(before, done - before))
    assert log.read_at(0, log.size_bytes) == other.read_at(0, other.size_bytes)


@pytest.mark.parametrize("op", ["write", "flush"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_an_append_that_failed_can_be_made_again_with_more(op, number, count):
    fault = FaultDevice(used_device(30, size_chunks=300), fail_nth(op, number))
    areas, _ = areas_of(30, device=fault)
    try:
        areas.append(record_array(30, count))
    except IOFailed:
        assert (areas.area, areas.committed) == (0, 30)
        found = pairs(record_array(0, 30 + count))
        assert records_on(fault) in [found[:length] for length in range(30, len(found) + 1)]
        count += 3
        areas.append(record_array(30, count))
    else:
        assert (op, count, number) in {("write", 1, 2), ("write", 1, 3), ("write", 2, 3), ("flush", 1, 3)}
    assert records_on(fault) == pairs(record_array(0, 30 + count))


def test_copies_lost_by_a_flush_are_never_taken_for_a_want_of_room():
    class Full(LogDevice):
        def _flush(self):
            raise OutOfRoom("no room")

    areas, _ = areas_of(3, device=Full(used_device(3)))
    with pytest.raises(IOFailed) as raised:
        areas.append(record_array(3, 1))
    assert type(raised.value) is IOFailed


# -- from the end backwards -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
@pytest.mark.parametrize("most", [1, 5, 32, 33, 1000])
def test_the_last_records_come_area_by_area_from_the_last(count, most):
    areas, _ = areas_of(count)
    areas.step_back()
    parts = [pairs(part) for part in areas.last(most)]
    wanted = pairs(record_array(0, count))[-min(most, count) :] if count else []
    assert [record for part in reversed(parts) for record in part] == wanted
    assert all(part[-1][0] // PER_AREA == part[0][0] // PER_AREA for part in parts)


def test_areas_are_read_ahead_many_at_a_time():
    areas, log = areas_of(100 * PER_AREA, size_chunks=None)
    list(areas.last(100 * PER_AREA))
    assert len(log.ranges("start_read")) == 100
    assert not log.ranges("read")


@pytest.mark.parametrize("count", [1, 31, 32, 33, 70])
@pytest.mark.parametrize("most", [1, 6, 32, 38, 70])
def test_cleared_records_are_gone_and_their_places_zeros(count, most):
    areas, log = areas_of(count)
    areas.step_back()
    most = min(most, count)
    areas.clear_last(most)
    assert records_on(log) == pairs(record_array(0, count - most))
    assert [record for area in range(4) for record in area_on(log, area) if any(record)] == records_on(log)
    assert changes(log)[-1] == ("flush", -1)
    areas.step_back()
    areas.clear_last(count - most) if count > most else None
    assert records_on(log) == []


@pytest.mark.parametrize("count", [5, 32, 40, 70])
@pytest.mark.parametrize("cleared", [1, 5, 32])
@pytest.mark.parametrize("added", [1, 40])
def test_records_can_be_added_after_others_were_cleared(count, cleared, added):
    areas, log = areas_of(count)
    areas.step_back()
    cleared = min(count, cleared)
    areas.clear_last(cleared)
    areas.append(record_array(count - cleared, added))
    assert records_on(log) == pairs(record_array(0, count - cleared + added))


@pytest.mark.parametrize("op", ["read", "write", "flush"])
@pytest.mark.parametrize("number", [1, 2])
def test_records_that_could_not_be_cleared_are_still_there(op, number):
    fault = FaultDevice(used_device(40))
    areas, _ = areas_of(40, device=fault)
    fault.faults.append(fail_nth(op, number))
    try:
        areas.clear_last(20)
    except IOFailed:
        assert records_on(fault) == pairs(record_array(0, 40))
        assert [pairs(part) for part in areas.last(10)] == [pairs(record_array(32, 8)), pairs(record_array(30, 2))]
        areas.clear_last(20)
    assert records_on(fault) == pairs(record_array(0, 20))


def test_records_that_have_gone_are_an_error_and_no_records():
    device = used_device(40)
    areas, _ = areas_of(40, device=device)
    device.write_at(place(1), bytes(CHUNK))
    with pytest.raises(IOFailed, match="records have gone from metadata area 1"):
        list(areas.last(10))


# -- areas of all sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_sectors", [1, 2, 8, 128, 2048, 4096])
def test_areas_of_any_size_turn_over(chunk_sectors):
    per_area = chunk_sectors * 32
    device = MemoryDevice(area_chunk(1, chunk_sectors) * chunk_sectors * 512 + chunk_sectors * 512)
    create_store(device, chunk_sectors)
    areas = MetadataAreas(device, chunk_sectors, 0, 0)
    expected = record_array(0, per_area + 3, chunk_sectors)
    areas.append(expected[: per_area - 1])
    areas.append(expected[per_area - 1 : per_area])
    assert area_on(device, 1, chunk_sectors)[0] == (0, 0)
    areas.append(expected[per_area:])
    assert records_on(device, chunk_sectors) == pairs(expected)
    areas.clear_last(per_area)
    assert records_on(device, chunk_sectors) == pairs(expected[:3])


def test_a_record_rewrites_no_more_than_a_page_of_a_large_area():
    device = LogDevice(MemoryDevice(4 << 20))
    create_store(device, 2048)
    areas = MetadataAreas(device, 2048, 0, 0)
    areas.append(record_array(0, 1, 2048))
    device.events.clear()
    areas.append(record_array(1, 1, 2048))
    assert device.ranges("write") == [(1 << 20, 4096)]
