"""Tables over devices of large logical blocks: what Linux 6.1 refuses (a disk of 4 KiB sectors was asked)."""

from __future__ import annotations

import pytest

from dmsnap.block import BadRequest, MemoryDevice
from dmsnap.target.stack import Stack, TableRefused


def a_stack() -> Stack:
    large = MemoryDevice(1 << 20, logical_block_size_bytes=4096, name="large")
    return Stack({"large": large, "small": MemoryDevice(1 << 20, name="small")}.__getitem__)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("0 8 linear large 1", "start=1 not aligned to h/w logical block size 4096 of large"),
        ("0 9 linear large 0", "len=9 not aligned to h/w logical block size 4096 of large"),
        ("0 7 zero\n7 9 linear large 0", "len=9 not aligned to h/w logical block size 4096 of large"),
        ("0 7 snapshot large small N 8", "len=7 not aligned to h/w logical block size 4096 of large"),
        (
            "0 7 zero\n7 8 linear large 0",
            "table line 1 (start sect 7 len 8) not aligned to h/w logical block size 4096",
        ),
        (
            "0 8 linear large 0\n8 7 zero",
            "table line 2 (start sect 8 len 7) not aligned to h/w logical block size 4096",
        ),
        (
            "0 8 linear large 0\n8 8 zero\n16 8 linear small 0\n24 7 linear small 0",
            "table line 4 (start sect 24 len 7) not aligned to h/w logical block size 4096",
        ),
        (
            "0 5 zero\n5 3 zero\n8 8 linear large 0\n16 5 error",
            "table line 4 (start sect 16 len 5) not aligned to h/w logical block size 4096",
        ),
        ("0 8 snapshot small large N 1", "snapshot: Couldn't create exception store"),
        ("0 8 snapshot large small N 1", "snapshot: Couldn't create exception store"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(table: str, words: str) -> None:
    with pytest.raises(TableRefused) as caught:
        a_stack().create("it", table)
    assert caught.value.words == words


@pytest.mark.parametrize(
    "table",
    [
        "0 9 zero",
        "0 8 zero\n8 8 linear large 0\n16 8 linear small 1",
        "0 5 error\n5 3 linear small 0\n8 8 linear large 0",
        "0 48 striped 2 12 small 0 large 0",
        "0 64 snapshot large small P 0",
        "0 64 snapshot small large P 0",
    ],
)
def test_blocks_that_fit_are_taken(table: str) -> None:
    stack = a_stack()
    device = stack.create("it", table)
    assert device.logical_block_size_bytes == (4096 if "large" in table else 512)


def test_requests_are_held_to_the_larger_block() -> None:
    device = a_stack().create("it", "0 8 linear small 0\n8 8 linear large 0")
    with pytest.raises(BadRequest, match="logical block size"):
        device.read_at(0, 512)
    assert device.read_at(0, 4096) == bytes(4096)


def test_another_table_brings_another_block_size() -> None:
    stack = a_stack()
    device = stack.create("it", "0 8 linear large 0")
    stack.load("it", "0 8 linear small 0")
    stack.resume("it")
    assert device.read_at(512, 512) == bytes(512)
