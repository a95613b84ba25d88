"""Many threads read, write and flush an origin, its snapshots and a merge at once; then everything is loaded anew."""

import random
import sys
import time
from contextlib import ExitStack
from itertools import count

import pytest
from writing_devices import in_use, make_store

from dmsnap.block import BlockDevice, FileDevice, IOFailed, MemoryDevice, OutOfRoom
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.store import open_store
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginSnapshots
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.writable_snapshot import WritableSnapshot
from dmsnap.testing.device_contract import in_threads
from dmsnap.testing.stamped_sectors import StampedSectors

pytestmark = pytest.mark.timeout(100)

SECTORS = 600
SIZE = SECTORS * 512


@pytest.fixture(autouse=True)
def _switching_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


class Unsteady(Wrapper):
    """Takes a moment for some requests, and fails some where it is told to."""

    def __init__(self, device: BlockDevice, seed: int) -> None:
        super().__init__(device)
        self._rng = random.Random(seed)
        self.failing: Exception | None = None
        self.fails_from = 1 << 62
        self._count = count(1)

    def _dawdle(self) -> None:
        if self._rng.random() < 0.3:
            time.sleep(self._rng.random() * 1e-3)
        if next(self._count) >= self.fails_from or (self.failing is not None and self._rng.random() < 0.1):
            raise self.failing or IOFailed("from now on")

    def _read_into(self, offset, view):
        super()._read_into(offset, view)
        self._dawdle()

    def _start_reads(self, requests):
        return BlockDevice._start_reads(self, requests)

    def _write_at(self, offset, view):
        self._dawdle()
        super()._write_at(offset, view)

    def _write_durably(self, offset, view):
        self._dawdle()
        super()._write_durably(offset, view)

    def _flush(self):
        self._dawdle()
        super()._flush()


def any_range(rng: random.Random, most: int = 24) -> tuple[int, int]:
    sector = rng.randrange(SECTORS)
    return sector, min(SECTORS - sector, rng.randrange(1, most))


def go_at(judge: StampedSectors, seed: int, *, requests: int = 200, most: int = 24) -> None:
    """What one thread does to one device."""
    rng = random.Random(seed)
    for _ in range(requests):
        dice = rng.random()
        if dice < 0.5:
            judge.write(*any_range(rng, most), fua=rng.random() < 0.1)
        elif dice < 0.9:
            judge.read(*any_range(rng))
        else:
            judge.device.flush()


@pytest.mark.parametrize(
    ("sync", "chunks", "medium"),
    [
        ("flush", (1, 8), "memory"),
        ("commit", (2, 8), "memory"),
        ("flush", (4, 4), "file"),
        ("flush", (1, 64), "memory"),
    ],
)
def test_an_origin_and_two_snapshots_hold_what_was_written_to_each(sync, chunks, medium, tmp_path):
    stack = ExitStack()

    def device(name: str, size: int) -> BlockDevice:
        if medium == "memory":
            return MemoryDevice(size, name=name)
        path = tmp_path / name
        path.write_bytes(bytes(size))
        return stack.enter_context(FileDevice(str(path), writable=True))

    disk = device("origin", SIZE)
    disk.write_at(0, StampedSectors.initial(SECTORS))
    cows = [device(f"cow{number}", 4 << 20) for number in range(2)]
    below = Unsteady(disk, 1)
    stores = [make_store(Unsteady(cow, 2), "P", chunk) for cow, chunk in zip(cows, chunks, strict=True)]
    snapshots = [WritableSnapshot(below, store, sync=sync) for store in stores]
    judges = [StampedSectors(each, SECTORS) for each in (in_use(below, *snapshots), *snapshots)]

    in_threads(6, lambda number: go_at(judges[number % 3], number))

    for judge in judges:
        judge.read(0, SECTORS)
        judge.device.flush()
    judges[0].read(0, SECTORS, disk)
    for judge, cow in zip(judges[1:], cows, strict=True):
        store = open_store(cow)
        assert not store.findings
        assert str(judge.device.status()) == f"{store.allocated_sectors}/{store.total_sectors} {store.metadata_sectors}"
        judge.read(0, SECTORS, SnapshotDevice(disk, store))
    stack.close()


