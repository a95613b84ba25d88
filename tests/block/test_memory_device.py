"""What is particular to memory: it is sparse, so that its size costs nothing."""

from __future__ import annotations

import tracemalloc

import pytest

from dmsnap.block import BadRequest, Extent, ExtentKind, MemoryDevice

DATA, HOLE = ExtentKind.DATA, ExtentKind.HOLE
TIB = 1 << 40


def test_a_device_of_16_tib_costs_what_was_written() -> None:
    tracemalloc.start()
    device = MemoryDevice(16 * TIB)
    device.write_at(9 * TIB, b"\x01" * 8192)
    assert list(device.extents(0, 16 * TIB)) == [
        Extent(0, 9 * TIB, HOLE),
        Extent(9 * TIB, 8192, DATA),
        Extent(9 * TIB + 8192, 7 * TIB - 8192, HOLE),
    ]
    device.zero(512, 16 * TIB - 1024)
    assert list(device.extents(0, 16 * TIB)) == [Extent(0, 16 * TIB, HOLE)]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_pages_of_zeros_in_the_content_are_holes() -> None:
    device = MemoryDevice(b"\x01" * 4096 + bytes(8192) + b"\x02" * 512)
    assert list(device.extents(0, 12800)) == [Extent(0, 4096, DATA), Extent(4096, 8192, HOLE), Extent(12288, 512, DATA)]


def test_zeroing_a_part_of_a_page_keeps_the_page() -> None:
    device = MemoryDevice(b"\x01" * 8192)
    device.zero(512, 4096)
    assert device.read_at(0, 8192) == b"\x01" * 512 + bytes(4096) + b"\x01" * 3584
    assert list(device.extents(0, 8192)) == [Extent(0, 8192, DATA)]


def test_the_content_is_copied() -> None:
    content = bytearray(b"\x01" * 4096)
    device = MemoryDevice(content)
    content[:] = bytes(4096)
    assert device.read_at(0, 4096) == b"\x01" * 4096


def test_the_size_is_whole_blocks() -> None:
    for size_or_bytes, block in ((513, 512), (b"abc", 512), (-512, 512), (4608, 4096), (1536, 768), (512, 0)):
        with pytest.raises(BadRequest):
            MemoryDevice(size_or_bytes, logical_block_size_bytes=block)


def test_it_does_not_shrink() -> None:
    device = MemoryDevice(8192)
    with pytest.raises(BadRequest, match="use at least 8192"):
        device.grow(4096)
