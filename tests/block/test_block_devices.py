"""Every device and every wrapper keeps the device contract."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from dmsnap.block import BlockDevice, FileDevice, MemoryDevice, positioned
from dmsnap.block import file as file_module
from dmsnap.block.wrap import DelayDevice, FaultDevice, LogDevice, ReadOnlyWrapper, SliceDevice, StatsDevice, Wrapper
from dmsnap.testing.device_contract import CONTENT, DeviceContract, GrowingDevice
from dmsnap.testing.writable_device_contract import WritableDeviceContract


class InFolder:
    """Gives a test a folder and new names in it."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._paths = (tmp_path / f"device-{number}.img" for number in itertools.count())

    def new_file(self, content: bytes) -> Path:
        path = next(self._paths)
        path.write_bytes(content)
        return path


class TestFileDevice(InFolder, WritableDeviceContract, GrowingDevice):
    def make(self, content: bytes) -> BlockDevice:
        return FileDevice(self.new_file(content), writable=True)

    def make_read_only(self, content: bytes) -> BlockDevice:
        return FileDevice(self.new_file(content))

    def grow(self, device: BlockDevice, size_bytes: int) -> None:
        os.truncate(device.name, size_bytes)


class TestFileDeviceWhereThePageCacheCannotBeAsked(TestFileDevice):
    @pytest.fixture(autouse=True)
    def _no_nowait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file_module, "_RWF_NOWAIT", 0)


class TestFileDeviceWhereTheSystemOnlySeeks(TestFileDevice):
    """As on Windows: no reads at an offset, no holes."""

    @pytest.fixture(autouse=True)
    def _only_seek(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file_module, "_RWF_NOWAIT", 0)
        monkeypatch.setattr(file_module, "preadv", positioned._seek_and_readv)
        monkeypatch.setattr(file_module, "pwrite", positioned._seek_and_write)
        monkeypatch.setattr(file_module, "punch_hole", lambda *_: False)
        monkeypatch.delattr(file_module.os, "SEEK_DATA")


class TestFileDeviceWhereEveryReadGoesToTheThreads(TestFileDevice):
    def make(self, content: bytes) -> BlockDevice:
        device = FileDevice(self.new_file(content), writable=True)
        device._nowait, device._to_threads = 0, 1 << 60
        return device


class TestMemoryDevice(WritableDeviceContract, GrowingDevice):
    def make(self, content: bytes) -> BlockDevice:
        return MemoryDevice(content)

    def make_read_only(self, content: bytes) -> BlockDevice:
        return MemoryDevice(content, read_only=True)

    def grow(self, device: BlockDevice, size_bytes: int) -> None:
        assert isinstance(device, MemoryDevice)
        device.grow(size_bytes)


class TestMemoryDeviceOfSingleBytes(TestMemoryDevice):
    def make(self, content: bytes) -> BlockDevice:
        return MemoryDevice(content, logical_block_size_bytes=1)


class TestMemoryDeviceOf4KiBBlocks(TestMemoryDevice):
    def make(self, content: bytes) -> BlockDevice:
        return MemoryDevice(content, logical_block_size_bytes=4096)


class TestReadOnlyDeviceFromTheStart(DeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return MemoryDevice(content, read_only=True)


class TestWrapper(WritableDeviceContract, GrowingDevice):
    def make(self, content: bytes) -> BlockDevice:
        return Wrapper(MemoryDevice(content))

    def grow(self, device: BlockDevice, size_bytes: int) -> None:
        assert isinstance(device, Wrapper)
        assert isinstance(device.device, MemoryDevice)
        device.device.grow(size_bytes)


class TestLogDevice(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return LogDevice(MemoryDevice(content), limit=100)


class TestStatsDevice(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return StatsDevice(MemoryDevice(content))


class TestDelayDevice(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return DelayDevice(MemoryDevice(content), 0.0002)


class TestFaultDeviceWithoutFaults(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return FaultDevice(MemoryDevice(content))


class TestReadOnlyWrapper(DeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return ReadOnlyWrapper(MemoryDevice(content))


class TestSliceDevice(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return SliceDevice(MemoryDevice(bytes(1536) + content + b"\xff" * 1024), 1536, len(content))


class TestStackOnAFile(InFolder, WritableDeviceContract):
    """All of them at once, over reads that really are asynchronous."""

    def make(self, content: bytes) -> BlockDevice:
        device = FileDevice(self.new_file(bytes(512) + content), writable=True)
        device._nowait, device._to_threads = 0, 1 << 60
        slow = DelayDevice(StatsDevice(device), 0.0001)
        return LogDevice(FaultDevice(SliceDevice(slow, 512, len(content))))


def test_the_content_of_the_contract_has_a_hole_between_data() -> None:
    kinds = [extent.kind.value for extent in MemoryDevice(CONTENT).extents(0, len(CONTENT))]
    assert kinds == ["data", "hole", "data"]
