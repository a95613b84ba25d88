"""``dmsnap.compact``: files, sizes, and what happens when it goes wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block import MemoryDevice
from dmsnap.errors import DmsnapError
from dmsnap.testing.random_snapshots import RandomSnapshot, random_snapshot
from dmsnap.testing.store_builder import build_store, fill_chunk, in_allocation_order


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, RandomSnapshot]:
    snapshot = random_snapshot(11, duplicates=False)
    (tmp_path / "old.cow").write_bytes(snapshot.cow)
    (tmp_path / "origin.img").write_bytes(snapshot.origin)
    return tmp_path / "old.cow", tmp_path / "origin.img", snapshot


def content(cow: Path, origin: Path) -> bytes:
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        return bytes(snapshot.read_at(0, snapshot.size_bytes))


@pytest.mark.parametrize("chunk_size", [None, 512, 4096, 65536])
@pytest.mark.parametrize("drop", [False, True])
def test_the_new_store_reads_and_merges_as_the_old_one(chunk_size: int | None, drop: bool, files) -> None:
    old, origin, snapshot = files
    new = old.with_name("new.cow")
    result = dmsnap.compact(old, new, origin=origin, chunk_size_bytes=chunk_size, drop_unchanged=drop)
    assert content(new, origin) == snapshot.content
    assert old.read_bytes() == snapshot.cow
    info = dmsnap.info(new, origin=origin)
    assert (info.findings, info.exceptions) == ((), result.exceptions)
    assert new.stat().st_size == result.size_bytes == info.total_sectors * 512
    dmsnap.merge(new, origin)
    assert origin.read_bytes() == snapshot.content


def test_sorting_makes_long_runs(tmp_path: Path) -> None:
    old, origin, new = tmp_path / "old.cow", tmp_path / "origin.img", tmp_path / "new.cow"
    with old.open("wb") as out:
        build_store(out, in_allocation_order(random.Random(1).sample(range(100), 100), 8), data=fill_chunk(8))
    origin.write_bytes(bytes(100 * 4096))
    dmsnap.compact(old, new, sort=True)
    assert (dmsnap.info(old).runs > 90, dmsnap.info(new).runs) == (True, 1)
    assert content(new, origin) == content(old, origin)


def test_room_to_grow_is_taken_by_writes(files) -> None:
    old, origin, snapshot = files
    new = old.with_name("new.cow")
    least = dmsnap.compact(old, old.with_name("least.cow")).size_bytes
    result = dmsnap.compact(old, new, extra_bytes=len(snapshot.origin) * 2)
    assert result.size_bytes == new.stat().st_size >= least + 2 * len(snapshot.origin)
    with dmsnap.open_snapshot(new, origin, mode="r+") as written:
        written.write_at(0, bytes(len(snapshot.origin)))
    assert not any(content(new, origin))


def test_a_size_is_at_least_kept_and_never_the_trap(tmp_path: Path) -> None:
    dmsnap.create(tmp_path / "empty.cow", 1 << 20, 4096)
    for size, made in ((0, 3 * 4096), (4097, 3 * 4096), (258 << 12, 259 << 12), (1 << 20, 1 << 20)):
        new = tmp_path / f"{size}.cow"
        assert dmsnap.compact(tmp_path / "empty.cow", new, size_bytes=size).size_bytes == made == new.stat().st_size


@pytest.mark.parametrize("name", ["old.cow", "origin.img", "there.cow", "missing/new.cow", "folder"])
def test_what_is_there_is_never_overwritten(name: str, files) -> None:
    old, origin, _ = files
    (old.parent / "folder").mkdir()
    (old.parent / "there.cow").write_bytes(b"something else")
    before = {path: path.read_bytes() for path in old.parent.iterdir() if path.is_file()}
    with pytest.raises(DmsnapError):
        dmsnap.compact(old, old.parent / name, origin=origin)
    assert {path: path.read_bytes() for path in old.parent.iterdir() if path.is_file()} == before


class Failing(MemoryDevice):
    """A COW device that fails, or is interrupted, when some byte of it is read."""

    def __init__(self, content: bytes, error: BaseException, at: int) -> None:
        super().__init__(content, read_only=True)
        self.error = error
        self.at = at

    def _start_reads(self, requests):  # type: ignore[no-untyped-def]
        if any(offset <= self.at < offset + len(view) for offset, view in requests):
            raise self.error
        return super()._start_reads(requests)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DmsnapError("a bad sector")], ids=["ctrl-c", "error"])
@pytest.mark.parametrize("record", [0, -1])
def test_what_ends_early_leaves_nothing(error: BaseException, record: int, files) -> None:
    old, _, snapshot = files
    lost = snapshot.records[record][1] * snapshot.chunk_sectors * 512
    device = Failing(snapshot.cow[: len(snapshot.cow) // 512 * 512], error, lost)
    names = sorted(old.parent.iterdir())
    with pytest.raises(type(error)):
        dmsnap.compact(device, old.with_name("new.cow"))
    assert sorted(old.parent.iterdir()) == names
