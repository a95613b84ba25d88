"""A snapshot opened as a file."""

from __future__ import annotations

import io
import os
import random
import shutil
from pathlib import Path

import pytest
from library_files import CHUNK, SnapshotFiles, open_descriptors, snapshot_files

import dmsnap
from dmsnap.block import BlockDevice, DeviceClosed, FileDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import SliceDevice
from dmsnap.testing.device_contract import DeviceContract
from dmsnap.testing.store_builder import build_store


@pytest.fixture
def files(tmp_path: Path) -> SnapshotFiles:
    return snapshot_files(tmp_path)


class TestSnapshotFileAsDevice(DeviceContract):
    """The file is a device as well, and one that closes what it opened."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make(self, content: bytes) -> BlockDevice:
        records = [(chunk, chunk // 2 + 2) for chunk in range(0, len(content) // CHUNK, 2)]
        with (self.folder / "cow").open("wb") as out:
            build_store(out, records, data=lambda old, _: content[old * CHUNK : (old + 1) * CHUNK])
        (self.folder / "origin").write_bytes(content)
        return dmsnap.open_snapshot(self.folder / "cow", self.folder / "origin")


def test_any_reads_are_those_of_a_plain_file(files: SnapshotFiles) -> None:
    rng = random.Random(7)
    plain = io.BytesIO(files.content)
    with dmsnap.open_snapshot(files.cow, files.origin) as snapshot:
        for _ in range(300):
            offset, size = rng.randrange(len(files.content) + 100), rng.choice([0, 1, 511, 513, 4096, 10_000])
            assert snapshot.seek(offset) == plain.seek(offset)
            assert snapshot.read(size) == plain.read(size)
            assert snapshot.tell() == min(plain.tell(), max(offset, len(files.content)))


def test_seek_counts_from_start_position_and_end(files: SnapshotFiles) -> None:
    with dmsnap.open_snapshot(files.cow, files.origin) as snapshot:
        assert snapshot.seek(-10, os.SEEK_END) == len(files.content) - 10
        assert snapshot.read() == files.content[-10:]
        assert snapshot.seek(-5, os.SEEK_CUR) == len(files.content) - 5
        assert snapshot.seek(100, os.SEEK_END) == len(files.content) + 100
        assert snapshot.read(1) == b""
        for offset, whence in ((-1, os.SEEK_SET), (-1000, 7)):
            with pytest.raises(ValueError, match=r"negative|whence"):
                snapshot.seek(offset, whence)


def test_readinto_fills_what_it_can(files: SnapshotFiles) -> None:
    with dmsnap.open_snapshot(files.cow, files.origin) as snapshot:
        snapshot.seek(-7, os.SEEK_END)
        buffer = bytearray(10)
        assert snapshot.readinto(buffer) == 7
        assert buffer == files.content[-7:] + bytes(3)


def test_it_can_be_buffered_and_copied(files: SnapshotFiles) -> None:
    with io.BufferedReader(dmsnap.open_snapshot(files.cow, files.origin)) as buffered:  # type: ignore[arg-type]
        buffered.seek(3 * CHUNK + 5)
        assert buffered.read(9000) == files.content[3 * CHUNK + 5 :][:9000]
        buffered.seek(0)
        copy = io.BytesIO()
        shutil.copyfileobj(buffered, copy)
        assert copy.getvalue() == files.content


def test_closing_it_closes_what_it_opened_and_nothing_else(files: SnapshotFiles) -> None:
    before = open_descriptors()
    with FileDevice(files.origin) as origin:
        snapshot = dmsnap.open_snapshot(files.cow, origin)
        snapshot.close()
        snapshot.close()
        assert not origin.closed
        for use in (snapshot.read, snapshot.tell, lambda: snapshot.seek(0), lambda: snapshot.readinto(bytearray(1))):
            with pytest.raises(DeviceClosed):
                use()
    assert open_descriptors() == before


def test_devices_serve_as_well_as_paths(files: SnapshotFiles) -> None:
    cow, origin = MemoryDevice(files.cow.read_bytes()), MemoryDevice(files.origin.read_bytes())
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        assert snapshot.read() == files.content
    assert not cow.closed


def test_both_parts_may_lie_in_one_image(files: SnapshotFiles, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(files.cow.read_bytes() + files.origin.read_bytes())
    size = files.cow.stat().st_size
    with FileDevice(image) as one, FileDevice(image) as two:
        cow, origin = SliceDevice(one, 0, size), SliceDevice(two, size, len(files.content))
        with dmsnap.open_snapshot(cow, origin) as snapshot:
            assert snapshot.read() == files.content


@pytest.mark.parametrize("name", ["snap.cow", "hard.cow", "soft.cow"])
def test_the_store_cannot_be_its_own_origin(name: str, files: SnapshotFiles, tmp_path: Path) -> None:
    (tmp_path / "hard.cow").hardlink_to(files.cow)
    (tmp_path / "soft.cow").symlink_to(files.cow)
    before = open_descriptors()
    with pytest.raises(dmsnap.DmsnapError, match="COW device cannot be the same as origin device"):
        dmsnap.open_snapshot(files.cow, tmp_path / name)
    assert open_descriptors() == before


def test_without_a_mode_it_only_reads(files: SnapshotFiles) -> None:
    with dmsnap.open_snapshot(files.cow, files.origin) as snapshot:
        assert snapshot.readable()
        assert snapshot.seekable()
        assert not snapshot.writable()
        with pytest.raises(io.UnsupportedOperation):
            snapshot.fileno()


def test_looking_changes_nothing(files: SnapshotFiles, tmp_path: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (files.cow, files.origin)}
    for path in before:
        path.chmod(0o444)
    with dmsnap.open_snapshot(files.cow, files.origin) as snapshot:
        snapshot.read()
    dmsnap.info(files.cow, origin=files.origin)
    dmsnap.status(files.cow)
    dmsnap.table(files.cow, files.origin)
    list(dmsnap.map_changes(files.cow))
    dmsnap.export(files.cow, files.origin, tmp_path / "out.img")
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
