"""A merge, step by step: what is copied, in what order, and what is left."""

import io
import random

import pytest
from writing_devices import in_use, make_snapshot, make_store

from dmsnap.block import BlockDevice, Completion, IOFailed, MemoryDevice, OutOfRoom
from dmsnap.block.wrap import FaultDevice, LogDevice
from dmsnap.block.wrap.fault import fail_nth, fail_range
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.store import open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.merging import MergeDevice, MergeFailed, MergeStep
from dmsnap.target.snapshot import SnapshotDevice, SnapshotInvalid
from dmsnap.testing.store_builder import build_store, in_allocation_order

CHUNK = 512
CHUNKS = 90
SIZE = CHUNKS * CHUNK
PER_AREA = 32


def content_of(origin_chunk: int, cow_chunk: int) -> bytes:
    return bytes([origin_chunk % 251, cow_chunk % 251]) * (CHUNK // 2)


def merging(records, *, size: int = SIZE, origin=None, cow=None, **options) -> MergeDevice:
    """A merge of a store with these records; both devices are logged."""
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=1, data=content_of)
    disk = LogDevice(MemoryDevice(random.Random(size).randbytes(size)) if origin is None else origin)
    store = LogDevice(MemoryDevice(out.getvalue(), name="cow") if cow is None else cow(MemoryDevice(out.getvalue())))
    device = MergeDevice(disk, PersistentStore(open_store(store)), **options)
    store.events.clear()
    return device


def in_turn(chunks):
    return in_allocation_order(chunks, 1)


