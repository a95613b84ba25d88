"""Small volume groups for tests: extents of 4 KiB, physical volumes of 64 extents in memory, from byte 8192 on."""

from __future__ import annotations

import random
from collections.abc import Mapping

from dmsnap.block import BlockDevice, MemoryDevice
from dmsnap.lvm.assembly import Assembly
from dmsnap.lvm.model import Area, LogicalVolume, PhysicalVolume, Segment, SnapshotOf, VolumeGroup

__all__ = ["EXTENT", "Disks", "area", "below", "group_of_volumes", "linear", "lv", "snapshot"]

EXTENT = 4096
EXTENTS = 64
START = 8192


def area(physical: str, start: int = 0) -> Area:
    """A place on a physical volume."""
    return Area(physical, start)


def below(volume: str, start: int = 0) -> Area:
    """A place on another volume."""
    return Area(volume, start, is_volume=True)


def linear(place: Area, count: int, start: int = 0) -> Segment:
    """A stretch in one piece."""
    return Segment(start, count, "striped", (place,))


def lv(name: str, *segments: Segment, status: str = "READ WRITE VISIBLE") -> LogicalVolume:
    """A volume."""
    return LogicalVolume(name, f"uuid-{name}", frozenset(status.split()), frozenset(), segments)


def snapshot(name: str, origin: str, count: int, *, merging: bool = False, chunk_sectors: int = 8) -> LogicalVolume:
    """What says that a volume is a snapshot."""
    of = SnapshotOf(origin, name, chunk_sectors, merging)
    return lv(f"snapshot-{name}", Segment(0, count, "snapshot", snapshot=of))


def group_of_volumes(*volumes: LogicalVolume, physical: int = 3, missing: str = "") -> VolumeGroup:
    """A group named ``vg-a``; ``missing`` is the physical volume that the metadata say is."""
    places = {
        name: PhysicalVolume(
            name=name,
            uuid=f"uuid-{name}",
            device=f"/dev/{name}",
            status=frozenset({"ALLOCATABLE"}),
            flags=frozenset({"MISSING"} if name == missing else ()),
            device_size_sectors=(START + EXTENTS * EXTENT) // 512,
            first_extent_sector=START // 512,
            extent_count=EXTENTS,
        )
        for name in (f"pv{number}" for number in range(physical))
    }
    names = {volume.name: volume for volume in volumes}
    return VolumeGroup("vg-a", "uuid", 1, frozenset({"READ", "WRITE"}), frozenset(), EXTENT // 512, places, names)


class Disks:
    """Physical volumes full of random data (seeds are their numbers).

    Attributes:
        devices: By the names in the metadata.
    """

    def __init__(self, count: int = 3) -> None:
        size = START + EXTENTS * EXTENT
        self.devices: dict[str, BlockDevice] = {
            f"pv{number}": MemoryDevice(random.Random(number).randbytes(size)) for number in range(count)
        }

    def content(self, physical: str, start: int, count: int = 1) -> bytes:
        """What extents of a physical volume hold."""
        return bytes(self.devices[physical].read_at(START + start * EXTENT, count * EXTENT))

    def put(self, physical: str, start: int, data: bytes) -> None:
        """Writes from the beginning of an extent on."""
        self.devices[physical].write_at(START + start * EXTENT, data)

    def assembled(self, *volumes: LogicalVolume, without: str = "", missing: str = "") -> Assembly:
        """The volumes of a group on these disks, but for those in ``without``."""
        present: Mapping[str, BlockDevice] = {
            name: device for name, device in self.devices.items() if name not in without.split()
        }
        return Assembly(group_of_volumes(*volumes, missing=missing), present)
