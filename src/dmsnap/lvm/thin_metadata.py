"""How full a thin pool and its volumes are, as the pool's own metadata say.

Source: Linux dm-thin, since 3.2; all numbers little-endian, blocks of 4 KiB. Block 0 is the superblock::

    32  27022010, 64 bits     64  data blocks, 64 bits     72  those in use, 64 bits     328  root of the volumes

The volumes are a B+ tree, whose nodes are a block each: a header, the keys, and behind room for as many keys as there
can be the values. These are blocks of nodes below, or in a leaf (flag 2) what is known of the volume with this number;
its first 64 bits are how many blocks it maps::

    4  flags, 32 bits     8  own block, 64 bits     16  keys     20  most keys     24  bytes of a value, 32 bits each
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import NamedTuple

from dmsnap.block.contract import BlockDevice

__all__ = ["ThinUsage", "thin_pool_usage"]

_BLOCK = 4096
_MAGIC = 27022010
_NODE = struct.Struct("<4xIQIII4x")
_LEAF = 2
_MOST_LEVELS = 8
"""A tree of 2**24 volumes, which are the most that there can be, has three."""


class ThinUsage(NamedTuple):
    """Blocks of a pool.

    Attributes:
        blocks: In all.
        used: Those that some volume has, or had when the metadata were last written.
        mapped: Those that volumes have, each for itself, by the volumes' numbers.
    """

    blocks: int
    used: int
    mapped: dict[int, int]


def thin_pool_usage(metadata: BlockDevice, numbers: set[int]) -> ThinUsage | None:
    """Reads the usage of a pool and of some of its volumes; None where these are no metadata, or damaged ones.

    Args:
        metadata: The volume that holds them.
        numbers: Of the thin volumes that are asked for; those that the pool does not know are left out.

    Raises:
        IOFailed: They cannot be read.
    """
    if metadata.size_bytes < _BLOCK:
        return None
    block = metadata.read_at(0, _BLOCK)
    magic, blocks, used, root = (struct.unpack_from("<Q", block, at)[0] for at in (32, 64, 72, 328))
    if magic != _MAGIC or not 0 < blocks < 1 << 63 or used > blocks:
        return None
    found = {number: _mapped(metadata, root, number) for number in sorted(numbers)}
    return ThinUsage(blocks, used, {number: count for number, count in found.items() if count is not None})


def _mapped(metadata: BlockDevice, block: int, number: int) -> int | None:
    """How many blocks the volume of a number maps, from the node in a block down."""
    for _ in range(_MOST_LEVELS):
        if not 0 < block < metadata.size_bytes // _BLOCK:
            return None
        node = metadata.read_at(block * _BLOCK, _BLOCK)
        flags, own, count, most, size = _NODE.unpack_from(node)
        if own != block or not 0 < count <= most or size < 8 or _NODE.size + most * (8 + size) > _BLOCK:
            return None
        keys = struct.unpack_from(f"<{count}Q", node, _NODE.size)
        index = bisect_right(keys, number) - 1
        if index < 0:
            return None
        (value,) = struct.unpack_from("<Q", node, _NODE.size + most * 8 + index * size)
        if flags & _LEAF:
            return int(value) if keys[index] == number else None
        block = value
    return None
