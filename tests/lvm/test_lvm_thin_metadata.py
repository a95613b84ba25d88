"""How full thin pools and volumes are, as the pools' own metadata say; real ones are in the recorded cases."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from dmsnap.block import MemoryDevice
from dmsnap.lvm.thin_metadata import ThinUsage, thin_pool_usage
from dmsnap.lvm.usage import percent_of

LEAF, INTERNAL = 2, 1


def node(block: int, flags: int, values: Mapping[int, int], *, size: int = 8, most: int = 100) -> bytes:
    """A node of the tree."""
    header = struct.pack("<4xIQIII4x", flags, block, len(values), most, size)
    keys = struct.pack(f"<{len(values)}Q", *values).ljust(8 * min(most, 200), b"\0")
    return (
        header + keys + b"".join(struct.pack("<Q", value).ljust(min(size, 64), b"\0") for value in values.values())
    ).ljust(4096, b"\0")


def superblock(*, magic: int = 27022010, blocks: int = 32, used: int = 9, root: int = 1) -> bytes:
    """Block 0."""
    data = bytearray(4096)
    for at, value in ((32, magic), (64, blocks), (72, used), (328, root)):
        struct.pack_into("<Q", data, at, value)
    return bytes(data)


TREE = (
    node(1, INTERNAL, {1: 2, 10: 3}),
    node(2, LEAF, {1: 4, 5: 6}, size=24),
    node(3, LEAF, {10: 7, 1 << 23: 0}, size=24),
)


def usage(first: bytes, *nodes: bytes, numbers: set[int]) -> ThinUsage | None:
    """What metadata of these blocks say."""
    return thin_pool_usage(MemoryDevice(b"".join((first, *nodes))), numbers)


def test_a_pool_tells_its_blocks_and_those_of_its_volumes() -> None:
    numbers = {1, 5, 10, 1 << 23}
    assert usage(superblock(), *TREE, numbers=numbers) == ThinUsage(32, 9, {1: 4, 5: 6, 10: 7, 1 << 23: 0})


def test_volumes_that_the_pool_does_not_know_are_left_out() -> None:
    assert usage(superblock(), *TREE, numbers={0, 2, 7, 11, 1 << 60}) == ThinUsage(32, 9, {})


@pytest.mark.parametrize("first", [superblock(magic=1), superblock(blocks=0), superblock(used=33), bytes(512)])
def test_what_is_no_metadata_tells_nothing(first: bytes) -> None:
    assert usage(first, numbers={1}) is None


@pytest.mark.parametrize(
    "damaged",
    [
        node(1, INTERNAL, {1: 1}),  # a ring
        node(1, INTERNAL, {1: 9}),
        node(1, INTERNAL, {1: 0}),
        node(7, LEAF, {1: 4}),
        node(1, LEAF, {}),
        node(1, LEAF, {1: 4}, most=0),
        node(1, LEAF, {1: 4}, most=1 << 31),
        node(1, LEAF, {1: 4}, size=4096),
        node(1, LEAF, {1: 4}, size=0),
    ],
)
def test_a_damaged_tree_tells_of_the_pool_alone(damaged: bytes) -> None:
    assert usage(superblock(), damaged, numbers={1}) == ThinUsage(32, 9, {})


def test_percents_are_as_lvs_rounds_them() -> None:
    assert [percent_of(part, 1 << 40) for part in (0, 1, 1 << 39, (1 << 40) - 1, 1 << 40)] == [
        "0.00", "0.01", "50.00", "99.99", "100.00",
    ]  # fmt: skip
