"""Writing to a snapshot: what goes where, and what its store keeps of it."""

import pytest
from writing_devices import CHUNK, NEW, OLD, SIZE, Scene, loaded_again, make_store

from dmsnap.block import IOFailed, MemoryDevice, ReadOnlyDevice
from dmsnap.block.wrap import LogDevice, ReadOnlyWrapper
from dmsnap.store import open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.snapshot import DamagedException, SnapshotInvalid
from dmsnap.target.writable_snapshot import SnapshotOverflowed, WritableSnapshot


def test_a_whole_chunk_is_written_without_a_look_at_the_origin():
    scene = Scene()
    scene.snapshot.write_at(5 * CHUNK, NEW[: 3 * CHUNK])
    assert scene.asked() == [("cow", "write", 2 * CHUNK, 3 * CHUNK)]


def test_of_a_part_the_rest_comes_from_the_origin():
    scene = Scene()
    scene.snapshot.write_at(5 * CHUNK + 512, NEW[:1024])
    assert scene.asked() == [
        ("origin", "read", 5 * CHUNK, 512),
        ("origin", "read", 5 * CHUNK + 1536, CHUNK - 1536),
        ("cow", "write", 2 * CHUNK, CHUNK),
    ]


def test_what_has_its_copy_is_written_in_place():
    scene = Scene()
    scene.snapshot.write_at(5 * CHUNK, NEW[:CHUNK])
    scene.asked()
    scene.snapshot.write_at(5 * CHUNK + 512, NEW[:512])
    assert scene.asked() == [("cow", "write", 2 * CHUNK + 512, 512)]


def test_only_the_ends_of_a_long_write_are_copied():
    scene = Scene()
    scene.snapshot.write_at(5 * CHUNK + 512, NEW[: 4 * CHUNK])
    assert [event for event in scene.asked() if event[1] == "read"] == [
        ("origin", "read", 5 * CHUNK, 512),
        ("origin", "read", 9 * CHUNK + 512, CHUNK - 512),
    ]
    assert scene.snapshot.read_at(0, SIZE) == (OLD[: 5 * CHUNK + 512] + NEW[: 4 * CHUNK] + OLD[9 * CHUNK + 512 :])


def test_of_the_last_chunk_what_lies_past_the_origin_stays_as_it_was():
    cow = MemoryDevice(b"\xff" * 16 * CHUNK)
    disk = MemoryDevice(OLD[: 3 * CHUNK + 1024])
    snapshot = WritableSnapshot(disk, make_store(cow))
    snapshot.write_at(3 * CHUNK, NEW[:512])
    copy = NEW[:512] + OLD[3 * CHUNK + 512 : 3 * CHUNK + 1024]
    assert cow.read_at(2 * CHUNK, CHUNK) == copy + b"\xff" * (CHUNK - 1024)


def test_a_flush_goes_to_the_cow_device_alone_whether_the_snapshot_is_valid_or_not():
    scene = Scene()
    scene.snapshot.flush()
    assert scene.asked() == [("cow", "flush", 0, 0)]
    scene.snapshot.store.drop()
    scene.snapshot._hear_invalid()
    scene.asked()
    scene.snapshot.flush()
    assert scene.asked() == [("cow", "flush", 0, 0)]


@pytest.mark.parametrize("kind", ["P", "N"])
def test_a_durable_write_is_a_write_and_a_flush(kind):
    scene = Scene(kind=kind)
    scene.snapshot.write_at(0, NEW[:CHUNK], fua=True)
    assert scene.asked()[-1] == ("cow", "flush", 0, 0)
    if kind == "P":
        assert loaded_again(scene.snapshot).read_at(0, CHUNK) == NEW[:CHUNK]


def test_in_flush_mode_a_record_waits_for_the_flush_and_in_commit_mode_for_nothing():
    for sync, records in (("flush", 0), ("commit", 1)):
        scene = Scene(sync=sync)
        scene.snapshot.write_at(0, NEW[:512])
        assert len(open_store(scene.medium).table) == records
        scene.snapshot.flush()
        assert len(open_store(scene.medium).table) == 1


def test_what_waits_for_a_flush_is_not_lost_by_closing():
    scene = Scene()
    scene.snapshot.write_at(0, NEW[:512])
    scene.snapshot.close()
    assert len(open_store(scene.medium).table) == 1


