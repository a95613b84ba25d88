"""One origin with up to three snapshots of it, under random requests, against the plain model of all of it."""

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dmsnap.block import IOFailed, MemoryDevice
from dmsnap.store import create_store, open_store
from dmsnap.store.transient import TransientStore
from dmsnap.store.writable import PersistentStore
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.writable_snapshot import WritableSnapshot
from dmsnap.testing.snapshot_model import ModelOrigin, ModelSnapshot
from dmsnap.testing.store_builder import data_chunks
from dmsnap.testing.store_model import model_store

SECTORS = 90
SIZE = SECTORS * 512

ranges = st.tuples(st.integers(0, SECTORS), st.integers(0, SECTORS)).map(sorted).filter(lambda ends: ends[0] < ends[1])
kinds = st.sampled_from(["P", "P", "PO", "N"])
chunk_sectors = st.sampled_from([1, 1, 2, 8])
cow_chunks = st.one_of(st.integers(3, 120), st.sampled_from([34, 35, 66, 67, 68, 100]))


def filling(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


class Snapshot:
    """A snapshot in use, and what it should be."""

    def __init__(self, origin: MemoryDevice, model: ModelSnapshot, cow: MemoryDevice, options: dict) -> None:
        self.model, self.cow, self.options = model, cow, options
        self.load(origin)

    def load(self, origin: MemoryDevice) -> None:
        spare, sync, zeroes = self.options["spare"], self.options["sync"], self.options["zeroes"]
        if self.model.kind == "N":
            store = TransientStore(self.cow, self.model.chunk_bytes // 512)
        else:
            store = PersistentStore(open_store(self.cow), overflow=self.model.kind == "PO", spare_last_slot=spare)
        self.store = store
        self.device = WritableSnapshot(origin, store, sync=sync, discard_zeroes_cow=zeroes)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        content = filling(0, SIZE)
        self.disk = MemoryDevice(content, name="origin")
        self.model = ModelOrigin(content)
        self.in_use = OriginSnapshots()
        self.origin = OriginDevice(self.disk, self.in_use)
        self.snapshots: list[Snapshot] = []
        self.merging: Snapshot | None = None
        self.merge: MergeDevice | None = None

    # -- a snapshot comes and goes ------------------------------------------------------------------------------------

    @initialize()
    def first(self) -> None:
        self.add("P", 1, 70, spare=False, sync="flush", zeroes=False)

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule(
        kind=kinds,
        chunk=chunk_sectors,
        cow=cow_chunks,
        spare=st.booleans(),
        sync=st.sampled_from(["flush", "commit"]),
        zeroes=st.booleans(),
    )
    def take(self, kind: str, chunk: int, cow: int, spare: bool, sync: str, zeroes: bool) -> None:
        self.add(kind, chunk, cow, spare=spare, sync=sync, zeroes=zeroes)

    def add(self, kind: str, chunk: int, cow_chunks: int, **options: object) -> None:
        cow = MemoryDevice(filling(1, cow_chunks * chunk * 512 + 512 * (chunk > 1)), name="cow")
        if kind != "N":
            create_store(cow, chunk)
        size = min(SECTORS // chunk * chunk * 512, SIZE) if chunk == 8 else SIZE
        content = bytes(self.model.content[:size])
        model = ModelSnapshot(content, kind, chunk * 512, cow.size_bytes, spare_last_slot=bool(options["spare"]))
        if self.merge is not None:
            return  # the origin that a new snapshot sees is the merged view, which is no device of its own here
        self.use(Snapshot(self.disk, model, cow, options))

    def use(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self.model.snapshots.append(snapshot.model)
        self.in_use.add(snapshot.device.exceptions, len(snapshot.model.content))

    def leave(self, snapshot: Snapshot) -> None:
        self.in_use.remove(snapshot.device.exceptions)
        self.snapshots.remove(snapshot)
        self.model.snapshots.remove(snapshot.model)
        snapshot.device.close()

    @precondition(lambda self: any(each.model.kind != "N" for each in self.snapshots))
    @rule(data=st.data(), overflow=st.booleans())
    def reload(self, data: st.DataObject, overflow: bool) -> None:
        snapshot = data.draw(st.sampled_from([each for each in self.snapshots if each.model.kind != "N"]))
        self.leave(snapshot)
        snapshot.model.kind = "PO" if overflow else "P"
        snapshot.model.overflowed = False
        snapshot.load(self.disk)
        self.use(snapshot)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), chunks=st.integers(1, 40))
    def grow(self, data: st.DataObject, chunks: int) -> None:
        snapshot = data.draw(st.sampled_from(self.snapshots))
        snapshot.model.cow_bytes += chunks * 512
        snapshot.cow.grow(snapshot.model.cow_bytes)

    # -- requests -----------------------------------------------------------------------------------------------------

    @rule(ends=ranges, seed=st.integers(0, 99), how=st.sampled_from(["write", "fua", "zero"]))
    def write_origin(self, ends: list[int], seed: int, how: str) -> None:
        offset, length = ends[0] * 512, (ends[1] - ends[0]) * 512
        data = bytes(length) if how == "zero" else filling(seed, length)
        if self.merge is None:
            self.request(self.origin, offset, data, how)
            self.model.write(offset, data)
        else:
            self.request(self.merge, offset, data, how)
            self.model.write_merging(self.merging.model, offset, data)

    @precondition(lambda self: self.snapshots)
    @rule(
        data=st.data(), ends=ranges, seed=st.integers(0, 99), how=st.sampled_from(["write", "fua", "zero", "discard"])
    )
    def write_snapshot(self, data: st.DataObject, ends: list[int], seed: int, how: str) -> None:
        snapshot = data.draw(st.sampled_from(self.snapshots))
        offset = ends[0] * 512
        length = min(ends[1] * 512, len(snapshot.model.content)) - offset
        if length <= 0:
            return
        if how == "discard":
            self.discard(snapshot, offset, offset + length)
            return
        content = bytes(length) if how == "zero" else filling(seed, length)
        if snapshot.model.write(offset, content):
            self.request(snapshot.device, offset, content, how)
        else:
            with pytest.raises(IOFailed):
                self.request(snapshot.device, offset, content, how)

    def request(self, device: object, offset: int, data: bytes, how: str) -> None:
        if how == "zero":
            device.zero(offset, len(data))
        else:
            device.write_at(offset, data, fua=how == "fua")

    def discard(self, snapshot: Snapshot, offset: int, end: int) -> None:
        size = snapshot.model.chunk_bytes
        if not snapshot.options["zeroes"]:
            snapshot.device.discard(offset, end - offset)
            return
        first, stop = -(-offset // size) * size, end // size * size  # what a part of a chunk reads as is undefined
        if first >= stop:
            return
        if snapshot.model.discard(first, stop):
            snapshot.device.discard(first, stop - first)
        else:
            with pytest.raises(IOFailed):
                snapshot.device.discard(first, stop - first)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def flush(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.snapshots)).device.flush()
        self.origin.flush()

    # -- merging ------------------------------------------------------------------------------------------------------

    @precondition(
        lambda self: (
            self.merge is None and any(each.model.kind != "N" and not each.model.invalid for each in self.snapshots)
        )
    )
    @rule(data=st.data())
    def begin_merge(self, data: st.DataObject) -> None:
        able = [each for each in self.snapshots if each.model.kind != "N" and not each.model.invalid]
        self.merging = data.draw(st.sampled_from(able))
        self.leave(self.merging)
        self.merging.model.overflowed = False
        self.merging.model.content += self.model.content[len(self.merging.model.content) :]
        self.merging.store = PersistentStore(open_store(self.merging.cow))
        self.merge = MergeDevice(self.disk, self.merging.store, others=self.in_use)

    @precondition(lambda self: self.merge is not None)
    @rule(chunks=st.integers(1, 50), in_order=st.booleans())
    def step(self, chunks: int, in_order: bool) -> None:
        size = self.merging.model.chunk_bytes
        step = self.merge.step(chunks * size, in_order=in_order)
        assert step.chunks <= max(chunks, size // 16)
        assert (step.chunks == 0) == (not self.merging.model.chunks)
        self.model.merge(self.merging.model, step.chunks)
        if not step.chunks:
            assert self.disk.read_at(0, SIZE) == self.merging.model.content
            self.merge = self.merging = None

    @precondition(lambda self: self.merge is not None)
    @rule(again=st.booleans())
    def stop_merge(self, again: bool) -> None:
        """A merge that stops goes on after another load of the store, or becomes a snapshot again."""
        self.merge.flush()
        self.merging.store.close()
        if again:
            self.merging.store = PersistentStore(open_store(self.merging.cow))
            self.merge = MergeDevice(self.disk, self.merging.store, others=self.in_use)
        else:
            self.merging.model.kind = "P"
            self.merging.load(self.disk)
            self.merging.model.content = self.merging.model.content[:SIZE]
            self.use(self.merging)
            self.merge = self.merging = None

    # -- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def everything_reads_as_it_should(self) -> None:
        assert self.disk.read_at(0, SIZE) == self.model.content
        for snapshot in self.snapshots:
            assert str(snapshot.device.status()) == snapshot.model.status
            if snapshot.model.invalid:
                with pytest.raises(IOFailed):
                    snapshot.device.read_at(0, 512)
            else:
                length = len(snapshot.model.content)
                assert snapshot.device.read_at(0, length) == snapshot.model.content
        if self.merge is not None:
            assert self.merge.read_at(0, SIZE) == self.merging.model.content
            assert str(self.merge.status()) == self.merging.model.status

    def teardown(self) -> None:
        for snapshot in self.snapshots:
            if snapshot.model.kind != "N":
                snapshot.device.flush()
                store = open_store(snapshot.cow)
                assert store.valid != snapshot.model.invalid
                if store.valid:
                    copies = data_chunks(len(snapshot.model.chunks), snapshot.model.chunk_bytes // 512).tolist()
                    held = model_store(snapshot.cow.read_at(0, snapshot.cow.size_bytes))
                    assert held.copies == dict(zip(snapshot.model.chunks, copies, strict=True))
                    loaded = WritableSnapshot(self.disk, PersistentStore(store))
                    length = len(snapshot.model.content)
                    assert loaded.read_at(0, length) == snapshot.model.content


@pytest.mark.timeout(600)  # a failure is made small for five minutes at most
def test_an_origin_and_its_snapshots_are_what_a_plain_model_says():
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=120,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
