"""Which leg of a mirror is the one to read."""

from __future__ import annotations

import struct

import pytest

from dmsnap.block import MemoryDevice
from dmsnap.lvm.legs import Raid1Leg, mirror_doubt, mirror_leg, raid1_doubt, raid1_leg
from dmsnap.lvm.mirror_log import regions_out_of_sync
from dmsnap.lvm.raid_superblock import RaidSuperblock, read_raid_superblock

DONE = (1 << 64) - 1


def leg(
    position: int,
    *,
    usable: bool = True,
    events: int = 5,
    failed: int = 0,
    recovered: int = DONE,
    synced: int = DONE,
    rebuilding: bool = False,
) -> Raid1Leg:
    """A leg of three with a superblock."""
    return Raid1Leg(usable, RaidSuperblock(3, position, events, failed, recovered, synced), rebuilding)


GONE = Raid1Leg(usable=False, superblock=None)
NEW = Raid1Leg(usable=True, superblock=None)


@pytest.mark.parametrize(
    ("legs", "right"),
    [
        ([leg(0), leg(1), leg(2)], 0),
        ([GONE, leg(1), leg(2)], 1),
        ([leg(0, events=4), leg(1), leg(2)], 1),
        ([leg(0), leg(1, failed=0b1), leg(2, failed=0b1)], 1),
        ([leg(0, recovered=100), leg(1)], 1),
        ([leg(0, rebuilding=True), leg(1)], 1),
        ([leg(0, usable=False), leg(1)], 1),
        ([NEW, leg(1)], 1),
        ([leg(1), leg(0)], None),
        ([GONE, leg(1, recovered=0)], None),
        ([GONE, GONE], None),
        ([], None),
    ],
)
def test_the_first_leg_of_a_raid1_that_is_known_to_be_complete_is_right(
    legs: list[Raid1Leg], right: int | None
) -> None:
    assert raid1_leg(legs) == right


@pytest.mark.parametrize(
    ("legs", "right"),
    [
        ([leg(0, synced=100), leg(1, synced=100)], 0),
        ([GONE, leg(1, synced=100)], None),
        ([leg(0, usable=False, synced=100), leg(1, synced=100)], None),
        ([GONE, leg(1, synced=100, failed=0b1)], 1),
        ([leg(0, synced=100, recovered=3), leg(1, synced=100)], 1),
    ],
)
def test_before_the_legs_were_made_the_same_only_the_first_counts(legs: list[Raid1Leg], right: int | None) -> None:
    assert raid1_leg(legs) == right


@pytest.mark.parametrize(
    ("legs", "right"),
    [([NEW, NEW], 0), ([GONE, NEW], None), ([Raid1Leg(True, None, True), NEW], 1), ([NEW, GONE], 0)],
)
def test_an_array_that_was_never_active_begins_with_its_first_leg(legs: list[Raid1Leg], right: int | None) -> None:
    assert raid1_leg(legs) == right


@pytest.mark.parametrize(
    ("usable", "out_of_sync", "right"),
    [
        ([True, True], None, 0),
        ([True, False], 7, 0),
        ([False, True, True], 0, 1),
        ([False, False, True], 0, 2),
        ([False, True], 1, None),
        ([False, True], None, None),
        ([False, False], 0, None),
        ([], 0, None),
    ],
)
def test_of_a_mirror_another_leg_than_the_first_is_right_if_the_log_says_so(
    usable: list[bool], out_of_sync: int | None, right: int | None
) -> None:
    assert mirror_leg(usable, out_of_sync) == right


# -- the log ----------------------------------------------------------------------------------------------------------