def written(device: MergeDevice) -> list[tuple[int, int]]:
    """The chunks written to the origin, in order: the first of each write and how many."""
    return [(offset // CHUNK, length // CHUNK) for offset, length in device.origin.ranges("write")]


# -- order ------------------------------------------------------------------------------------------------------------


def test_runs_are_merged_from_the_last_to_the_first():
    device = merging(in_turn([3, 4, 5, 20, 9, 10, 8]))
    assert device.step(1 << 20) == MergeStep(7, 7 * CHUNK)
    assert written(device) == [(8, 1), (9, 2), (20, 1), (3, 3)]


def test_what_does_not_lie_together_in_the_store_is_no_run():
    device = merging([(3, 2), (4, 4), (5, 5)])
    device.step(1 << 20)
    assert written(device) == [(4, 2), (3, 1)]


def test_a_run_ends_with_its_area():
    device = merging(in_turn(range(40)))
    device.step(1 << 20)
    assert written(device) == [(32, 8), (0, 32)]


def test_what_is_copied_is_durable_before_its_record_is_cleared():
    device = merging(in_turn([3, 4]))
    device.origin.device = Noting(device.origin.device, notes := [], "origin")
    device.store.device.device = Noting(device.store.device.device, notes, "cow")
    device.step()
    changes = [note for note in notes if note[1] != "read"]
    assert changes == [("origin", "write"), ("origin", "flush"), ("cow", "write"), ("cow", "flush")]


@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("in_order", [True, False])
def test_a_step_is_no_larger_than_asked_for_but_in_order_never_cuts_a_run(most, in_order):
    device = merging(in_turn([3, 4, 5, 20, 9, 10, 8, 60]))
    longest = 3 if in_order else 1
    steps = []
    while step := device.step(most * CHUNK, in_order=in_order):
        if not step.chunks:
            break
        assert step.chunks <= max(most, longest)
        steps.append(step.chunks)
    assert sum(steps) == 8
    if in_order and most == 1:
        assert steps == [1, 1, 2, 1, 3]


def test_an_origin_order_writes_upwards():
    device = merging(in_turn([30, 4, 50, 2]))
    device.step(1 << 20, in_order=False)
    assert written(device) == [(2, 1), (4, 1), (30, 1), (50, 1)]


class Noting(Wrapper):
    """Adds to notes that others add to as well."""

    def __init__(self, device: BlockDevice, notes: list, name: str) -> None:
        super().__init__(device)
        self._notes, self._called = notes, name

    def _write_at(self, offset, view):
        self._notes.append((self._called, "write"))
        super()._write_at(offset, view)

    def _flush(self):
        self._notes.append((self._called, "flush"))
        super()._flush()


# -- what there may be in a store -------------------------------------------------------------------------------------


def test_an_empty_store_is_merged_already():
    device = merging([])
    assert device.step() == MergeStep(0, 0)
    assert not device.origin.events


def test_a_merged_store_is_empty_and_its_status_says_so():
    device = merging(in_turn(range(70)))
    while device.step(10 * CHUNK).chunks:
        pass
    store = open_store(device.store.device)
    assert (len(store.table), store.areas, store.committed) == (0, 1, 0)
    assert device.status().allocated_sectors == device.status().metadata_sectors == 2
    assert device.status().usage_percent == 0


def test_of_the_last_chunk_only_what_the_origin_has_is_copied():
    out = io.BytesIO()
    build_store(out, in_allocation_order([10, 11], 8), data=lambda *_: b"\xaa" * 4096)
    disk = MemoryDevice(bytes(11 * 4096 + 1024))
    device = MergeDevice(disk, PersistentStore(open_store(MemoryDevice(out.getvalue()))))
    assert device.step() == MergeStep(2, 4096 + 1024)
    assert disk.read_at(0, disk.size_bytes) == bytes(10 * 4096) + b"\xaa" * (4096 + 1024)


def test_records_beyond_the_origin_are_cleared():
    device = merging(in_turn([3, 500, CHUNKS, 7]))
    assert device.step() == MergeStep(4, 2 * CHUNK)
    assert len(open_store(device.store.device).table) == 0


@pytest.mark.parametrize("most", [1, 2, 100])
def test_of_two_records_for_a_chunk_the_one_counts_that_was_read_before(most):
    records = [*in_turn([5, 6, 7, 8]).tolist(), (6, 6), (9, 7), (6, 8)]
    device = merging(records)
    before = device.read_at(0, SIZE)
    cleared = 0
    while step := device.step(most * CHUNK).chunks:
        cleared += step
        assert device.read_at(0, SIZE) == before
    assert cleared == 7
    assert device.origin.read_at(0, SIZE) == before
    assert len(device.store.table) == 0


def test_an_invalid_snapshot_has_nothing_to_merge():
    store = make_store(MemoryDevice(1 << 20))
    store.drop()
    device = MergeDevice(MemoryDevice(SIZE), store)
    assert str(device.status()) == "Invalid"
    with pytest.raises(SnapshotInvalid):
        device.step()
    device.write_at(0, b"\x01" * CHUNK)
    assert device.origin.read_at(0, CHUNK) == b"\x01" * CHUNK


@pytest.mark.parametrize("chunk_sectors", [1, 8, 4096])
def test_a_snapshot_of_any_chunk_size_goes_back_into_its_origin(chunk_sectors):
    rng = random.Random(chunk_sectors)
    disk = MemoryDevice(rng.randbytes(5 << 20))
    snapshot = make_snapshot(disk, 20 << 20, chunk_sectors=chunk_sectors)
    for _ in range(100):
        snapshot.write_at(rng.randrange(8000) * 512, rng.randbytes(rng.randrange(1, 40) * 512))
    snapshot.flush()
    wanted = snapshot.read_at(0, disk.size_bytes)
    device = MergeDevice(disk, snapshot.store)
    while device.step(100_000).chunks:
        assert device.read_at(0, disk.size_bytes) == wanted
    assert disk.read_at(0, disk.size_bytes) == wanted


# -- other snapshots --------------------------------------------------------------------------------------------------


def test_other_snapshots_keep_what_they_show():
    disk = MemoryDevice(random.Random(1).randbytes(SIZE))
    old = disk.read_at(0, SIZE)
    others = [make_snapshot(disk, chunk_sectors=chunk, kind=kind) for chunk, kind in ((1, "P"), (8, "N"))]
    device = merging(in_turn(range(3, 50, 2)), origin=disk, others=in_use(disk, *others).snapshots)
    device.write_at(0, b"\x01" * CHUNK)
    while device.step(9 * CHUNK).chunks:
        assert [other.read_at(0, SIZE) for other in others] == [old, old]


def test_a_host_without_room_for_their_copies_stops_the_merge_and_loses_nothing():
    class Full(FaultDevice):
        def _refused(self, op, offset, length):
            return super()._refused(op, offset, length) and OutOfRoom("no room")

    disk = MemoryDevice(random.Random(1).randbytes(SIZE))
    other = make_snapshot(disk)
    full = Full(MemoryDevice(1 << 20))
    other = type(other)(disk, make_store(full))
    device = merging(in_turn([3, 4]), origin=disk, others=in_use(disk, other).snapshots)
    full.faults.append(fail_nth("write"))
    with pytest.raises(OutOfRoom):
        device.step()
    assert not device.failed
    assert not written(device)
    full.faults.clear()
    assert device.step().chunks == 2
    assert other.exceptions.valid


# -- errors -----------------------------------------------------------------------------------------------------------


def test_what_comes_before_an_error_is_merged():
    device = merging(in_turn([3, 20, 9, 50]), cow=FaultDevice)
    device.store.device.device.faults.append(fail_range(3 * CHUNK, CHUNK, "read"))
    with pytest.raises(MergeFailed, match="Read error: shutting down merge"):
        device.step()
    assert [device.store.table.lookup(chunk) for chunk in (3, 20, 9, 50)] == [2, 3, None, None]
    device.store.device.device.faults.clear()
    assert len(open_store(device.store.device).table) == 2


class ToldOnce(Wrapper):
    """Loses what was written before a flush that fails, of which it tells once, as Linux does."""

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.failing, self.volatile = False, []

    def _write_at(self, offset, view):
        self.volatile.append((offset, bytes(view)))

    def _flush(self):
        writes, self.volatile = self.volatile, []
        if self.failing:
            self.failing = False
            raise IOFailed("lost")
        for offset, data in writes:
            self.device.write_at(offset, data)


@pytest.mark.parametrize("in_order", [True, False])
def test_copies_that_a_clients_flush_has_lost_stay_in_the_store(in_order, monkeypatch):
    origin = ToldOnce(MemoryDevice(bytes(SIZE)))
    device = merging(in_turn([3, 20]), origin=origin)
    clear = MergeDevice._clear

    def clear_after_a_clients_flush(self, merged):
        origin.failing = True
        with pytest.raises(IOFailed, match="lost"):
            self.flush()
        clear(self, merged)

    monkeypatch.setattr(MergeDevice, "_clear", clear_after_a_clients_flush)
    with pytest.raises(MergeFailed, match="another flush of the origin has failed"):
        device.step(in_order=in_order)
    assert len(open_store(device.store.device).table) == 2
    monkeypatch.undo()
    assert device.step(in_order=in_order).chunks == 2
    assert origin.device.read_at(20 * CHUNK, CHUNK) == content_of(20, 3)


def test_a_passing_error_of_one_read_is_got_over():
    device = merging(in_turn([3, 20]), cow=FaultDevice)
    errors = iter([True])
    device.store.device.device.faults.append(lambda request: request.offset >= 2 * CHUNK and next(errors, False))
    assert device.step().chunks == 2
    assert not device.failed
    assert next(errors, None) is None


def test_a_late_read_of_a_step_that_failed_does_no_harm():
    """Reads that are under way when another has failed still fill memory, which the next step must not share."""

    class Late(Wrapper):
        def __init__(self, device: BlockDevice) -> None:
            super().__init__(device)
            self.fail, self.late = False, []

        def _start_reads(self, requests):
            if not self.fail or requests[0][0] == CHUNK:
                return super()._start_reads(requests)
            completions = []
            for _, view in requests:
                if not completions:
                    completions.append(Completion.failed(IOFailed("now")))
                    continue
                completions.append(Arriving(self, view))
                self.late.append(completions[-1])
            return completions

    class Arriving(Completion):
        """Arrives when it is waited for."""

        def __init__(self, device: Late, view: memoryview) -> None:
            super().__init__()
            self.device, self.view = device, view

        def wait(self) -> None:
            self.device.late.remove(self)
            self.view[:] = b"\xee" * len(self.view)
            self.finish(None)

    device = merging([(3, 2), (20, 5), (9, 9), (50, 14), (70, 17), (1, 20)], cow=Late)
    wanted = device.read_at(0, SIZE)
    late = device.store.device.device
    late.fail = True
    step = device.step(3 * CHUNK).chunks
    assert step
    assert not late.late
    late.fail = False
    while device.step().chunks:
        pass
    assert device.origin.read_at(0, SIZE) == wanted


def test_a_write_beside_the_copies_goes_to_the_origin_and_over_them_to_the_store():
    device = merging(in_turn([3, 4]))
    device.write_at(2 * CHUNK, b"\x01" * 4 * CHUNK)
    assert written(device) == [(2, 1), (5, 1)]
    assert device.read_at(2 * CHUNK, 4 * CHUNK) == b"\x01" * 4 * CHUNK
    with SnapshotDevice(device.origin, open_store(device.store.device)) as found:
        assert found.read_at(2 * CHUNK, 4 * CHUNK) == b"\x01" * 4 * CHUNK


def test_a_flush_flushes_both_and_a_discard_does_nothing():
    device = merging(in_turn([3]))
    device.flush()
    assert [event.op for event in device.origin.events] == ["flush"]
    assert [event.op for event in device.store.device.events] == ["flush"]
    device.discard(0, SIZE)
    assert len(device.origin.events) == 1
