"""Devices one after another, as a table of several linear lines makes them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from dmsnap.block import BadRequest, BlockDevice, Extent, ExtentKind, FileDevice, IOFailed, MemoryDevice
from dmsnap.block.wrap import StatsDevice
from dmsnap.target.concatenated import ConcatenatedDevice
from dmsnap.target.error import ErrorDevice
from dmsnap.target.zero import ZeroDevice
from dmsnap.testing.writable_device_contract import WritableDeviceContract


def cut(content: bytes, sizes: list[int]) -> list[bytes]:
    """A content in parts of these sizes, and a last one with the rest."""
    starts = list(itertools.accumulate(sizes, initial=0))
    return [content[start:stop] for start, stop in itertools.pairwise([*starts, len(content)])]


class TestThreeParts(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return ConcatenatedDevice([MemoryDevice(part) for part in cut(content, [4096, 512])])

    def make_read_only(self, content: bytes) -> BlockDevice:
        return ConcatenatedDevice([MemoryDevice(part, read_only=True) for part in cut(content, [8192])])


class TestManyPartsAndEmptyOnes(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return ConcatenatedDevice([MemoryDevice(part) for part in cut(content, [0, *[1024] * 50, 0])])


class TestPartsThatReadInThreads(WritableDeviceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._paths = (tmp_path / f"part-{number}" for number in itertools.count())

    def make(self, content: bytes) -> BlockDevice:
        parts: list[BlockDevice] = []
        for path, part in zip(self._paths, cut(content, [20480]), strict=False):
            path.write_bytes(part)
            device = FileDevice(path, writable=True)
            device._nowait, device._to_threads = 0, 1 << 60
            parts.append(device)
        return ConcatenatedDevice(parts)


def test_a_read_over_parts_is_one_batch_for_each_part() -> None:
    parts = [StatsDevice(MemoryDevice(random.Random(1).randbytes(4096))) for _ in range(3)]
    whole = ConcatenatedDevice(parts)
    buffers = [memoryview(bytearray(8192)), memoryview(bytearray(1024))]
    for completion in whole.start_reads([(2048, buffers[0]), (4096, buffers[1])]):
        completion.wait()
    assert [part.reads.requests for part in parts] == [1, 2, 1]
    assert buffers[0] == b"".join(part.read_at(0, 4096) for part in parts)[2048:10240]


def test_extents_go_on_over_the_border_of_parts_that_hold_the_same() -> None:
    whole = ConcatenatedDevice([ZeroDevice(4096), ZeroDevice(4096), MemoryDevice(b"\1" * 4096)])
    assert list(whole.extents(512, 9728)) == [
        Extent(512, 7680, ExtentKind.HOLE),
        Extent(8192, 2048, ExtentKind.DATA),
    ]


def test_a_part_that_fails_leaves_the_others_readable() -> None:
    whole = ConcatenatedDevice([MemoryDevice(b"\1" * 4096), ErrorDevice(4096)])
    assert whole.read_at(0, 4096) == b"\1" * 4096
    with pytest.raises(IOFailed):
        whole.read_at(3584, 1024)


@pytest.mark.parametrize("sizes", [[], [4096, 100]], ids=str)
def test_parts_that_do_not_fit_together_are_refused(sizes: list[int]) -> None:
    with pytest.raises(BadRequest, match="do not make a device"):
        ConcatenatedDevice([ZeroDevice(size) for size in sizes])


def test_the_largest_logical_block_size_is_the_whole_devices() -> None:
    small, large = ZeroDevice(8192), ZeroDevice(8192)
    large.logical_block_size_bytes = 4096
    assert ConcatenatedDevice([small, large]).logical_block_size_bytes == 4096


def test_closing_it_closes_its_parts() -> None:
    parts = [ZeroDevice(4096), ZeroDevice(4096)]
    ConcatenatedDevice(parts).close()
    assert all(part.closed for part in parts)
