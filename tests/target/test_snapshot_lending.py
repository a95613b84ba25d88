"""Snapshots lend what their devices lend: the same bytes as a read gives, and nobody overwrites an origin meanwhile."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest
from snapshot_parts import random_parts

from dmsnap.block import FileDevice
from dmsnap.block import cached_file as cached_file_module
from dmsnap.block.memory import MemoryDevice
from dmsnap.store import create_store, open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.writable_snapshot import WritableSnapshot
from dmsnap.testing import need
from dmsnap.testing.damage import DAMAGES, ORIGIN_BYTES

SIZE = 1 << 20
CHUNK = 4096


@pytest.fixture(autouse=True)
def _trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_file_module, "PRICE_OF_A_MISS", 1)


def warm(*devices: FileDevice) -> None:
    for device in devices:
        device.read_at(0, device.size_bytes)
        device.start_reads([(0, memoryview(bytearray(512)))])
        need(device.lend([(0, 512)]) is not None, "the filesystem of the temporary folder is none that is lent from")


def lent(snapshot: SnapshotDevice, ranges: list[tuple[int, int]]) -> list[bytes]:
    loan = snapshot.lend(ranges)
    assert loan is not None
    found = [b"".join(views) for views in loan.views]
    loan.end()
    return found


@pytest.mark.parametrize("seed", range(40))
def test_what_is_lent_is_what_is_read(seed: int, tmp_path: Path) -> None:
    parts, rng = random_parts(seed), random.Random(seed)
    (tmp_path / "origin").write_bytes(parts.origin)
    (tmp_path / "cow").write_bytes(parts.cow)
    with (
        FileDevice(tmp_path / "origin") as origin,
        FileDevice(tmp_path / "cow") as cow,
        SnapshotDevice(origin, open_store(cow)) as snapshot,
    ):
        warm(origin, cow)
        edges = [sorted(rng.randrange(0, snapshot.size_bytes + 1, 512) for _ in range(2)) for _ in range(30)]
        ranges = [(start, stop - start) for start, stop in edges if start < stop]
        assert lent(snapshot, ranges) == [parts.expected[at : at + length] for at, length in ranges]


@pytest.fixture
def written(tmp_path: Path):
    """A snapshot in use, its devices in the page cache, and its content."""
    content = bytearray(random.Random(5).randbytes(SIZE))
    (tmp_path / "origin").write_bytes(content)
    with FileDevice(tmp_path / "origin", writable=True) as origin:
        (tmp_path / "cow").write_bytes(bytes(2 * SIZE))
        with FileDevice(tmp_path / "cow", writable=True) as cow:
            create_store(cow, chunk_size_sectors=CHUNK // 512)
            with WritableSnapshot(origin, PersistentStore(open_store(cow))) as snapshot:
                warm(origin, cow)
                yield snapshot, content


def test_what_was_just_written_is_lent(written) -> None:
    snapshot, content = written
    rng = random.Random(6)
    for _ in range(60):
        at = rng.randrange(0, SIZE, 512)
        data = rng.randbytes(min(rng.choice([512, 4096, 20480]), SIZE - at))
        snapshot.write_at(at, data)
        content[at : at + len(data)] = data
        ranges = [(at, len(data)), (0, SIZE), (rng.randrange(0, SIZE, 4096), 4096)]
        assert lent(snapshot, ranges) == [content[start : start + length] for start, length in ranges]


def test_who_overwrites_the_origin_waits_until_what_was_lent_is_given_back(written) -> None:
    snapshot, content = written
    snapshots, wrote = OriginSnapshots(), threading.Event()
    snapshots.add(snapshot.exceptions, SIZE)
    origin = OriginDevice(snapshot.origin, snapshots)
    loan = snapshot.lend([(0, CHUNK)])
    assert loan is not None

    def write() -> None:
        origin.write_at(0, bytes(CHUNK))
        wrote.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert not wrote.wait(0.1)
    assert b"".join(loan.views[0]) == content[:CHUNK]
    loan.end()
    assert wrote.wait(10)
    thread.join()
    assert lent(snapshot, [(0, CHUNK)]) == [content[:CHUNK]]
    mine = origin.lend([(0, CHUNK)])  # who reads the origin reads it as it is
    assert mine is not None
    assert b"".join(mine.views[0]) == bytes(CHUNK)
    mine.end()
    snapshots.remove(snapshot.exceptions)


@pytest.mark.parametrize("name", [name for name, damage in DAMAGES.items() if damage.lost and not damage.huge])
def test_where_a_copy_is_lost_nothing_is_lent(name: str, tmp_path: Path) -> None:
    damage = DAMAGES[name]
    (tmp_path / "origin").write_bytes(bytes(ORIGIN_BYTES))
    with (tmp_path / "cow").open("wb") as file:
        damage.write(file)
    with FileDevice(tmp_path / "cow") as cow, FileDevice(tmp_path / "origin") as origin:
        store = open_store(cow)
        with SnapshotDevice(origin, store) as snapshot:
            warm(origin, cow)
            chunk_bytes = store.chunk_size_bytes
            for chunk in range(snapshot.size_bytes // chunk_bytes):
                loan = snapshot.lend([(chunk * chunk_bytes, chunk_bytes)])
                assert (loan is None) == (chunk in damage.lost), chunk
                assert snapshot.lend([(0, snapshot.size_bytes)]) is None


def test_a_snapshot_of_what_lends_nothing_lends_nothing(tmp_path: Path) -> None:
    parts = random_parts(3)
    (tmp_path / "cow").write_bytes(parts.cow)
    with FileDevice(tmp_path / "cow") as cow, SnapshotDevice(MemoryDevice(parts.origin), open_store(cow)) as snapshot:
        warm(cow)
        assert snapshot.lend([(0, 512)]) is None


def test_a_copy_behind_the_end_that_the_mapped_store_had_is_lent_whole_or_not_at_all(tmp_path: Path) -> None:
    content = bytearray(random.Random(7).randbytes(SIZE))
    (tmp_path / "origin").write_bytes(content)
    (tmp_path / "cow").write_bytes(bytes(16 * CHUNK))
    with FileDevice(tmp_path / "origin") as origin, FileDevice(tmp_path / "cow", writable=True) as cow:
        create_store(cow, chunk_size_sectors=CHUNK // 512)
        with WritableSnapshot(origin, PersistentStore(open_store(cow)), refuse_when_full=True) as snapshot:
            warm(origin, cow)
            assert lent(snapshot, [(0, SIZE)]) == [content]
            os.truncate(tmp_path / "cow", 2 * SIZE)
            for chunk in range(40):
                data = bytes([chunk]) * CHUNK
                snapshot.write_at(chunk * CHUNK, data)
                content[chunk * CHUNK : (chunk + 1) * CHUNK] = data
            loan = snapshot.lend([(0, SIZE)])
            assert loan is None or b"".join(loan.views[0]) == content
            assert lent(snapshot, [(0, SIZE)]) == [content]
