"""Who waits for whom, and who does not: threads held up at gates, one at a time."""

import pytest
from writing_devices import Background, GateDevice, in_use, loaded_again, make_snapshot, make_store

from dmsnap.block import IOFailed, MemoryDevice, OutOfRoom
from dmsnap.block.wrap import FaultDevice, LogDevice
from dmsnap.block.wrap.fault import fail_nth
from dmsnap.store import open_store
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginSnapshots
from dmsnap.target.writable_snapshot import WritableSnapshot

pytestmark = pytest.mark.timeout(60)

CHUNK = 4096
OLD = bytes([7]) * (16 * CHUNK)
NEW = bytes([9]) * CHUNK
DATA_0, DATA_1, DATA_2 = (2 * CHUNK, CHUNK), (3 * CHUNK, CHUNK), (4 * CHUNK, CHUNK)
"""Where the first copies lie on the COW device."""


class Scene:
    """An origin with a snapshot, on devices with gates."""

    def __init__(self, **options) -> None:
        self.disk = GateDevice(MemoryDevice(OLD, name="origin"))
        self.fault = FaultDevice(MemoryDevice(1 << 20, name="cow"))
        self.cow = GateDevice(self.fault)
        self.snapshot = WritableSnapshot(self.disk, make_store(self.cow), **options)
        self.origin = in_use(self.disk, self.snapshot)

    def read(self, chunk: int) -> bytes:
        return bytes(self.snapshot.read_at(chunk * CHUNK, CHUNK))


@pytest.fixture(params=["flush", "commit"])
def scene(request):
    return Scene(sync=request.param)


# -- reads and overwriting --------------------------------------------------------------------------------------------


def test_a_slow_read_of_the_snapshot_gets_the_old_content_of_a_chunk_that_is_overwritten(scene):
    gate = scene.disk.shut("read", 0, 512)
    read = Background(scene.snapshot.read_at, 0, 512)
    scene.disk.wait_for_one()
    write = Background(scene.origin.write_at, CHUNK - 512, NEW[:512])
    while scene.snapshot.store.table.lookup(0) is None:
        assert write.running
    assert bytes(scene.disk.device.read_at(0, CHUNK)) == OLD[:CHUNK]
    assert write.running, "nothing may be overwritten that is being read"
    gate.set()
    assert read.result() == OLD[:512]
    write.result()
    assert scene.read(0) == OLD[:CHUNK]


def test_a_started_read_gets_the_old_content_too(scene):
    gate = scene.disk.shut("read", 0, 512)
    memory = memoryview(bytearray(2 * CHUNK))
    started = Background(lambda: scene.snapshot.start_reads([(0, memory)])[0].wait())
    scene.disk.wait_for_one()
    write = Background(scene.origin.write_at, 0, NEW)
    while scene.snapshot.store.table.lookup(0) is None:
        assert write.running
    gate.set()
    started.result()
    write.result()
    assert memory == OLD[: 2 * CHUNK]


def test_reads_of_other_chunks_are_not_waited_for(scene):
    gate = scene.disk.shut("read", 8 * CHUNK, CHUNK)
    read = Background(scene.snapshot.read_at, 8 * CHUNK, CHUNK)
    scene.disk.wait_for_one()
    scene.origin.write_at(0, NEW)
    gate.set()
    assert read.result() == OLD[:CHUNK]


def test_a_chunk_reads_from_the_origin_while_its_copy_is_being_written(scene):
    gate = scene.cow.shut("write", *DATA_0)
    write = Background(scene.origin.write_at, 0, NEW)
    scene.cow.wait_for_one()
    assert scene.read(0) == OLD[:CHUNK]
    gate.set()
    write.result()
    assert scene.read(0) == OLD[:CHUNK]


# -- one chunk, two writers -------------------------------------------------------------------------------------------