def test_a_merge_goes_on_under_readers_and_writers():
    disk = MemoryDevice(StampedSectors.initial(SECTORS))
    below = Unsteady(disk, 1)
    cow, other_cow = MemoryDevice(1 << 20), MemoryDevice(1 << 20)
    snapshot = WritableSnapshot(below, make_store(Unsteady(cow, 2), "P", 1))
    before = StampedSectors(snapshot, SECTORS)
    for seed in range(4):
        go_at(before, seed, requests=60)
    snapshot.flush()
    other = WritableSnapshot(below, make_store(Unsteady(other_cow, 3), "P", 4))
    others = OriginSnapshots()
    others.add(other.exceptions, SIZE)
    merge = MergeDevice(below, snapshot.store, others=others)
    before.device = merge
    kept = StampedSectors(other, SECTORS)
    done = []

    def work(number: int) -> None:
        if number == 0:
            while merge.step(30 * 512).chunks:
                pass
            done.append(True)
        elif number == 1:
            go_at(kept, 50)
        else:
            while not done:
                go_at(before, number, requests=30, most=6)

    in_threads(5, work)
    before.read(0, SECTORS)
    merge.flush()
    other.flush()
    before.read(0, SECTORS, disk)
    kept.read(0, SECTORS, SnapshotDevice(disk, open_store(other_cow)))
    assert len(open_store(cow).table) == 0


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_a_snapshot_that_is_lost_under_writers_is_lost_for_all_and_nobody_else_is_harmed(sync):
    disk = MemoryDevice(StampedSectors.initial(SECTORS))
    cows = [MemoryDevice(2 << 20), MemoryDevice(2 << 20)]
    failing = Unsteady(cows[0], 2)
    snapshots = [
        WritableSnapshot(Unsteady(disk, 1), make_store(cow, "P", 2), sync=sync)
        for cow in (failing, Unsteady(cows[1], 3))
    ]
    judges = [StampedSectors(each, SECTORS) for each in (in_use(disk, *snapshots), *snapshots)]

    def work(number: int) -> None:
        try:
            go_at(judges[number % 3], number, requests=60, most=4)
        except IOFailed:
            assert number % 3 == 1

    failing.fails_from = 60
    in_threads(6, work)
    failing.fails_from = 1 << 62
    assert str(snapshots[0].status()) == "Invalid"
    judges[0].write(0, SECTORS)
    assert not open_store(cows[0]).valid
    for judge in (judges[0], judges[2]):
        judge.read(0, SECTORS)
    judges[2].device.flush()
    judges[2].read(0, SECTORS, SnapshotDevice(disk, open_store(cows[1])))


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_a_host_that_is_out_of_room_now_and_then_loses_nothing(sync):
    disk, cow = MemoryDevice(StampedSectors.initial(SECTORS)), MemoryDevice(4 << 20)

    class WithoutRoom(Unsteady):
        def _flush(self):
            self.device.flush()

        def _read_into(self, offset, view):
            self.device.read_into(offset, view)

    failing = WithoutRoom(cow, 2)
    snapshot = WritableSnapshot(Unsteady(disk, 1), make_store(failing, "P", 2), sync=sync)
    judges = [StampedSectors(each, SECTORS) for each in (in_use(disk, snapshot), snapshot)]
    failing.failing = OutOfRoom("not now")
    refused = []

    def work(number: int) -> None:
        for attempt in range(100):
            try:
                go_at(judges[number % 2], 100 * number + attempt, requests=4)
            except OutOfRoom:
                refused.append(number)

    in_threads(4, work)
    assert {1, 3} <= set(refused)
    assert {0, 2} & set(refused)  # one of the origin's writers may find everything copied by the other
    failing.failing = None
    for judge in judges:
        judge.device.flush()
        judge.read(0, SECTORS)
    judges[1].read(0, SECTORS, SnapshotDevice(disk, open_store(cow)))


def test_a_snapshot_that_overflows_under_writers_keeps_what_it_had():
    disk, cow = MemoryDevice(StampedSectors.initial(SECTORS)), MemoryDevice(200 * 512)
    snapshot = WritableSnapshot(Unsteady(disk, 1), make_store(Unsteady(cow, 2), "PO", 1))
    judge = StampedSectors(snapshot, SECTORS)

    def work(number: int) -> None:
        with pytest.raises(IOFailed):
            go_at(judge, number, requests=1000)

    in_threads(4, work)
    assert str(snapshot.status()) == "Overflow"
    judge.read(0, SECTORS)
    snapshot.flush()
    judge.read(0, SECTORS, SnapshotDevice(disk, open_store(cow)))
