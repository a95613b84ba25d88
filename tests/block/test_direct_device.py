"""Reads past the page cache: the same bytes, whatever the alignment, and truly from the medium."""

from __future__ import annotations

import itertools
import mmap
import os
import random
from pathlib import Path

import pytest

from dmsnap.block import BlockDevice, FileDevice, direct
from dmsnap.block.direct import CacheBypass, DirectDevice
from dmsnap.testing import need
from dmsnap.testing.device_contract import GrowingDevice

CONTENT = random.Random(4).randbytes(64 << 10)


class TestDirectDevice(GrowingDevice):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._paths = (tmp_path / f"device-{number}.img" for number in itertools.count())

    def make(self, content: bytes) -> BlockDevice:
        path = next(self._paths)
        path.write_bytes(content)
        return DirectDevice(path)

    def grow(self, device: BlockDevice, size_bytes: int) -> None:
        os.truncate(device.name, size_bytes)


class TestDirectDeviceWhereTheFilesystemRefuses(TestDirectDevice):
    @pytest.fixture(autouse=True)
    def _no_direct_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct, "ALIGNMENTS_BYTES", ())


class TestDirectDeviceOfBlocksOf4096(TestDirectDevice):
    @pytest.fixture(autouse=True)
    def _larger_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct, "ALIGNMENTS_BYTES", (4096,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "medium.img"
    with path.open("wb") as out:
        out.write(CONTENT)
        os.fsync(out.fileno())
    return path


def cached_pages(path: Path) -> int:
    """How many pages of a file the page cache has, as mincore(2) says."""
    import ctypes

    size = path.stat().st_size
    pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as mapping:
        start = ctypes.c_char.from_buffer(mapping)
        failed = ctypes.CDLL(None, use_errno=True).mincore(ctypes.byref(start), ctypes.c_size_t(size), pages)
        del start
    assert not failed
    return sum(page & 1 for page in pages)


def drop_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_reading_fills_no_page_cache(path: Path) -> None:
    drop_cache(path)
    with DirectDevice(path) as device:
        bypassed = device.bypass is CacheBypass.DIRECT and not cached_pages(path)
        need(bypassed, "the temporary folder has no O_DIRECT, or does not let go of cached pages")
        assert device.read_at(0, len(CONTENT)) == CONTENT
        completion = device.start_read(512, memory := memoryview(bytearray(8192)))
        completion.wait()
        assert memory == CONTENT[512 : 512 + 8192]
    assert cached_pages(path) == 0
    with FileDevice(path) as cached:
        cached.read_at(0, len(CONTENT))
    assert cached_pages(path) == len(CONTENT) // mmap.PAGESIZE, "the measure must see a read that is cached"


def test_where_reads_cannot_be_direct_ranges_are_dropped_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "ALIGNMENTS_BYTES", ())
    dropped = []
    advise = os.posix_fadvise
    monkeypatch.setattr(os, "posix_fadvise", lambda *call: (dropped.append(call[1:]), advise(*call)))
    with DirectDevice(path) as device:
        assert device.bypass is CacheBypass.DROPPED
        assert device.read_at(4096, 512) == CONTENT[4096 : 4096 + 512]
    assert (4096, 512, os.POSIX_FADV_DONTNEED) in dropped


def test_a_system_without_either_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "ALIGNMENTS_BYTES", ())
    monkeypatch.delattr(os, "posix_fadvise")
    with DirectDevice(path) as device:
        assert device.bypass is CacheBypass.NONE
        assert device.read_at(0, 512) == CONTENT[:512]


@pytest.mark.parametrize("offset", [0, 512, 3584, 4096, 60 << 10])
@pytest.mark.parametrize("length", [512, 4096, 4608])
def test_any_sectors_can_be_read(offset: int, length: int, path: Path) -> None:
    length = min(length, len(CONTENT) - offset)
    with DirectDevice(path) as device:
        assert device.read_at(offset, length) == CONTENT[offset : offset + length]


def test_a_long_read_is_made_of_bounded_ones(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "MOST_AT_ONCE_BYTES", 8192)
    with DirectDevice(path) as device:
        assert device.read_at(512, 40 << 10) == CONTENT[512 : 512 + (40 << 10)]


def test_many_reads_are_under_way_at_once(path: Path) -> None:
    with DirectDevice(path) as device:
        buffers = [memoryview(bytearray(512)) for _ in range(128)]
        completions = device.start_reads([(number * 512, buffer) for number, buffer in enumerate(buffers)])
        for completion in completions:
            completion.wait()
        assert b"".join(buffers) == CONTENT