def test_who_writes_to_the_origin_waits_for_the_copy_that_another_makes(scene):
    gate = scene.cow.shut("write", *DATA_0)
    writes = [Background(scene.origin.write_at, 0, NEW)]
    scene.cow.wait_for_one()
    writes.append(Background(scene.origin.write_at, 512, NEW[:512]))
    assert bytes(scene.disk.device.read_at(0, CHUNK)) == OLD[:CHUNK]
    gate.set()
    for write in writes:
        write.result()
    assert len(scene.snapshot.store.table) == 1
    assert scene.read(0) == OLD[:CHUNK]


def test_who_writes_to_the_origin_waits_for_a_write_to_the_snapshot(scene):
    gate = scene.cow.shut("write", *DATA_0)
    first = Background(scene.snapshot.write_at, 512, NEW[:512])
    scene.cow.wait_for_one()
    second = Background(scene.origin.write_at, 0, NEW)
    gate.set()
    first.result()
    second.result()
    assert scene.read(0) == OLD[:512] + NEW[:512] + OLD[1024:CHUNK]


def test_two_parts_of_a_chunk_are_both_there(scene):
    gate = scene.disk.shut("read", 0, CHUNK)
    first = Background(scene.snapshot.write_at, 0, NEW[:512])
    scene.disk.wait_for_one()
    second = Background(scene.snapshot.write_at, 1024, NEW[:512])
    gate.set()
    first.result()
    second.result()
    assert scene.read(0) == NEW[:512] + OLD[512:1024] + NEW[:512] + OLD[1536:CHUNK]


def test_writes_to_other_chunks_do_not_wait(scene):
    gate = scene.cow.shut("write", *DATA_0)
    slow = Background(scene.snapshot.write_at, 0, NEW)
    scene.cow.wait_for_one()
    quick = Background(scene.snapshot.write_at, 5 * CHUNK, NEW)
    if scene.snapshot.exceptions.sync == "flush":
        quick.result()
    gate.set()
    quick.result()
    slow.result()
    scene.snapshot.flush()
    assert loaded_again(scene.snapshot).read_at(0, CHUNK) == NEW


def test_who_waits_for_a_chunk_whose_copy_fails_is_woken(scene):
    gate = scene.cow.shut("write", *DATA_0)
    first = Background(scene.snapshot.write_at, 0, NEW)
    scene.cow.wait_for_one()
    others = [
        Background(scene.snapshot.write_at, 512, NEW[:512]),
        Background(scene.origin.write_at, 0, NEW),
    ]
    scene.fault.faults.append(lambda request: request.op == "write" and request.offset >= 2 * CHUNK)
    gate.set()
    for write in (first, others[0]):
        with pytest.raises(IOFailed):
            write.result()
    others[1].result()
    assert str(scene.snapshot.status()) == "Invalid"
    assert not open_store(scene.fault.device).valid


def test_who_waits_for_a_chunk_that_the_host_has_no_room_for_takes_its_place(scene):
    class NoRoomOnce(FaultDevice):
        def _refused(self, op, offset, length):
            refused = super()._refused(op, offset, length)
            return refused and OutOfRoom("no room")

    scene.fault.__class__ = NoRoomOnce
    scene.fault.faults.append(fail_nth("write", scene.fault._numbers["write"] + 1))
    gate = scene.cow.shut("write", *DATA_0)
    first = Background(scene.snapshot.write_at, 0, NEW)
    scene.cow.wait_for_one()
    second = Background(scene.snapshot.write_at, 512, NEW[:512])
    gate.set()
    with pytest.raises(OutOfRoom):
        first.result()
    second.result()
    assert scene.read(0) == OLD[:512] + NEW[:512] + OLD[1024:CHUNK]
    scene.snapshot.flush()
    assert str(loaded_again(scene.snapshot).status()) == str(scene.snapshot.status())


# -- commits ----------------------------------------------------------------------------------------------------------


