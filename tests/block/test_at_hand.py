"""Reads of what is in the page cache, which never wait."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dmsnap.block import FileDevice, MemoryDevice
from dmsnap.block.at_hand import read_at_hand
from dmsnap.block.direct import DirectDevice
from dmsnap.testing import need

CONTENT = bytes(range(256)) * 32
SECTOR = 512


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)  # and so it is in the page cache
    return path


def some_reads(count: int = 4) -> tuple[list[tuple[int, memoryview]], bytearray]:
    memory = bytearray(count * SECTOR)
    return [(2 * at * SECTOR, memoryview(memory)[at * SECTOR :][:SECTOR]) for at in range(count)], memory


def test_what_was_just_written_is_at_hand(path: Path) -> None:
    reads, memory = some_reads()
    with FileDevice(path) as device:
        device.start_read(0, memoryview(bytearray(SECTOR)))  # which finds out whether the page cache can be asked
        need(device._nowait, "the filesystem of the temporary folder does not know RWF_NOWAIT")
        assert read_at_hand(device, reads) == 4
    assert memory == b"".join(CONTENT[2 * at * SECTOR :][:SECTOR] for at in range(4))


def test_the_first_that_is_not_at_hand_ends_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, memory = some_reads()

    def preadv(fd: int, views: tuple[memoryview], offset: int, _flags: int) -> int:
        if offset == 4 * SECTOR:
            raise BlockingIOError
        return os.preadv(fd, views, offset)

    monkeypatch.setattr("dmsnap.block.at_hand.preadv", preadv)
    with FileDevice(path) as device:
        monkeypatch.setattr(device, "_nowait", 8)
        assert read_at_hand(device, reads) == 2
    assert bytes(memory[2 * SECTOR :]) == bytes(2 * SECTOR)


def test_a_read_that_is_cut_short_does_not_count(path: Path) -> None:
    reads, _ = some_reads(2)
    with FileDevice(path) as device:
        os.truncate(path, 2 * SECTOR + 100)
        assert read_at_hand(device, reads) <= 1


def test_where_the_page_cache_cannot_be_asked_nothing_is_at_hand(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileDevice(path) as device:
        monkeypatch.setattr(device, "_nowait", 0)
        assert read_at_hand(device, some_reads()[0]) == 0


def test_of_other_devices_nothing_is_at_hand(path: Path) -> None:
    assert read_at_hand(MemoryDevice(CONTENT), some_reads()[0]) == 0
    with DirectDevice(path) as device:
        assert read_at_hand(device, some_reads()[0]) == 0


def test_a_device_that_was_closed_has_nothing(path: Path) -> None:
    device = FileDevice(path)
    device.close()
    assert read_at_hand(device, some_reads()[0]) == 0
