"""An I/O error at every single request of a merge in turn: it stops with the kernel's words, and goes on later."""

import random

import pytest

from dmsnap.block import IOFailed, MemoryDevice
from dmsnap.block.wrap import FaultDevice, LogDevice
from dmsnap.block.wrap.fault import fail_nth, fail_range
from dmsnap.store import create_store, open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.merging import MergeDevice, MergeFailed
from dmsnap.target.origin import OriginSnapshots
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.writable_snapshot import WritableSnapshot

pytestmark = pytest.mark.timeout(120)

CHUNK = 512
CHUNKS = 120
SIZE = CHUNKS * CHUNK
PER_AREA = 32
STEP_CHUNKS = 20


class Scene:
    """A snapshot with exceptions in three areas, about to be merged, and another one of the same origin."""

    def __init__(self) -> None:
        rng = random.Random(20)
        self.disk = MemoryDevice(rng.randbytes(SIZE), name="origin")
        self.cow = MemoryDevice(300 * CHUNK, name="cow")
        self.other_cow = MemoryDevice(300 * CHUNK, name="other")
        for cow in (self.cow, self.other_cow):
            create_store(cow, 1)
        self.old = bytes(self.disk.read_at(0, SIZE))
        writer = WritableSnapshot(self.disk, PersistentStore(open_store(self.cow)))
        for first, count in ((3, 10), (50, 25), (40, 1), (13, 4), (90, 30), (39, 1)):
            writer.write_at(first * CHUNK, rng.randbytes(count * CHUNK))
        writer.close()
        self.logs = {"origin": LogDevice(self.disk), "cow": LogDevice(self.cow), "other": LogDevice(self.other_cow)}
        self.faults = {name: FaultDevice(log) for name, log in self.logs.items()}
        self.other = WritableSnapshot(self.faults["origin"], PersistentStore(open_store(self.faults["other"])))
        self.others = OriginSnapshots()
        self.others.add(self.other.exceptions, SIZE)
        self.store = PersistentStore(open_store(self.faults["cow"]))
        self.merge = MergeDevice(self.faults["origin"], self.store, others=self.others)
        self.merged = bytearray(self.merge.read_at(0, SIZE))
        for log in self.logs.values():
            log.events.clear()

    def write(self, seed: int) -> None:
        """Writes to the merged view, everywhere, and flushes."""
        rng = random.Random(seed)
        for _ in range(12):
            at = rng.randrange(CHUNKS) * CHUNK
            data = rng.randbytes(min(SIZE - at, rng.randrange(1, 5) * CHUNK))
            self.merge.write_at(at, data)
            self.merged[at : at + len(data)] = data
        self.merge.flush()

    def judge(self) -> None:
        """Everything reads as it should, here and for a new process."""
        assert self.merge.read_at(0, SIZE) == self.merged
        with SnapshotDevice(self.disk, open_store(self.cow)) as found:
            assert found.read_at(0, SIZE) == self.merged
        if self.other.exceptions.valid:
            assert self.other.read_at(0, SIZE) == self.old
            with SnapshotDevice(self.disk, open_store(self.other_cow)) as found:
                assert found.read_at(0, SIZE) == self.old
        else:
            assert not open_store(self.other_cow).valid

    def finish(self) -> None:
        while self.merge.step(STEP_CHUNKS * CHUNK).chunks:
            pass
        self.judge()
        assert self.disk.read_at(0, SIZE) == self.merged
        store = open_store(self.cow)
        assert (store.areas, store.committed) == (1, 0)


def requests():
    """Every request of a merge: on which device, and what fails it."""
    scene = Scene()
    assert run_into(scene) is None
    kinds = {"start_read": "read", "write_durably": "write"}
    for name, log in scene.logs.items():
        flushes = 0
        for event in dict.fromkeys(event for event in log.events if event.op != "flush"):
            op = kinds.get(event.op, event.op)
            yield name, op, fail_range(event.offset, event.length, op), event.offset
        for event in log.events:
            if event.op == "flush":
                flushes += 1
                yield name, "flush", fail_nth("flush", flushes), 0


