"""The superblock that a leg of a RAID volume has in its metadata volume (``_rmeta_0`` …).

Source: Linux dm-raid, since 3.1; all numbers little-endian::

    0   0x64526D44 ("DmRd")      4   features                   8   number of legs           12  which leg this is
    16  events, 64 bits          24  failed legs, a bit each    32  recovered up to sector   40  in sync up to sector

Both of the last are all ones when there is nothing left to be done.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dmsnap.block.contract import BlockDevice

__all__ = ["RaidSuperblock", "read_raid_superblock"]

_FIELDS = struct.Struct("<IIIIQQQQ")
_MAGIC = 0x64526D44
_ALL = (1 << 64) - 1


class RaidSuperblock(NamedTuple):
    """What matters here of a superblock.

    Attributes:
        legs: How many the array has.
        position: Which of them has this superblock.
        events: Counts the changes; a leg that was left behind has fewer.
        failed_legs: Those that had failed, a bit each.
        recovered_sectors: Up to where a new leg was filled from the others.
        synced_sectors: Up to where the legs were first made the same.
    """

    legs: int
    position: int
    events: int
    failed_legs: int
    recovered_sectors: int
    synced_sectors: int

    @property
    def recovered(self) -> bool:
        """Whether the leg holds everything that the array does."""
        return self.recovered_sectors == _ALL

    @property
    def synced(self) -> bool:
        """Whether the legs were once made the same, or said to be."""
        return self.synced_sectors == _ALL


def read_raid_superblock(device: BlockDevice) -> RaidSuperblock | None:
    """Reads the superblock of a metadata volume; None where there is none, as before the array is first activated.

    Raises:
        IOFailed: It cannot be read.
    """
    length = max(512, device.logical_block_size_bytes)
    if device.size_bytes < length:
        return None
    magic, _, *fields = _FIELDS.unpack_from(device.read_at(0, length))
    return RaidSuperblock(*fields) if magic == _MAGIC else None
