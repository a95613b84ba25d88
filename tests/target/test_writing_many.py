"""Many writes at once, and a store that refuses what it has no room for."""

import errno
import random

import pytest
from writing_devices import CHUNK, NEW, OLD, SIZE, Scene, in_use, loaded_again, make_store

from dmsnap.block import IOFailed, MemoryDevice, OutOfRoom
from dmsnap.target.snapshot import SnapshotInvalid
from dmsnap.target.writable_snapshot import SnapshotOverflowed, WritableSnapshot
from dmsnap.testing.device_contract import in_threads


def test_a_store_that_refuses_goes_on_where_there_is_room_and_where_there_are_copies():
    scene = Scene(5, "PO", refuse_when_full=True)
    scene.snapshot.write_at(0, NEW[: 2 * CHUNK])
    with pytest.raises(OutOfRoom, match="full") as failed:
        scene.snapshot.write_at(8 * CHUNK, NEW[: 2 * CHUNK])
    assert failed.value.errno == errno.ENOSPC
    assert scene.snapshot.read_at(0, SIZE) == NEW[: 2 * CHUNK] + OLD[2 * CHUNK :]
    scene.snapshot.write_at(0, NEW[4 * CHUNK : 6 * CHUNK])
    scene.snapshot.write_at(9 * CHUNK, NEW[:CHUNK])
    assert str(scene.snapshot.status()) == "40/40 16"
    scene.medium.grow(7 * CHUNK)
    scene.snapshot.write_at(10 * CHUNK, NEW[:CHUNK])
    scene.snapshot.flush()
    assert loaded_again(scene.snapshot).read_at(0, 2 * CHUNK) == NEW[4 * CHUNK : 6 * CHUNK]


def test_a_snapshot_that_refuses_keeps_its_origin_from_being_overwritten():
    origin, cow = MemoryDevice(OLD), MemoryDevice(4 * CHUNK)
    snapshot = WritableSnapshot(origin, make_store(cow, "PO"), refuse_when_full=True)
    live = in_use(origin, snapshot)
    live.write_at(0, NEW[: 2 * CHUNK])
    with pytest.raises(OutOfRoom):
        live.write_at(4 * CHUNK, NEW[:CHUNK])
    live.write_at(0, NEW[4 * CHUNK : 5 * CHUNK])
    assert live.read_at(4 * CHUNK, CHUNK) == OLD[4 * CHUNK : 5 * CHUNK]
    assert snapshot.read_at(0, SIZE) == OLD


def test_many_writes_are_those_one_by_one():
    draw = random.Random(7)
    one, many = Scene(), Scene()
    for _ in range(20):
        writes = []
        for _ in range(draw.randrange(1, 9)):
            at = draw.randrange(0, SIZE, 512)
            writes.append((at, memoryview(NEW)[at : at + 512 * draw.randrange(1, 20)]))
        many.snapshot.write_many(writes)
        for at, data in writes:
            one.snapshot.write_at(at, data)
        assert many.snapshot.read_at(0, SIZE) == one.snapshot.read_at(0, SIZE)
    for scene in (one, many):
        scene.snapshot.flush()
    assert many.medium.read_at(0, 60 * CHUNK) == one.medium.read_at(0, 60 * CHUNK)


def test_many_writes_to_copies_are_one_call_of_the_device():
    scene = Scene()
    scene.snapshot.write_at(0, NEW[: 4 * CHUNK])
    scene.asked()
    scene.snapshot.write_many([(number * CHUNK, memoryview(NEW)[:512]) for number in (3, 0, 2)])
    assert scene.asked() == [("cow", "write", (2 + number) * CHUNK, 512) for number in (3, 0, 2)]


def test_a_prefetch_is_passed_to_where_the_data_is():
    scene = Scene()
    scene.snapshot.write_at(CHUNK, NEW[: 2 * CHUNK])
    asked = []
    scene.disk.prefetch = lambda *range_: asked.append(("origin", *range_))
    scene.cow.prefetch = lambda *range_: asked.append(("cow", *range_))
    scene.snapshot.prefetch(512, 4 * CHUNK)
    assert [each for each in asked if each[2]] == [
        ("origin", 512, CHUNK - 512),
        ("cow", 2 * CHUNK, 2 * CHUNK),
        ("origin", 3 * CHUNK, CHUNK + 512),
    ]


def test_many_first_writes_are_one_call_of_each_device():
    scene = Scene()
    scene.snapshot.write_many(
        [
            (7 * CHUNK, memoryview(NEW)[:CHUNK]),
            (3 * CHUNK + 512, memoryview(NEW)[:512]),
            (9 * CHUNK, memoryview(NEW)[:512]),
        ]
    )
    assert scene.asked() == [
        ("origin", "start_read", 3 * CHUNK, 512),
        ("origin", "start_read", 3 * CHUNK + 1024, CHUNK - 1024),
        ("origin", "start_read", 9 * CHUNK + 512, CHUNK - 512),
        *(("cow", "write", at * CHUNK, CHUNK) for at in (2, 3, 4)),
    ]


@pytest.mark.parametrize("full", ["P", "PO", "refuse"])
def test_many_first_writes_to_a_store_without_room_end_as_single_ones_do(full):
    scene = Scene(5, "P" if full == "P" else "PO", refuse_when_full=full == "refuse")
    writes = [(at * CHUNK, memoryview(NEW)[:CHUNK]) for at in (8, 1, 6, 3)]
    with pytest.raises(IOFailed) as failed:
        scene.snapshot.write_many(writes)
    kind = {"P": SnapshotInvalid, "PO": SnapshotOverflowed, "refuse": OutOfRoom}[full]
    assert type(failed.value) is kind
    if full == "PO":
        assert scene.snapshot.read_at(CHUNK, CHUNK) == NEW[:CHUNK]
    elif full == "refuse":
        assert scene.snapshot.read_at(0, SIZE) == OLD
        scene.snapshot.write_many(writes[:3])


def test_many_first_writes_of_many_threads_are_all_there():
    disk, cow = MemoryDevice(OLD * 8), MemoryDevice(SIZE * 12)
    snapshot = WritableSnapshot(disk, make_store(cow))
    draws = [random.Random(number) for number in range(4)]

    def work(number: int) -> None:
        mine = list(range(number, 8 * 32, 4))  # 4 threads, quarters of each chunk their own
        for _ in range(30):
            draws[number].shuffle(mine)
            places = [(chunk * CHUNK + number * 1024, memoryview(NEW)[number * 1024 :][:1024]) for chunk in mine[:40]]
            others = [(chunk * CHUNK + 512 * number, memoryview(NEW)[:512]) for chunk in mine[40:]]
            snapshot.write_many([*others, *places])
        snapshot.write_many([(chunk * CHUNK, memoryview(NEW)[:CHUNK]) for chunk in mine])

    in_threads(4, work)
    assert snapshot.read_at(0, len(OLD) * 8) == NEW[:CHUNK] * 8 * 32
    snapshot.flush()
    assert loaded_again(snapshot).read_at(0, len(OLD) * 8) == NEW[:CHUNK] * 8 * 32


def test_an_interrupt_in_the_middle_of_many_leaves_nothing_pending(monkeypatch):
    scene = Scene()
    with monkeypatch.context() as patch:
        patch.setattr(scene.cow, "write_many", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            scene.snapshot.write_many([(at * CHUNK, memoryview(NEW)[:CHUNK]) for at in (8, 1)])
    scene.snapshot.write_at(CHUNK, NEW[:CHUNK])
    assert scene.snapshot.read_at(8 * CHUNK, CHUNK) == OLD[8 * CHUNK : 9 * CHUNK]
