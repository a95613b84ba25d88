"""A flush that failed, whoever asked for it: what it lost is never said to be durable, nor recorded."""

from __future__ import annotations

import pytest
from writing_devices import CHUNK, NEW, OLD, Background, GateDevice, loaded_again, make_store

from dmsnap.block import IOFailed, MemoryDevice
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.target.snapshot import SnapshotInvalid
from dmsnap.target.writable_snapshot import WritableSnapshot

pytestmark = pytest.mark.timeout(60)


class ForgetfulDevice(Wrapper):
    """Tells of a lost write once, as fsync(2) of a shared file may, whoever made it."""

    lost = False

    def _flush(self) -> None:
        lost, self.lost = self.lost, False
        if lost:
            raise IOFailed(f"{self.name}: lost what was written")
        super()._flush()


def on_a_forgetful_device() -> tuple[WritableSnapshot, ForgetfulDevice]:
    cow = ForgetfulDevice(MemoryDevice(1 << 20, name="cow"))
    return WritableSnapshot(MemoryDevice(OLD, name="origin"), make_store(cow)), cow


def test_no_record_for_a_copy_that_anothers_flush_has_lost() -> None:
    snapshot, cow = on_a_forgetful_device()
    snapshot.write_at(0, NEW[:CHUNK])
    cow.lost = True
    with pytest.raises(IOFailed):
        cow.flush()  # of a client, between the writing of a copy and its commit
    with pytest.raises(IOFailed, match="may be lost"):
        snapshot.flush()
    with pytest.raises(SnapshotInvalid):
        snapshot.read_at(0, CHUNK)


def test_a_copy_that_was_begun_before_a_flush_failed_is_not_recorded_either() -> None:
    cow = ForgetfulDevice(MemoryDevice(1 << 20, name="cow"))
    gate = GateDevice(cow)
    snapshot = WritableSnapshot(MemoryDevice(OLD, name="origin"), make_store(gate))
    shut = gate.shut("write", 2 * CHUNK, CHUNK)
    write = Background(snapshot.write_at, 0, NEW[:CHUNK])
    gate.wait_for_one()
    cow.lost = True
    with pytest.raises(IOFailed):
        gate.flush()
    snapshot.write_at(CHUNK, NEW[:CHUNK])  # which is not what makes the loss one of before
    shut.set()
    write.result()
    with pytest.raises(IOFailed, match="may be lost"):
        snapshot.flush()


def test_a_flush_that_failed_while_no_copy_was_at_stake_ends_nothing() -> None:
    snapshot, cow = on_a_forgetful_device()
    snapshot.write_at(0, NEW[:CHUNK])
    snapshot.flush()
    snapshot.write_at(0, NEW[CHUNK : 2 * CHUNK])  # in place
    cow.lost = True
    with pytest.raises(IOFailed):
        snapshot.flush()
    assert snapshot.failed_flushes > 0
    snapshot.write_at(CHUNK, NEW[:CHUNK])
    snapshot.flush()
    assert loaded_again(snapshot).read_at(CHUNK, CHUNK) == NEW[:CHUNK]


def test_a_durable_write_fails_where_anothers_flush_may_have_lost_it() -> None:
    snapshot, cow = on_a_forgetful_device()
    snapshot.write_at(0, NEW[:CHUNK])
    snapshot.flush()
    true_write = cow._write_at

    def write_then_lose(offset: int, view: memoryview) -> None:
        true_write(offset, view)
        cow.lost = True
        with pytest.raises(IOFailed):
            cow.flush()

    cow._write_at = write_then_lose  # type: ignore[method-assign]
    with pytest.raises(IOFailed, match="may be lost"):
        snapshot.write_at(0, NEW[CHUNK : 2 * CHUNK], fua=True)
    cow._write_at = true_write  # type: ignore[method-assign]
    snapshot.write_at(0, NEW[CHUNK : 2 * CHUNK], fua=True)


def test_a_durable_write_to_a_new_chunk_survives_with_its_record() -> None:
    snapshot, _ = on_a_forgetful_device()
    snapshot.write_at(512, NEW[:512], fua=True)
    assert loaded_again(snapshot).read_at(0, CHUNK) == OLD[:512] + NEW[:512] + OLD[1024:CHUNK]
