"""Reads of a snapshot that were started and not yet collected, while others write: they are what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from writing_devices import CHUNK, NEW, OLD, Background, GateDevice, in_use, make_snapshot, make_store

from dmsnap.block import BadRequest, Completion, MemoryDevice, ReadRequest
from dmsnap.block.announced import AnnouncedRead
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.writable_snapshot import WritableSnapshot

pytestmark = pytest.mark.timeout(60)


class LazyDevice(Wrapper):
    """Its started reads are made when somebody waits for them, as announced reads are."""

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        return [AnnouncedRead(self, offset, view, 0.0) for offset, view in requests]

    def collect(self, offset: int, view: memoryview) -> None:
        self.device.read_into(offset, view)

    def collect_at_once(self, offset: int, view: memoryview) -> int:
        return 0

    def hand_over(self, read: Completion, offset: int, view: memoryview) -> None:
        self.collect(offset, view)
        read.finish()

    def announced_in_vain(self) -> None:
        return


@pytest.mark.parametrize(("offset", "length"), [(0, CHUNK), (3 * CHUNK, 512), (CHUNK - 512, 3 * CHUNK)])
def test_a_started_read_never_sees_what_the_origin_is_overwritten_with(offset: int, length: int) -> None:
    origin = LazyDevice(MemoryDevice(OLD, name="origin"))
    snapshot = make_snapshot(origin)
    snapshot.write_at(CHUNK, NEW[CHUNK : 2 * CHUNK])  # so that one of the reads is in pieces
    view = memoryview(bytearray(length))
    read = snapshot.start_read(offset, view)
    assert not read.done
    in_use(origin, snapshot).write_at(0, NEW[: 8 * CHUNK])
    read.wait()
    expected = OLD[:CHUNK] + NEW[CHUNK : 2 * CHUNK] + OLD[2 * CHUNK :]
    assert bytes(view) == expected[offset : offset + length]


def test_where_one_device_refuses_no_read_of_the_other_goes_on() -> None:
    origin = LazyDevice(MemoryDevice(OLD, name="origin"))
    writable = make_snapshot(origin)
    writable.write_at(0, NEW[:CHUNK])
    writable.flush()
    cow = writable.store.device

    def refuse(_: Sequence[ReadRequest]) -> list[Completion]:
        raise BadRequest("refused")

    cow._start_reads = refuse  # type: ignore[method-assign]
    started: list[Completion] = []
    true_start = origin._start_reads

    def start(requests: Sequence[ReadRequest]) -> list[Completion]:
        started.extend(true_start(requests))
        return started

    origin._start_reads = start  # type: ignore[method-assign]
    snapshot = SnapshotDevice(origin, writable.store)
    views = [memoryview(bytearray(CHUNK)) for _ in range(2)]
    with pytest.raises(BadRequest):
        snapshot.start_reads(list(zip((0, CHUNK), views, strict=True)))
    assert len(started) == 1
    assert started[0].done, "memory that the caller believes to be its own is still to be written to"


class Interleaved(list):  # type: ignore[type-arg]
    """Requests; lets another in between the first and the second when they are done (they are looked at before)."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        for number, request in enumerate(super().__iter__()):
            if number == 1 and self.passes == 2:
                self.meanwhile()
            yield request


def test_the_later_of_two_writes_counts_though_another_makes_the_exception_in_between() -> None:
    snapshot = make_snapshot(MemoryDevice(OLD, name="origin"))
    requests = Interleaved((0, memoryview(letter * 512)) for letter in (b"1", b"2"))
    requests.meanwhile = lambda: Background(snapshot.write_at, 1024, b"o" * 512).result()
    snapshot.write_many(requests)
    assert requests.passes == 2
    assert snapshot.read_at(0, 2048) == b"2" * 512 + OLD[512:1024] + b"o" * 512 + OLD[1536:2048]


def test_two_batches_on_the_same_new_chunk_make_one_exception() -> None:
    gate = GateDevice(MemoryDevice(1 << 20, name="cow"))
    snapshot = WritableSnapshot(MemoryDevice(OLD, name="origin"), make_store(gate))
    shut = gate.shut("write", 2 * CHUNK, CHUNK)
    first = Background(snapshot.write_many, [(0, memoryview(b"1" * 512))])
    gate.wait_for_one()
    second = Background(snapshot.write_many, [(512, memoryview(b"2" * 512)), (CHUNK, memoryview(b"3" * 512))])
    shut.set()
    first.result()
    second.result()
    assert snapshot.read_at(0, CHUNK + 512) == b"1" * 512 + b"2" * 512 + OLD[1024:CHUNK] + b"3" * 512
    assert snapshot.exceptions.store.usage().allocated_sectors == (2 + 2) * 8