def words(name: str, op: str, offset: int) -> str:
    """What the kernel says."""
    metadata = name == "cow" and (offset // CHUNK) % (PER_AREA + 1) == 1
    if name == "cow" and (metadata or op == "flush"):
        return f"{'Read' if op == 'read' else 'Write'} error in exception store: shutting down merge"
    if op == "flush":
        return "Flush after merge failed: shutting down merge"
    return f"{'Read' if op == 'read' else 'Write'} error: shutting down merge"


def run_into(scene: Scene) -> MergeFailed | None:
    """Merges until an error; returns it."""
    try:
        while scene.merge.step(STEP_CHUNKS * CHUNK).chunks:
            pass
    except MergeFailed as error:
        return error
    return None


ALL = list(requests())


def test_a_merge_asks_many_things_of_each_device():
    assert {(name, op) for name, op, _, _ in ALL} >= {
        ("origin", "read"),
        ("origin", "write"),
        ("origin", "flush"),
        ("cow", "read"),
        ("cow", "write"),
        ("cow", "flush"),
        ("other", "write"),
        ("other", "flush"),
    }


@pytest.mark.parametrize("meanwhile", [False, True])
@pytest.mark.parametrize("device", ["origin", "cow", "other"])
def test_a_merge_that_ran_into_an_error_goes_on_when_it_is_mended(device, meanwhile):
    failed = 0
    for name, op, fault, offset in ALL:
        if name != device:
            continue
        print(name, op, offset)
        scene = Scene()
        scene.faults[name].faults.append(fault)
        error = run_into(scene)
        scene.faults[name].faults.clear()
        if error is not None:
            failed += 1
            assert words(name, op, offset) in error.message
            assert str(scene.merge.status()) == "Merge failed"
        scene.judge()
        if meanwhile:
            scene.write(7)
            scene.judge()
        if name == "other" or (name == "origin" and op == "read"):
            assert error is None
            assert not scene.other.exceptions.valid
        else:
            assert scene.other.exceptions.valid
        scene.finish()
    assert failed > 10 or device == "other"


@pytest.mark.parametrize("op", ["write", "flush"])
def test_records_that_cannot_be_cleared_nor_put_back_are_never_merged_as_zeros(op):
    scene = Scene()
    fault = fail_nth(op)
    scene.faults["cow"].faults.append(fault)
    header = bytes(scene.cow.read_at(0, CHUNK))
    for _ in range(3):
        with pytest.raises(MergeFailed):
            scene.merge.step(STEP_CHUNKS * CHUNK)
        assert scene.disk.read_at(0, CHUNK) != header
    scene.faults["cow"].faults.clear()
    with SnapshotDevice(scene.disk, open_store(scene.cow)) as found:
        assert found.read_at(0, SIZE) == scene.merged
    scene.finish()


def test_a_merge_that_failed_keeps_its_status_and_serves_reads_and_writes():
    scene = Scene()
    scene.faults["origin"].faults.append(fail_nth("flush", 1))
    with pytest.raises(MergeFailed):
        scene.merge.step(STEP_CHUNKS * CHUNK)
    scene.write(3)
    scene.finish()
    assert str(scene.merge.status()) == "Merge failed"


def test_a_client_of_a_merge_hears_of_its_own_errors_alone():
    scene = Scene()
    scene.faults["cow"].faults.append(fail_nth("write", 1))
    with pytest.raises(IOFailed):
        scene.merge.write_at(3 * CHUNK, bytes(CHUNK))
    scene.faults["other"].faults.append(fail_nth("write"))
    scene.merge.write_at(20 * CHUNK, bytes(CHUNK))
    scene.merged[20 * CHUNK : 21 * CHUNK] = bytes(CHUNK)
    assert not scene.other.exceptions.valid
    scene.faults["other"].faults.clear()
    scene.finish()