def test_records_are_committed_unasked_before_too_many_wait():
    disk, cow = MemoryDevice(40 << 20), MemoryDevice(50 << 20)
    snapshot = WritableSnapshot(disk, make_store(cow, "P", 1))
    snapshot.zero(0, 40 << 20)
    assert len(open_store(cow).table) == 80 << 10


# -- the end of the room ----------------------------------------------------------------------------------------------


def test_a_write_without_room_loses_the_snapshot_and_says_so_on_the_device():
    scene = Scene(5)
    scene.snapshot.write_at(0, NEW[: 3 * CHUNK])
    with pytest.raises(SnapshotInvalid):
        scene.snapshot.write_at(9 * CHUNK, NEW[:512])
    assert str(scene.snapshot.status()) == "Invalid"
    assert not open_store(scene.medium).valid
    for request in (
        lambda: scene.snapshot.read_at(0, 512),
        lambda: scene.snapshot.read_at(0, SIZE),
        lambda: scene.snapshot.write_at(0, NEW[:512]),
        lambda: scene.snapshot.start_read(0, memoryview(bytearray(SIZE))).wait(),
        lambda: list(scene.snapshot.extents(0, SIZE)),
    ):
        with pytest.raises(SnapshotInvalid):
            request()


def test_with_room_for_overflow_what_fits_is_written_and_no_more_ever():
    scene = Scene(5, "PO")
    scene.snapshot.write_at(2 * CHUNK, NEW[:CHUNK])
    with pytest.raises(SnapshotOverflowed):
        scene.snapshot.write_at(0, NEW[CHUNK : 6 * CHUNK])
    assert str(scene.snapshot.status()) == "Overflow"
    assert scene.snapshot.read_at(0, SIZE) == NEW[CHUNK : 4 * CHUNK] + OLD[3 * CHUNK :]
    with pytest.raises(SnapshotOverflowed):
        scene.snapshot.write_at(0, NEW[:512])
    assert open_store(scene.medium).valid
    scene.snapshot.flush()
    assert str(loaded_again(scene.snapshot).status()) == "40/40 16"


def test_that_a_snapshot_overflowed_is_forgotten_with_it():
    scene = Scene(5, "PO")
    with pytest.raises(SnapshotOverflowed):
        scene.snapshot.write_at(0, NEW[: 6 * CHUNK])
    scene.snapshot.close()
    again = WritableSnapshot(scene.disk, PersistentStore(open_store(scene.cow), overflow=True))
    again.write_at(0, NEW[:512])


def test_a_cow_device_that_grows_while_in_use_has_room_at_once():
    scene = Scene(5)
    scene.snapshot.write_at(0, NEW[: 3 * CHUNK])
    assert str(scene.snapshot.status()) == "40/40 16"
    scene.medium.grow(7 * CHUNK)
    scene.snapshot.write_at(9 * CHUNK, NEW[: 2 * CHUNK])
    assert str(scene.snapshot.status()) == "56/56 16"
    assert scene.snapshot.read_at(9 * CHUNK, 2 * CHUNK) == NEW[: 2 * CHUNK]


@pytest.mark.parametrize(("chunks", "words"), [(258, "Invalid"), (259, "2072/2072 24"), (260, "2072/2080 24")])
def test_the_last_slot_of_an_area_without_a_successor_is_a_trap_as_in_linux(chunks, words):
    disk, cow = MemoryDevice(300 * CHUNK), MemoryDevice(chunks * CHUNK)
    snapshot = WritableSnapshot(disk, make_store(cow))
    for chunk in range(255):
        snapshot.write_at(chunk * CHUNK, b"\x01" * CHUNK)
    snapshot.flush()
    if words == "Invalid":
        with pytest.raises(IOFailed, match="metadata area would lie past the end"):
            snapshot.write_at(255 * CHUNK, b"\x01" * CHUNK)
    else:
        snapshot.write_at(255 * CHUNK, b"\x01" * CHUNK)
    assert str(snapshot.status()) == words


def test_the_trap_can_be_refused():
    disk, cow = MemoryDevice(300 * CHUNK), MemoryDevice(258 * CHUNK)
    make_store(cow)
    snapshot = WritableSnapshot(disk, PersistentStore(open_store(cow), overflow=True, spare_last_slot=True))
    with pytest.raises(SnapshotOverflowed):
        snapshot.write_at(0, b"\x01" * 256 * CHUNK)
    snapshot.flush()
    assert snapshot.read_at(0, 256 * CHUNK) == b"\x01" * 255 * CHUNK + bytes(CHUNK)
    assert loaded_again(snapshot).read_at(0, 255 * CHUNK) == b"\x01" * 255 * CHUNK