def test_records_are_written_in_the_order_of_allocation(scene):
    gate = scene.cow.shut("write", *DATA_0)
    first = Background(scene.snapshot.write_at, 0, NEW)
    scene.cow.wait_for_one()
    second = Background(scene.snapshot.write_at, CHUNK, NEW)
    while scene.snapshot.store.table.lookup(1) is None:
        assert second.running or scene.snapshot.exceptions.sync == "flush"
    flush = Background(scene.snapshot.flush)
    assert len(open_store(scene.fault.device).table) == 0
    gate.set()
    for each in (first, second, flush):
        each.result()
    store = open_store(scene.fault.device)
    assert [store.table.lookup(chunk) for chunk in (0, 1)] == [2, 3]


def test_a_flush_does_not_wait_for_writes_that_came_after_it():
    """Else a snapshot that is always being written to would never be flushed."""
    scene = Scene()
    gates = [scene.cow.shut("write", *place) for place in (DATA_0, DATA_2)]
    first = Background(scene.snapshot.write_at, 0, NEW)
    scene.cow.wait_for_one()
    scene.snapshot.write_at(CHUNK, NEW)  # complete, but not in its turn
    flush = Background(scene.snapshot.flush)
    third = Background(scene.snapshot.write_at, 2 * CHUNK, NEW)
    scene.cow.wait_for_one()
    scene.snapshot.write_at(3 * CHUNK, NEW)  # complete behind the third: that is always so under load
    gates[0].set()
    first.result()
    flush.result()
    assert third.running
    gates[1].set()
    third.result()
    assert len(open_store(scene.fault.device).table) >= 2


def test_what_completes_during_a_flush_is_not_taken_for_durable():
    scene = Scene()
    scene.snapshot.write_at(0, NEW)
    gate = scene.cow.shut("flush")
    flush = Background(scene.snapshot.flush)
    scene.cow.wait_for_one()
    scene.snapshot.write_at(CHUNK, NEW)
    gate.set()
    flush.result()
    assert len(open_store(scene.fault.device).table) == 1
    scene.origin.write_at(CHUNK, NEW)
    assert len(open_store(scene.fault.device).table) == 2


def test_threads_that_commit_at_once_share_their_flushes():
    scene = Scene(sync="commit")
    log = LogDevice(scene.fault.device)
    scene.fault.device = log
    gate = scene.cow.shut("flush")
    first = Background(scene.snapshot.write_at, 0, NEW)
    scene.cow.wait_for_one()
    writes = [Background(scene.snapshot.write_at, chunk * CHUNK, NEW) for chunk in range(1, 9)]
    while len(scene.snapshot.store.table) < 9:
        assert first.running
    gate.set()
    for write in (first, *writes):
        write.result()
    assert sum(event.op == "flush" for event in log.events) <= 6
    assert len(open_store(log).table) == 9


def test_an_origin_chunk_is_overwritten_only_when_its_record_is_durable(scene):
    gate = scene.cow.shut("write", CHUNK, CHUNK)
    write = Background(scene.origin.write_at, 0, NEW)
    scene.cow.wait_for_one()
    assert bytes(scene.disk.device.read_at(0, CHUNK)) == OLD[:CHUNK]
    gate.set()
    write.result()
    assert bytes(scene.disk.device.read_at(0, CHUNK)) == NEW


def test_what_was_written_to_the_snapshot_is_durable_before_the_origin_is_overwritten():
    scene = Scene()
    scene.snapshot.write_at(0, NEW)
    assert len(open_store(scene.fault.device).table) == 0
    scene.origin.write_at(0, NEW)
    assert len(open_store(scene.fault.device).table) == 1


def test_a_durable_write_to_the_origin_is_copied_out_before(scene):
    scene.origin.write_at(0, NEW, fua=True)
    assert scene.read(0) == OLD[:CHUNK]
    assert bytes(scene.disk.read_at(0, CHUNK)) == NEW


