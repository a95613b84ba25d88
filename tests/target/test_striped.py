"""Chunks dealt out to several devices, as dm-stripe deals them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from dmsnap.block import BadRequest, BlockDevice, Extent, ExtentKind, FileDevice, MemoryDevice
from dmsnap.block.wrap import SliceDevice, StatsDevice
from dmsnap.target.striped import StripedDevice
from dmsnap.testing.device_contract import SIZE
from dmsnap.testing.writable_device_contract import WritableDeviceContract


def striped(content: bytes, stripes: list[BlockDevice], chunk: int) -> StripedDevice:
    """A striped device with a content that was dealt out here, not by it."""
    for number, start in enumerate(range(0, len(content), chunk)):
        stripes[number % len(stripes)].write_at(number // len(stripes) * chunk, content[start : start + chunk])
    return StripedDevice(stripes, chunk)


class TestTwoStripes(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return striped(content, [MemoryDevice(len(content) // 2) for _ in range(2)], 4096)

    def make_read_only(self, content: bytes) -> BlockDevice:
        halves = [b"".join(content[at : at + 4096] for at in range(start, SIZE, 8192)) for start in (0, 4096)]
        return StripedDevice([MemoryDevice(half, read_only=True) for half in halves], 4096)


class TestFourStripesOfSectors(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return striped(content, [MemoryDevice(len(content) // 4) for _ in range(4)], 512)


class TestAChunkThatIsNoPowerOfTwo(WritableDeviceContract):
    """Three stripes of chunks of 1.5 KiB, seen through a slice since 128 KiB cannot be dealt out evenly."""

    def make(self, content: bytes) -> BlockDevice:
        whole = content + bytes(-len(content) % 4608)
        return SliceDevice(striped(whole, [MemoryDevice(len(whole) // 3) for _ in range(3)], 1536), 0, len(content))


class TestStripesThatReadInThreads(WritableDeviceContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self._paths = (tmp_path / f"stripe-{number}" for number in itertools.count())

    def make(self, content: bytes) -> BlockDevice:
        stripes: list[BlockDevice] = []
        for path in itertools.islice(self._paths, 2):
            path.write_bytes(bytes(len(content) // 2))
            device = FileDevice(path, writable=True)
            device._nowait, device._to_threads = 0, 1 << 60
            stripes.append(device)
        return striped(content, stripes, 8192)


def test_one_stripe_is_the_device_itself() -> None:
    content = random.Random(1).randbytes(8192)
    assert StripedDevice([MemoryDevice(content)], 512).read_at(0, 8192) == content


@pytest.mark.parametrize(
    ("sizes", "chunk"), [([8192, 4096], 4096), ([6144, 6144], 4096), ([], 4096), ([4096], 0)], ids=str
)
def test_stripes_that_do_not_fit_together_are_refused(sizes: list[int], chunk: int) -> None:
    with pytest.raises(BadRequest, match="do not make a device"):
        StripedDevice([MemoryDevice(size) for size in sizes], chunk)


def test_a_range_is_discarded_with_one_request_to_each_stripe() -> None:
    stripes = [StatsDevice(MemoryDevice(b"\1" * 65536)) for _ in range(3)]
    whole = StripedDevice(stripes, 4096)
    whole.discard(4096 + 512, 10 * 4096)
    assert [stripe.discards.requests for stripe in stripes] == [1, 1, 1]
    assert whole.read_at(0, 4096 + 512) == b"\1" * 4608
    assert whole.read_at(11 * 4096 + 512, 4096) == b"\1" * 4096


def test_extents_of_many_chunks_are_few_questions() -> None:
    stripes = [MemoryDevice(1 << 40) for _ in range(4)]
    for stripe in stripes:
        stripe.write_at(0, b"\1" * 8192)
    stripes[2].write_at(1 << 30, b"\1" * 4096)
    whole = StripedDevice(stripes, 4096)
    assert list(whole.extents(0, whole.size_bytes)) == [
        Extent(0, 32768, ExtentKind.DATA),
        Extent(32768, (1 << 32) + 8192 - 32768, ExtentKind.HOLE),
        Extent((1 << 32) + 8192, 4096, ExtentKind.DATA),
        Extent((1 << 32) + 12288, (1 << 42) - (1 << 32) - 12288, ExtentKind.HOLE),
    ]
    assert [extent.length for extent in whole.extents((1 << 32) + 512, 8192)] == [7680, 512]
