"""Groups that nobody's LVM wrote: each volume is a device or a clear refusal, and soon."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest
from small_groups import EXTENT, Disks

from dmsnap.errors import DmsnapError
from dmsnap.lvm.assembly import Assembly
from dmsnap.lvm.model import Area, LogicalVolume, PhysicalVolume, Segment, SnapshotOf, VolumeGroup
from dmsnap.lvm.tables import tables
from dmsnap.store import create_store

KINDS = ("striped", "striped", "mirror", "raid1", "raid0", "raid0_meta", "zero", "error", "snapshot", "thin", "")
NAMES = ("a", "b", "c", "d", "pv0", "pv1", "pv2", "nobody", "")


def number(dice: random.Random) -> int:
    """Mostly a small one."""
    return dice.choice((0, 0, 1, 1, 1, 2, 2, 3, 4, 7, -1, 1 << 32, 1 << 54, 1 << 63, 1 << 70))


def places(dice: random.Random, most: int = 3) -> tuple[Area, ...]:
    """Some places, half of them on other volumes."""
    some = range(dice.randrange(most + 1))
    return tuple(Area(dice.choice(NAMES), dice.choice((0, 0, number(dice))), dice.random() < 0.5) for _ in some)


def segment(dice: random.Random, start: int) -> Segment:
    """A stretch of anything."""
    of = SnapshotOf(dice.choice(NAMES), dice.choice(NAMES), number(dice), dice.random() < 0.3)
    return Segment(
        start if dice.random() < 0.95 else number(dice),
        number(dice),
        dice.choice(KINDS),
        places(dice),
        stripe_size_sectors=dice.choice((8, 1, number(dice))),
        region_size_sectors=dice.choice((8, number(dice))),
        metadata_areas=places(dice),
        log=dice.choice(NAMES),
        snapshot=of if dice.random() < 0.3 else None,
        fields={"extents_moved": number(dice)},
    )


def volume(dice: random.Random, name: str) -> LogicalVolume:
    """A volume of a few stretches."""
    segments: list[Segment] = []
    position = 0
    for _ in range(dice.choice((1, 1, 2, 3, 0))):
        segments.append(segment(dice, position))
        position += segments[-1].extent_count
    status = frozenset(word for word in ("WRITE", "VISIBLE", "PVMOVE", "REBUILD") if dice.random() < 0.5)
    return LogicalVolume(name, "", status, frozenset(), tuple(segments))


def group(dice: random.Random) -> VolumeGroup:
    """A group of anything."""
    physical = {
        name: PhysicalVolume(name, name, "", frozenset(), frozenset(), 0, dice.choice((16, 16, number(dice))), 64)
        for name in ("pv0", "pv1", "pv2")
    }
    volumes = {name: volume(dice, name) for name in NAMES[:4]}
    extent = dice.choice((8, 8, 8, number(dice)))
    return VolumeGroup("g", "", 1, frozenset(), frozenset(), extent, physical, volumes)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", range(8))
def test_every_volume_is_a_device_or_a_clear_refusal(seed: int) -> None:
    dice = random.Random(seed)
    disks = Disks()
    log = struct.pack("<IIQ", 0x4D695272, 2, (1 << 64) - 1).ljust(1024, b"\xff")
    disks.put("pv0", 0, log.ljust(4 * EXTENT, b"\xff"))
    create_store(disks.devices["pv1"], 8)
    devices = 0
    for _ in range(400):
        wild = group(dice)
        assembly = Assembly(wild, {name: disks.devices[name] for name in disks.devices if dice.random() < 0.8})
        for name in (*wild.logical_volumes, "nobody"):
            for ask in (assembly.device, assembly.storage):
                with contextlib.suppress(DmsnapError):
                    device = ask(name)
                    devices += 1
                    assert 0 < device.size_bytes < 1 << 63
                    block = device.logical_block_size_bytes
                    device.read_at(0, min(device.size_bytes, 8192))
                    device.read_at(device.size_bytes - block, block)
            with contextlib.suppress(DmsnapError):
                tables(wild, name)
    assert devices > 100