# -- discards ---------------------------------------------------------------------------------------------------------


def test_a_discard_zeroes_whole_chunks_that_have_a_copy_and_keeps_the_rest():
    scene = Scene(discard_zeroes_cow=True)
    scene.snapshot.write_at(CHUNK, NEW[: 2 * CHUNK])
    scene.asked()
    scene.snapshot.discard(0, 3 * CHUNK)
    assert scene.asked() == [("cow", "zero", 2 * CHUNK, CHUNK), ("cow", "zero", 3 * CHUNK, CHUNK)]
    assert scene.snapshot.read_at(0, 4 * CHUNK) == OLD[:CHUNK] + bytes(2 * CHUNK) + OLD[3 * CHUNK : 4 * CHUNK]


def test_a_discard_of_a_part_is_passed_to_the_cow_device():
    scene = Scene(discard_zeroes_cow=True)
    scene.snapshot.write_at(CHUNK, NEW[:CHUNK])
    scene.asked()
    scene.snapshot.discard(CHUNK + 512, 1024)
    assert scene.asked() == [("cow", "discard", 2 * CHUNK + 512, 1024)]


def test_without_the_feature_a_discard_does_nothing():
    scene = Scene()
    scene.snapshot.write_at(CHUNK, NEW[:CHUNK])
    scene.asked()
    scene.snapshot.discard(0, SIZE)
    assert scene.asked() == []


def test_a_discard_that_is_passed_down_reaches_the_origin_without_a_copy():
    disk = LogDevice(MemoryDevice(OLD))
    snapshot = WritableSnapshot(
        disk, make_store(MemoryDevice(1 << 20)), discard_zeroes_cow=True, discard_passdown_origin=True
    )
    snapshot.discard(CHUNK, CHUNK)
    assert [tuple(event) for event in disk.events] == [("discard", CHUNK, CHUNK)]
    assert len(snapshot.store.table) == 0


@pytest.mark.parametrize("kind", ["P", "PO"])
def test_a_discard_of_a_snapshot_that_takes_no_writes_fails(kind):
    scene = Scene(5, kind, discard_zeroes_cow=True)
    with pytest.raises(IOFailed):
        scene.snapshot.write_at(0, NEW)
    with pytest.raises(IOFailed):
        scene.snapshot.discard(0, CHUNK)


# -- what there is already --------------------------------------------------------------------------------------------


def test_a_transient_store_begins_anew_whatever_lies_on_its_device():
    cow = MemoryDevice(8 * CHUNK)
    make_store(cow)
    snapshot = WritableSnapshot(MemoryDevice(OLD), make_store(cow, "N"))
    snapshot.write_at(CHUNK, NEW[:CHUNK])
    assert cow.read_at(0, CHUNK) == NEW[:CHUNK]
    assert str(snapshot.status()) == "8/64 0"
    assert snapshot.read_at(0, SIZE) == OLD[:CHUNK] + NEW[:CHUNK] + OLD[2 * CHUNK :]


def test_a_snapshot_that_was_lost_before_takes_nothing():
    scene = Scene()
    scene.snapshot.store.drop()
    found = loaded_again(scene.snapshot)
    for request in (lambda: found.read_at(0, 512), lambda: found.write_at(0, NEW[:512])):
        with pytest.raises(SnapshotInvalid):
            request()
    assert str(found.status()) == "Invalid"


def test_a_copy_that_cannot_be_had_can_neither_be_read_nor_written():
    scene = Scene()
    scene.snapshot.write_at(CHUNK, NEW[:CHUNK])
    scene.snapshot.store.table.remove(1)
    scene.snapshot.store.table.add(1, 900)
    for request in (lambda: scene.snapshot.read_at(CHUNK, 512), lambda: scene.snapshot.write_at(CHUNK, NEW[:512])):
        with pytest.raises(DamagedException):
            request()
    assert str(scene.snapshot.status()) == "24/480 16"


def test_a_store_that_was_opened_to_look_is_refused():
    cow = MemoryDevice(1 << 20)
    make_store(cow)
    with pytest.raises(ReadOnlyDevice):
        PersistentStore(open_store(ReadOnlyWrapper(cow)))