# -- the end of a snapshot --------------------------------------------------------------------------------------------


def test_nobody_overwrites_the_origin_before_the_store_is_marked_invalid(scene):
    scene.fault.faults.append(lambda request: request.op == "write" and request.offset >= 2 * CHUNK)
    gate = scene.cow.shut("write", 0, 512)
    first = Background(scene.origin.write_at, 0, NEW)
    scene.cow.wait_for_one()
    second = Background(scene.origin.write_at, 5 * CHUNK, NEW)
    with pytest.raises(IOFailed):
        scene.read(5)
    assert open_store(scene.fault.device).valid
    assert bytes(scene.disk.device.read_at(5 * CHUNK, CHUNK)) == OLD[:CHUNK]
    assert second.running
    gate.set()
    first.result()
    second.result()
    assert not open_store(scene.fault.device).valid


def test_a_mark_that_could_not_be_written_is_tried_again_before_more_is_overwritten(scene):
    count = scene.fault._numbers["write"]
    scene.fault.faults.append(fail_nth("write", *range(count + 1, count + 4)))
    scene.origin.write_at(0, NEW)
    assert open_store(scene.fault.device).valid
    scene.origin.write_at(CHUNK, NEW)
    assert not open_store(scene.fault.device).valid


def test_a_snapshot_tells_once_that_it_is_lost(scene):
    heard = []
    scene.snapshot.exceptions.on_invalid.append(lambda: heard.append(str(scene.snapshot.status())))
    scene.fault.faults.append(fail_nth("write"))
    for chunk in range(3):
        scene.origin.write_at(chunk * CHUNK, NEW)
    assert heard == ["Invalid"]


# -- merging ----------------------------------------------------------------------------------------------------------


def merge_of(scene: Scene) -> MergeDevice:
    scene.snapshot.write_at(0, NEW + NEW)
    scene.snapshot.flush()
    return MergeDevice(scene.disk, scene.snapshot.store)


def test_a_write_to_a_chunk_that_is_being_merged_waits_and_goes_to_the_origin(scene):
    merge = merge_of(scene)
    gate = scene.disk.shut("write", 0, 2 * CHUNK)
    step = Background(merge.step)
    scene.disk.wait_for_one()
    write = Background(merge.write_at, 512, OLD[:512])
    merge.write_at(5 * CHUNK, NEW)
    assert merge.read_at(0, CHUNK) == NEW
    assert write.running
    gate.set()
    assert step.result().chunks == 2
    write.result()
    assert scene.disk.read_at(0, CHUNK) == NEW[:512] + OLD[:512] + NEW[1024:]


def test_a_merge_waits_for_a_write_that_is_on_its_way_to_the_store(scene):
    merge = merge_of(scene)
    gate = scene.cow.shut("write", *DATA_1)
    write = Background(merge.write_at, CHUNK, OLD[:CHUNK])
    scene.cow.wait_for_one()
    step = Background(merge.step)
    while not merge._merging:
        assert step.running
    assert step.running
    gate.set()
    write.result()
    step.result()
    assert scene.disk.read_at(0, 2 * CHUNK) == NEW + OLD[:CHUNK]


def test_other_snapshots_have_the_old_content_before_a_merge_overwrites_it(scene):
    other = make_snapshot(scene.disk)
    merge = merge_of(scene)
    merge._others = OriginSnapshots()
    merge._others.add(other.exceptions, other.size_bytes)
    gate = scene.disk.shut("read", 0, CHUNK)
    read = Background(other.read_at, 0, CHUNK)
    scene.disk.wait_for_one()
    step = Background(merge.step)
    assert bytes(scene.disk.device.read_at(0, CHUNK)) == OLD[:CHUNK]
    gate.set()
    assert read.result() == OLD[:CHUNK]
    step.result()
    assert other.read_at(0, 2 * CHUNK) == OLD[: 2 * CHUNK]
