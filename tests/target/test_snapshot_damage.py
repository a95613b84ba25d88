"""A snapshot whose store is damaged: what can be had is read, the rest is one clear error."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from snapshot_parts import store_in_memory

from dmsnap.block import ExtentKind, FileDevice, IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice, fail_range
from dmsnap.store import open_store
from dmsnap.target import DamagedException, SnapshotDevice, SnapshotInvalid
from dmsnap.testing.damage import CHUNK_BYTES, DAMAGES, ORIGIN_BYTES

READABLE = [
    name
    for name, damage in DAMAGES.items()
    if not damage.refusal and not damage.huge and name != "a-million-duplicates"  # 4 GB of store, and no copy lost
]
CHUNK = 4096


@pytest.mark.parametrize("name", READABLE)
def test_only_chunks_whose_copy_is_lost_fail(name: str, tmp_path: Path) -> None:
    damage = DAMAGES[name]
    with (tmp_path / "cow").open("wb") as file:
        damage.write(file)
    store = open_store(FileDevice(tmp_path / "cow"))
    chunk_bytes = store.chunk_size_bytes
    snapshot = SnapshotDevice(MemoryDevice(ORIGIN_BYTES * chunk_bytes // CHUNK_BYTES), store)
    failed: set[object] = set()
    for chunk in range(snapshot.size_bytes // chunk_bytes):
        try:
            snapshot.read_at(chunk * chunk_bytes, chunk_bytes)
        except DamagedException as error:
            assert error.origin_chunk == chunk  # noqa: PT017 - the loop goes on
            failed.add(chunk)
    assert failed == damage.lost
    store.device.close()


def test_a_lost_copy_fails_every_read_that_touches_it_and_no_other() -> None:
    snapshot = SnapshotDevice(MemoryDevice(8 * CHUNK), store_in_memory([(3, 1)]))
    views = [memoryview(bytearray(2 * CHUNK)) for _ in range(4)]
    completions = snapshot.start_reads([(2 * number * CHUNK, view) for number, view in enumerate(views)])
    for number, completion in enumerate(completions):
        if number == 1:
            with pytest.raises(DamagedException, match="origin chunk 3 was copied"):
                completion.wait()
        else:
            completion.wait()


def test_a_copy_that_is_cut_off_in_the_middle_is_lost() -> None:
    store = store_in_memory([(0, 2)])
    cow = MemoryDevice(bytes(store.device.read_at(0, 2 * CHUNK)) + b"c" * 1024)
    snapshot = SnapshotDevice(MemoryDevice(2 * CHUNK), open_store(cow))
    for length in (CHUNK, 2 * CHUNK):
        with pytest.raises(DamagedException):
            snapshot.read_at(0, length)
    assert snapshot.read_at(CHUNK, CHUNK) == bytes(CHUNK)


def test_a_lost_copy_counts_as_data() -> None:
    snapshot = SnapshotDevice(MemoryDevice(4 * CHUNK), store_in_memory([(1, 1), (2, 2**40)], size_chunks=3))
    kinds = [(extent.offset, extent.length, extent.kind, extent.depth) for extent in snapshot.extents(0, 4 * CHUNK)]
    assert kinds == [
        (0, CHUNK, ExtentKind.HOLE, 2),
        (CHUNK, 2 * CHUNK, ExtentKind.DATA, 1),
        (3 * CHUNK, CHUNK, ExtentKind.HOLE, 2),
    ]


def test_an_invalid_snapshot_has_a_size_and_no_content() -> None:
    snapshot = SnapshotDevice(MemoryDevice(8 * CHUNK), store_in_memory([(0, 2)], valid=0))
    assert snapshot.size_bytes == 8 * CHUNK
    for offset, length in ((0, 512), (0, 4 * CHUNK)):
        with pytest.raises(SnapshotInvalid, match="take a new snapshot"):
            snapshot.read_at(offset, length)
    with pytest.raises(SnapshotInvalid):
        list(snapshot.extents(0, CHUNK))


def test_a_failing_device_fails_the_read_after_all_its_parts_ended() -> None:
    store = store_in_memory([(1, 2)])
    origin = FaultDevice(MemoryDevice(8 * CHUNK), fail_range(0, 512))
    snapshot = SnapshotDevice(origin, store)
    with pytest.raises(IOFailed):
        snapshot.read_at(0, 4 * CHUNK)
    assert snapshot.read_at(CHUNK, 4 * CHUNK) == bytes(4 * CHUNK)


def test_of_a_copy_that_was_cut_short_what_is_there_can_be_read() -> None:
    content = bytearray(3 * 4096 + 512)
    content[:16] = struct.pack("<4I", 0x70416E53, 1, 1, 8)
    content[4096:4112] = struct.pack("<QQ", 1, 3)
    content[3 * 4096 :] = b"\x33" * 512
    store = open_store(MemoryDevice(content))
    assert [finding.kind for finding in store.findings] == ["outside-cow"]
    snapshot = SnapshotDevice(MemoryDevice(4 * 4096), store)
    assert snapshot.read_at(4096, 512) == b"\x33" * 512
    assert snapshot.read_at(0, 4096 + 512) == bytes(4096) + b"\x33" * 512
    for offset, length in [(4096, 1024), (4608, 512), (0, 16384)]:
        with pytest.raises(DamagedException):
            snapshot.read_at(offset, length)