def log(bits: bytes, *, regions: int, magic: int = 0x4D695272, version: int = 2, size: int = 1 << 22) -> MemoryDevice:
    """A log with these bits, and ones behind them, which count for nothing."""
    device = MemoryDevice(b"\xff" * size)
    device.write_at(0, struct.pack("<IIQ", magic, version, regions).ljust(1024, b"\xff"))
    padded = bits.ljust(-(-len(bits) // 512) * 512, b"\xff")
    device.write_at(1024, padded)
    return device


@pytest.mark.parametrize(
    ("bits", "regions", "out_of_sync"),
    [
        (b"\xff\xff", 16, 0),
        (b"\x07", 3, 0),
        (b"\x05", 3, 1),
        (b"\x00\x00", 11, 11),
        (b"\xff\xfb\xff", 24, 1),
    ],
)
def test_the_log_tells_how_many_regions_are_out_of_sync(bits: bytes, regions: int, out_of_sync: int) -> None:
    assert regions_out_of_sync(log(bits, regions=regions), regions) == out_of_sync


def test_regions_that_the_log_does_not_know_yet_are_out_of_sync() -> None:
    assert regions_out_of_sync(log(b"\xff", regions=5), 8) == 3
    assert regions_out_of_sync(log(b"\xff", regions=0), 8) == 8
    assert regions_out_of_sync(log(b"\xff", regions=DONE), 8) == 0


def test_a_log_of_many_regions_is_read_in_pieces() -> None:
    bits = bytearray(b"\xff" * 3_000_000)
    for position in (0, 1_047_551, 1_047_552, 2_999_999):
        bits[position] ^= 0b1000
    assert regions_out_of_sync(log(bytes(bits), regions=24_000_000 - 4), 24_000_000 - 4) == 3 + 1
    assert regions_out_of_sync(log(bytes(bits), regions=24_000_000 - 5), 24_000_000 - 5) == 3


@pytest.mark.parametrize(
    "device",
    [
        log(b"\xff", regions=8, magic=0x4D695273),
        log(b"\xff", regions=8, version=1),
        MemoryDevice(1024),
        MemoryDevice(0),
    ],
    ids=["other magic", "other version", "too short", "empty"],
)
def test_what_is_no_log_tells_nothing(device: MemoryDevice) -> None:
    assert regions_out_of_sync(device, 8) is None


def test_a_log_that_is_too_short_for_the_regions_is_not_believed() -> None:
    assert regions_out_of_sync(log(b"\xff", regions=DONE, size=4096), 1 << 60) is None


# -- superblocks ------------------------------------------------------------------------------------------------------


def test_a_superblock_is_read() -> None:
    fields = struct.pack("<IIIIQQQQ", 0x64526D44, 1, 3, 2, 77, 0b10, DONE, 4096)
    superblock = read_raid_superblock(MemoryDevice(fields.ljust(4096, b"\0")))
    assert superblock == RaidSuperblock(3, 2, 77, 0b10, DONE, 4096)
    assert superblock.recovered
    assert not superblock.synced


def test_there_may_be_no_superblock() -> None:
    assert read_raid_superblock(MemoryDevice(4096)) is None
    assert read_raid_superblock(MemoryDevice(0)) is None


@pytest.mark.parametrize(
    ("legs", "right", "unknown"),
    [
        ([leg(0), leg(1)], 0, ""),
        ([leg(0, failed=0b10), GONE], 0, ""),
        ([GONE, leg(1, failed=0b1)], 1, ""),
        ([leg(0, usable=False), leg(1)], 1, ""),
        ([leg(0), Raid1Leg(usable=False, superblock=None, rebuilding=True)], 0, ""),
        ([leg(0), GONE], 0, "1"),
        ([GONE, leg(1)], 1, "0"),
        ([leg(0, failed=0b10), GONE, GONE], 0, "2"),
        ([GONE, leg(1), GONE], 1, "0, 2"),
        ([NEW, GONE], 0, "1"),
    ],
)
def test_a_leg_may_be_old_unless_it_says_that_the_array_went_on_without_those_that_are_gone(
    legs: list[Raid1Leg], right: int, unknown: str
) -> None:
    assert raid1_leg(legs) == right
    assert raid1_doubt(legs, right) == (f"it does not say that the array went on without leg {unknown}" * bool(unknown))


@pytest.mark.parametrize(
    ("usable", "number", "out_of_sync", "doubt"),
    [
        ([True, True], 0, None, ""),
        ([True, True], 0, 3, ""),
        ([True, False], 0, 0, ""),
        ([False, True], 1, 0, ""),
        ([True, False], 0, 3, "regions not known to be in sync: 3"),
        ([True, False], 0, None, "no log tells"),
    ],
)
def test_the_first_leg_of_a_mirror_without_others_may_be_old_unless_the_log_has_all_in_sync(
    usable: list[bool], number: int, out_of_sync: int | None, doubt: str
) -> None:
    assert mirror_doubt(usable, number, out_of_sync) == doubt
