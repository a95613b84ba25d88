"""The snapshot as a device: content, how it is read, layers."""

from __future__ import annotations

import random
import struct
from collections import Counter

import pytest
from snapshot_parts import Parts, random_parts, store_in_memory

from dmsnap.block import BadRequest, BlockDevice, DeviceClosed, Extent, ExtentKind
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import DelayDevice, LogDevice
from dmsnap.store import BadChunkSize, create_store, open_store
from dmsnap.target import SnapshotDevice
from dmsnap.testing.device_contract import DeviceContract
from dmsnap.testing.store_builder import in_allocation_order

CHUNK = 4096
DATA, HOLE = ExtentKind.DATA, ExtentKind.HOLE


class TestSnapshotAsDevice(DeviceContract):
    """A snapshot of an origin where every third chunk was overwritten since."""

    def make(self, content: bytes) -> BlockDevice:
        cow = MemoryDevice(1 << 20)
        create_store(cow, 8)
        chunks = range(0, len(content) // CHUNK, 3)
        origin = bytearray(content)
        for index, (chunk, copy) in enumerate(in_allocation_order(chunks, 8).tolist()):
            cow.write_at(copy * CHUNK, content[chunk * CHUNK : (chunk + 1) * CHUNK])
            cow.write_at(CHUNK + 512 * (index // 32), self._sector(chunks, index // 32))
            origin[chunk * CHUNK : (chunk + 1) * CHUNK] = b"\xee" * CHUNK
        return SnapshotDevice(MemoryDevice(bytes(origin)), open_store(cow))

    @staticmethod
    def _sector(chunks: range, number: int) -> bytes:
        records = in_allocation_order(chunks, 8)[32 * number : 32 * (number + 1)]
        return records.astype("<u8").tobytes().ljust(512, b"\0")


def snapshot_of(parts: Parts) -> SnapshotDevice:
    return SnapshotDevice(MemoryDevice(parts.origin), parts.store())


@pytest.mark.parametrize("seed", range(60))
def test_any_range_reads_as_the_model_says(seed: int) -> None:
    parts = random_parts(seed)
    snapshot = snapshot_of(parts)
    rng = random.Random(seed)
    assert snapshot.size_bytes == len(parts.expected)
    for _ in range(40):
        first, last = sorted(rng.randrange(0, len(parts.expected) + 1, 512) for _ in range(2))
        assert snapshot.read_at(first, last - first) == parts.expected[first:last], (first, last)


@pytest.mark.parametrize("seed", range(20))
def test_reads_started_together_each_get_their_content(seed: int) -> None:
    parts = random_parts(seed)
    slow = DelayDevice(MemoryDevice(parts.origin), 0.001)
    snapshot = SnapshotDevice(slow, parts.store())
    rng = random.Random(seed)
    ranges = [sorted(rng.randrange(0, len(parts.expected) + 1, 512) for _ in range(2)) for _ in range(20)]
    requests = [(first, memoryview(bytearray(last - first))) for first, last in ranges]
    for completion in snapshot.start_reads(requests):
        completion.wait()
    for (first, last), (_, view) in zip(ranges, requests, strict=True):
        assert view == parts.expected[first:last], (first, last)


@pytest.mark.parametrize("seed", range(60))
def test_extents_are_those_of_the_layers(seed: int) -> None:
    parts = random_parts(seed)
    snapshot = snapshot_of(parts)
    rng = random.Random(seed)
    first, last = sorted(rng.randrange(0, len(parts.expected) + 1, 512) for _ in range(2))
    position = first
    previous: Extent | None = None
    for extent in snapshot.extents(first, last - first):
        assert extent.offset == position
        assert previous is None or (previous.kind, previous.depth) != (extent.kind, extent.depth)
        for chunk in range(position // parts.chunk_bytes, -(-(position + extent.length) // parts.chunk_bytes)):
            assert extent.depth == (1 if chunk in parts.changed else 2), chunk
        if extent.kind is HOLE:
            assert not any(parts.expected[position : position + extent.length]), extent
        position, previous = position + extent.length, extent
    assert position == last


@pytest.mark.parametrize("seed", range(30))
def test_data_extents_leave_out_the_same_holes(seed: int) -> None:
    snapshot = snapshot_of(random_parts(seed))
    size = snapshot.size_bytes

    def holes(extents: list[Extent]) -> set[int]:
        return {
            sector
            for extent in extents
            if extent.kind is HOLE
            for sector in range(extent.offset, extent.offset + extent.length, 512)
        }

    data = list(snapshot.data_extents(0, size))
    assert sum(extent.length for extent in data) == size
    assert holes(data) == holes(list(snapshot.extents(0, size)))


def test_layers_and_holes_are_told_apart() -> None:
    origin = MemoryDevice(6 * CHUNK)
    origin.write_at(0, b"o" * CHUNK)
    origin.write_at(4 * CHUNK, b"o" * 2 * CHUNK)
    store = store_in_memory([(1, 2), (2, 3), (5, 4)])  # their copies are holes
    store.device.write_at(3 * CHUNK, b"c" * CHUNK)
    assert list(SnapshotDevice(origin, store).extents(0, 6 * CHUNK)) == [
        Extent(0, CHUNK, DATA, 2),
        Extent(CHUNK, CHUNK, HOLE, 1),
        Extent(2 * CHUNK, CHUNK, DATA, 1),
        Extent(3 * CHUNK, CHUNK, HOLE, 2),
        Extent(4 * CHUNK, CHUNK, DATA, 2),
        Extent(5 * CHUNK, CHUNK, HOLE, 1),
    ]


def reads(*devices: LogDevice) -> Counter[str]:
    return Counter(event.op for device in devices for event in device.events if "read" in event.op)


def logged_snapshot(records: list[tuple[int, int]]) -> tuple[SnapshotDevice, LogDevice, LogDevice]:
    store = store_in_memory(records)
    cow = LogDevice(store.device)
    origin = LogDevice(MemoryDevice(64 * CHUNK))
    return SnapshotDevice(origin, open_store(cow)), origin, cow


def test_chunks_copied_one_after_another_are_one_read() -> None:
    snapshot, origin, cow = logged_snapshot([(chunk, chunk + 2) for chunk in range(40)])
    cow.events.clear()
    snapshot.read_at(512, 30 * CHUNK)
    assert [(event.offset, event.length) for event in cow.events] == [(2 * CHUNK + 512, 30 * CHUNK)]
    assert not reads(origin)


def test_runs_recorded_out_of_order_are_still_one_read() -> None:
    snapshot, _, cow = logged_snapshot([(5, 5), (4, 4), (3, 3), (6, 6)])
    cow.events.clear()
    snapshot.read_at(3 * CHUNK, 4 * CHUNK)
    assert [(event.offset, event.length) for event in cow.events] == [(3 * CHUNK, 4 * CHUNK)]


def test_a_large_read_starts_all_its_parts_at_once() -> None:
    snapshot, origin, cow = logged_snapshot([(10, 2), (20, 3), (30, 4)])
    cow.events.clear()
    snapshot.read_at(0, 64 * CHUNK)
    assert [event.length for event in origin.events] == [10 * CHUNK, 9 * CHUNK, 9 * CHUNK, 33 * CHUNK]
    assert [event.length for event in cow.events] == [CHUNK] * 3
    assert reads(origin, cow) == {"start_read": 7}


def test_a_read_inside_a_chunk_is_one_read_of_one_device() -> None:
    snapshot, origin, cow = logged_snapshot([(1, 2)])
    cow.events.clear()
    snapshot.read_at(CHUNK + 512, 1024)
    snapshot.read_at(512, 1024)
    assert [(event.op, event.offset, event.length) for event in cow.events] == [("read", 2 * CHUNK + 512, 1024)]
    assert [(event.op, event.offset, event.length) for event in origin.events] == [("read", 512, 1024)]


def test_a_partial_last_chunk_is_read_to_the_end_of_the_origin_and_no_further() -> None:
    store = store_in_memory([(2, 2)])
    store.device.write_at(2 * CHUNK, b"c" * CHUNK)
    snapshot = SnapshotDevice(MemoryDevice(2 * CHUNK + 512), store)
    assert snapshot.read_at(CHUNK, CHUNK + 512) == bytes(CHUNK) + b"c" * 512
    with pytest.raises(BadRequest):
        snapshot.read_at(2 * CHUNK, 1024)


def test_exceptions_beyond_the_origin_are_out_of_reach() -> None:
    snapshot = SnapshotDevice(MemoryDevice(CHUNK), store_in_memory([(0, 2), (7, 3)]))
    assert snapshot.size_bytes == CHUNK
    assert list(snapshot.extents(0, CHUNK)) == [Extent(0, CHUNK, HOLE, 1)]


def test_a_given_size_must_fit_the_origin() -> None:
    store = store_in_memory([])
    assert SnapshotDevice(MemoryDevice(4 * CHUNK), store, size_bytes=CHUNK).size_bytes == CHUNK
    for size in (-512, 100, 5 * CHUNK):
        with pytest.raises(BadRequest):
            SnapshotDevice(MemoryDevice(4 * CHUNK), store, size_bytes=size)


def test_a_chunk_smaller_than_the_origins_blocks_is_refused() -> None:
    store = store_in_memory([], chunk_size_sectors=1)
    with pytest.raises(BadChunkSize, match="Chunk size is not a multiple of device blocksize"):
        SnapshotDevice(MemoryDevice(8192, logical_block_size_bytes=4096), store)


def test_close_waits_for_reads_but_leaves_the_devices_open() -> None:
    origin = DelayDevice(MemoryDevice(b"o" * CHUNK), 0.02)
    snapshot = SnapshotDevice(origin, store_in_memory([]))
    view = memoryview(bytearray(CHUNK))
    completion = snapshot.start_read(0, view)
    snapshot.close()
    assert completion.done
    assert view == b"o" * CHUNK
    assert not origin.closed


def test_when_one_device_refuses_to_start_nothing_goes_on_in_the_callers_memory() -> None:
    origin, cow = DelayDevice(MemoryDevice(b"\x11" * 8 * 512), 0.05), MemoryDevice(64 * 512)
    create_store(cow, 1)
    cow.write_at(512, struct.pack("<QQ", 1, 2).ljust(512, b"\0"))
    snapshot = SnapshotDevice(origin, open_store(cow))
    cow.close()
    memory = bytearray(4 * 512)
    with pytest.raises(DeviceClosed):
        snapshot.start_reads([(0, memoryview(memory))])
    before = bytes(memory)
    snapshot.close()
    origin.close()
    assert bytes(memory) == before
