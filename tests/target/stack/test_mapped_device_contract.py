"""A mapped device keeps the device contract, whatever its table."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from dmsnap.block import BlockDevice, FileDevice, MemoryDevice
from dmsnap.target.stack import Stack
from dmsnap.testing.writable_device_contract import WritableDeviceContract


class OfTable(WritableDeviceContract):
    """Devices of one table; what lies below is in memory."""

    table = ""
    __test__ = False

    def below(self, name: str) -> BlockDevice:
        """A device that the table names."""
        return MemoryDevice(1 << 20, name=name)

    def make(self, content: bytes) -> BlockDevice:
        devices: dict[str, BlockDevice] = {}
        stack = Stack(lambda name: devices.setdefault(name, self.below(name)))
        sectors = len(content) // 512
        stack.create("filled", self.table.format(sectors=sectors, half=sectors // 2))
        stack.device("filled").write_at(0, content)
        return stack.device("filled")

    def make_read_only(self, content: bytes) -> BlockDevice:
        base = MemoryDevice(content)
        return Stack({"base": base}.__getitem__).create("it", f"0 {len(content) // 512} linear base 0", read_only=True)


class TestLinear(OfTable):
    table = "0 {sectors} linear base 3"
    __test__ = True


class TestStripedTable(OfTable):
    table = "0 {sectors} striped 2 8 one 1 two 0"
    __test__ = True


class TestManyTargets(OfTable):
    table = "0 1 linear one 7\n1 15 linear two 0\n16 {half} striped 4 2 one 16 two 16 three 0 one 600\n"
    __test__ = True

    def make(self, content: bytes) -> BlockDevice:
        rest = len(content) // 512 - 16 - len(content) // 1024
        self.table = f"{type(self).table}{16 + len(content) // 1024} {rest} linear three 512"
        return super().make(content)


class TestOnTopOfOthers(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        sectors = len(content) // 512
        stack = Stack({"base": MemoryDevice(bytes(512) + content)}.__getitem__)
        stack.create("below", f"0 {sectors + 1} linear base 0")
        stack.create("above", f"0 {sectors} linear /dev/mapper/below 1")
        return stack.create("top", f"0 8 linear above 0\n8 {sectors - 8} linear above 8")


class TestLargeBlocks(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        base = MemoryDevice(content, logical_block_size_bytes=4096)
        return Stack({"base": base}.__getitem__).create("it", f"0 {len(content) // 512} linear base 0")


class TestReadsInThreads(OfTable):
    table = "0 8 linear one 0\n8 {half} striped 2 8 one 64 two 64\n"
    __test__ = True

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._paths = (tmp_path / f"disk-{number}" for number in itertools.count())

    def below(self, name: str) -> BlockDevice:
        path = next(self._paths)
        path.write_bytes(bytes(1 << 20))
        device = FileDevice(path, writable=True)
        device._nowait, device._to_threads = 0, 1 << 60
        return device

    def make(self, content: bytes) -> BlockDevice:
        half = len(content) // 1024
        self.table = f"{type(self).table}{8 + half} {half - 8} linear two 1024"
        return super().make(content)
