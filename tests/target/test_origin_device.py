"""An origin in use: what is copied to whom before it is overwritten, and nothing else."""

import random

import pytest
from writing_devices import in_use, make_snapshot, make_store

from dmsnap.block import BadRequest, MemoryDevice
from dmsnap.block.wrap import LogDevice
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.writable_snapshot import WritableSnapshot

CHUNK = 4096
SIZE = 32 * CHUNK


@pytest.fixture
def disk():
    return LogDevice(MemoryDevice(random.Random(3).randbytes(SIZE), name="origin"))


def copied(snapshot: WritableSnapshot) -> list[int]:
    table = snapshot.store.table
    return [chunk for chunk in range(64) if table.lookup(chunk) is not None]


def test_every_chunk_that_is_touched_is_copied_once(disk):
    snapshot = make_snapshot(disk)
    origin = in_use(disk, snapshot)
    origin.write_at(CHUNK - 512, bytes(CHUNK))
    assert copied(snapshot) == [0, 1]
    assert disk.ranges("read") == [(0, 2 * CHUNK)]
    disk.events.clear()
    origin.write_at(0, bytes(2 * CHUNK))
    assert [event.op for event in disk.events] == ["write"]


def test_the_snapshot_with_the_largest_chunks_is_first_and_equals_are_as_they_came(disk):
    cows = {}
    origin = OriginDevice(disk, OriginSnapshots())
    order = []

    class Told(MemoryDevice):
        def _write_at(self, offset, view):
            order.append(self.name) if self.name not in order else None
            super()._write_at(offset, view)

    for name, chunk in (("a", 2), ("b", 16), ("c", 8), ("d", 16)):
        cows[name] = WritableSnapshot(disk, make_store(Told(1 << 20, name=name), "P", chunk))
        origin.snapshots.add(cows[name].exceptions, SIZE)
    order.clear()
    origin.write_at(0, bytes(512))
    assert order == ["b", "d", "c", "a"]


def test_zeroes_are_copied_out_as_writes_are(disk):
    snapshot = make_snapshot(disk)
    old = disk.read_at(0, SIZE)
    in_use(disk, snapshot).zero(3 * CHUNK, 5 * CHUNK)
    assert copied(snapshot) == [3, 4, 5, 6, 7]
    assert snapshot.read_at(0, SIZE) == old
    assert not any(disk.read_at(3 * CHUNK, 5 * CHUNK))


def test_a_discard_does_nothing_as_linux_does_not_pass_it_on(disk):
    snapshot = make_snapshot(disk)
    disk.events.clear()
    in_use(disk, snapshot).discard(0, SIZE)
    assert not disk.events


def test_reads_and_flushes_pass_through(disk):
    origin = in_use(disk, make_snapshot(disk))
    disk.events.clear()
    origin.read_at(100 * 512, 77 * 512)
    origin.flush()
    assert [tuple(event) for event in disk.events] == [("read", 100 * 512, 77 * 512), ("flush", 0, 0)]


def test_a_snapshot_smaller_than_its_origin_gets_copies_of_what_it_shows(disk):
    store = make_store(MemoryDevice(1 << 20))
    snapshot = WritableSnapshot(disk, store, size_bytes=4 * CHUNK + 512)
    origin = in_use(disk, snapshot)
    origin.write_at(4 * CHUNK + 512, bytes(CHUNK))
    assert copied(snapshot) == []
    origin.write_at(3 * CHUNK, bytes(8 * CHUNK))
    assert copied(snapshot) == [3, 4]


def test_of_the_last_chunk_what_there_is_is_copied():
    disk = MemoryDevice(b"\x07" * (3 * CHUNK + 1024))
    cow = MemoryDevice(b"\xff" * 16 * CHUNK)
    snapshot = WritableSnapshot(disk, make_store(cow))
    in_use(disk, snapshot).write_at(3 * CHUNK, bytes(1024))
    assert cow.read_at(2 * CHUNK, CHUNK) == b"\x07" * 1024 + b"\xff" * (CHUNK - 1024)


def test_a_snapshot_that_left_gets_nothing_any_more(disk):
    snapshot = make_snapshot(disk)
    origin = in_use(disk, snapshot)
    origin.snapshots.remove(snapshot.exceptions)
    origin.snapshots.remove(snapshot.exceptions)
    origin.write_at(0, bytes(512))
    assert copied(snapshot) == []


def test_a_refused_write_copies_nothing(disk):
    snapshot = make_snapshot(disk)
    origin = in_use(disk, snapshot)
    for offset, length in ((SIZE, 512), (1, 512)):
        with pytest.raises(BadRequest):
            origin.write_at(offset, bytes(length))
    assert copied(snapshot) == []


def test_an_overflowed_snapshot_still_gets_what_it_has_room_for_and_is_lost_then(disk):
    snapshot = make_snapshot(disk, 5 * CHUNK, kind="PO")
    with pytest.raises(OSError, match="overflowed"):
        snapshot.write_at(0, bytes(9 * CHUNK))
    assert str(snapshot.status()) == "Overflow"
    origin = in_use(disk, snapshot)
    origin.write_at(0, b"\x01" * CHUNK)
    assert str(snapshot.status()) == "Overflow"
    origin.write_at(20 * CHUNK, bytes(512))
    assert str(snapshot.status()) == "Invalid"


def test_closing_it_leaves_the_origin_open_to_its_snapshots(disk):
    snapshot = make_snapshot(disk)
    in_use(disk, snapshot).close()
    assert snapshot.read_at(0, 512)
