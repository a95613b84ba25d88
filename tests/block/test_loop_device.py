"""A real block device (a loop device over a file) keeps the device contract. Needs root and losetup."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmsnap.block import BlockDevice, FileDevice
from dmsnap.testing import need, need_tool
from dmsnap.testing.writable_device_contract import WritableDeviceContract


class TestLoopDevice(WritableDeviceContract):
    block = 512

    @pytest.fixture(autouse=True)
    def _loops(self, tmp_path: Path) -> Iterator[None]:
        self.losetup = need_tool("losetup")
        need(os.geteuid() == 0, "loop devices need root")
        need(Path("/dev/loop-control").exists(), "loop devices need /dev/loop-control")
        self.paths = (tmp_path / f"backing-{number}.img" for number in itertools.count())
        self.attached: list[str] = []
        yield
        for loop in self.attached:
            subprocess.run([self.losetup, "--detach", loop], check=True)

    def attach(self, content: bytes) -> str:
        backing = next(self.paths)
        backing.write_bytes(content)
        command = [self.losetup, "--find", "--show", f"--sector-size={self.block}", str(backing)]
        loop = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        self.attached.append(loop)
        return loop

    def make(self, content: bytes) -> BlockDevice:
        return FileDevice(self.attach(content), writable=True)

    def make_read_only(self, content: bytes) -> BlockDevice:
        return FileDevice(self.attach(content))

    def test_has_the_size_and_block_size_of_the_kernel(self) -> None:
        with FileDevice(self.attach(bytes(40960))) as device:
            assert device.logical_block_size_bytes == self.block
            assert device.size_bytes == device.file_bytes == 40960


class TestLoopDeviceOf4KiBBlocks(TestLoopDevice):
    block = 4096
