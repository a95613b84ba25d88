"""Holes in files: seen, made, and done without."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dmsnap.block import Extent, ExtentKind, FileDevice
from dmsnap.block import file as file_module
from dmsnap.block.positioned import punch_hole
from dmsnap.testing import need

DATA, HOLE = ExtentKind.DATA, ExtentKind.HOLE
MIB = 1 << 20


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """4 MiB with data only in [1 MiB, 1 MiB + 64 KiB) and [3 MiB, 3 MiB + 64 KiB)."""
    path = tmp_path / "sparse.img"
    with path.open("wb") as file:
        file.truncate(4 * MIB)
        for offset in (MIB, 3 * MIB):
            file.seek(offset)
            file.write(b"\x01" * 65536)
    need(hasattr(os, "SEEK_DATA"), "the system cannot tell holes from data")
    need(path.stat().st_blocks * 512 <= MIB, "the filesystem of the temporary folder has no sparse files")
    return path


def test_a_sparse_file_shows_its_holes(sparse: Path) -> None:
    with FileDevice(sparse) as device:
        assert list(device.extents(0, 4 * MIB)) == [
            Extent(0, MIB, HOLE),
            Extent(MIB, 65536, DATA),
            Extent(MIB + 65536, 2 * MIB - 65536, HOLE),
            Extent(3 * MIB, 65536, DATA),
            Extent(3 * MIB + 65536, MIB - 65536, HOLE),
        ]


def test_extents_are_bounded_by_the_range_asked_for(sparse: Path) -> None:
    with FileDevice(sparse) as device:
        assert list(device.extents(MIB + 512, 1024)) == [Extent(MIB + 512, 1024, DATA)]
        assert list(device.extents(512, 1024)) == [Extent(512, 1024, HOLE)]
        assert list(device.extents(MIB - 512, 1024)) == [Extent(MIB - 512, 512, HOLE), Extent(MIB, 512, DATA)]


def test_extents_are_found_one_at_a_time(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileDevice(sparse) as device:
        questions = []
        true_lseek = os.lseek
        monkeypatch.setattr(file_module.os, "lseek", lambda *ask: questions.append(ask) or true_lseek(*ask))
        extents = device.extents(0, 4 * MIB)
        next(extents)
        assert sum(whence == os.SEEK_HOLE for _, _, whence in questions) <= 1


def test_holes_of_no_whole_sector_are_data(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Linux filesystem has them, but a device must answer in blocks whatever the medium says."""
    data, holes = [700, 2600], [1500, 4096]  # data in [700, 1500) and [2600, 4096)

    def lseek(fd: int, position: int, whence: int) -> int:
        inside = any(first <= position < last for first, last in zip(data, holes, strict=True))
        if inside == (whence == os.SEEK_DATA):
            return position
        later = [edge for edge in (data if whence == os.SEEK_DATA else holes) if edge >= position]
        if not later:
            raise OSError(errno.ENXIO, "no more")
        return later[0]

    with FileDevice(path) as device:
        monkeypatch.setattr(file_module.os, "lseek", lseek)
        assert list(device.extents(0, 8192)) == [
            Extent(0, 512, HOLE),
            Extent(512, 1024, DATA),
            Extent(1536, 1024, HOLE),
            Extent(2560, 1536, DATA),
            Extent(4096, 4096, HOLE),
        ]


def test_a_medium_that_knows_no_holes_is_one_piece_of_data(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_lseek = os.lseek

    def lseek(fd: int, position: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return true_lseek(fd, position, whence)

    with FileDevice(sparse) as device:
        monkeypatch.setattr(file_module.os, "lseek", lseek)
        assert list(device.extents(0, 4 * MIB)) == [Extent(0, 4 * MIB, DATA)]
        monkeypatch.delattr(file_module.os, "SEEK_DATA")
        assert list(device.extents(512, MIB)) == [Extent(512, MIB, DATA)]


def test_zero_and_discard_give_storage_back(sparse: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe.img"
    probe.write_bytes(b"\x01" * 65536)
    with probe.open("r+b") as file:
        need(punch_hole(file.fileno(), 0, 65536), "the filesystem of the temporary folder cannot punch holes")
    with FileDevice(sparse, writable=True) as device:
        device.zero(MIB, 65536)
        device.discard(3 * MIB, 65536)
        device.flush()
        assert list(device.extents(0, 4 * MIB)) == [Extent(0, 4 * MIB, HOLE)]
        assert sparse.stat().st_size == 4 * MIB


def test_zero_writes_where_no_hole_can_be_punched(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "punch_hole", lambda *_: False)
    with FileDevice(path, writable=True) as device:
        device.zero(512, 60000 & -512)
        device.discard(0, 512)  # nothing to give back; not an error
        assert path.read_bytes() == bytes(range(256)) * 2 + bytes(59904) + (bytes(range(256)) * 256)[512 + 59904 :]
