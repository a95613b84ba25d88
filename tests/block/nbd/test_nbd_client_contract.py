"""A disk behind a real NBD server keeps the device contract."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmsnap.block import BlockDevice
from dmsnap.block.nbd.device import NbdDevice
from dmsnap.testing import need_tool
from dmsnap.testing.writable_device_contract import WritableDeviceContract


class NbdContract(WritableDeviceContract):
    @pytest.fixture(autouse=True)
    def _servers(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        self.request = request
        self.paths = (tmp_path / f"disk-{number}" for number in itertools.count())
        self.opened: list[BlockDevice] = []
        yield
        for device in self.opened:
            device.close()

    def serve(self, path: Path) -> str:
        raise NotImplementedError

    def address(self, content: bytes) -> str:
        path = next(self.paths)
        path.write_bytes(content)
        return self.serve(path)

    def opened_device(self, content: bytes, *, writable: bool) -> BlockDevice:
        device = NbdDevice(self.address(content), writable=writable)
        self.opened.append(device)
        return device

    def make(self, content: bytes) -> BlockDevice:
        return self.opened_device(content, writable=True)

    def make_read_only(self, content: bytes) -> BlockDevice:
        return self.opened_device(content, writable=False)


class TestNbdkitFile(NbdContract):
    def serve(self, path: Path) -> str:
        return str(self.request.getfixturevalue("nbdkit")("file", path))


class TestNbdkitWithoutZeroOrExtents(NbdContract):
    """Zeros are written."""

    def serve(self, path: Path) -> str:
        filters = ("--filter=nozero", "--filter=noextents", "--filter=nocache")
        return str(self.request.getfixturevalue("nbdkit")(*filters, "file", path, "cachemode=none"))


class TestNbdkitWithSimpleReplies(NbdContract):
    def serve(self, path: Path) -> str:
        return str(self.request.getfixturevalue("nbdkit")("--no-sr", "file", path))


class TestNbdkitWithBlocksOf4KiB(NbdContract):
    """And requests of at most 16 KiB; whatever else is asked for fails."""

    def serve(self, path: Path) -> str:
        sizes = ("blocksize-minimum=4096", "blocksize-preferred=8192", "blocksize-maximum=16384")
        policy = ("--filter=blocksize-policy", "file", path, *sizes, "blocksize-error-policy=error")
        return str(self.request.getfixturevalue("nbdkit")(*policy))


class TestQemuNbdRaw(NbdContract):
    def serve(self, path: Path) -> str:
        return str(self.request.getfixturevalue("qemu_nbd")("--format=raw", "--discard=unmap", path))


class TestQemuNbdQcow2(NbdContract):
    """With depths of allocation told, over a backing file that shines through."""

    def serve(self, path: Path) -> str:
        overlay = path.with_suffix(".qcow2")
        make = [need_tool("qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw", "-b", path, overlay]
        subprocess.run(make, check=True)
        options = ("--format=qcow2", "--allocation-depth", "--discard=unmap")
        return str(self.request.getfixturevalue("qemu_nbd")(*options, overlay))
