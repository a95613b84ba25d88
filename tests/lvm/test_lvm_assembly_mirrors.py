"""Mirrors as devices: a leg that is known to be right, or none."""

from __future__ import annotations

import struct

import pytest
from small_groups import EXTENT, Disks, area, below, linear, lv

from dmsnap.block import ReadOnlyDevice
from dmsnap.lvm.assembly import Assembly, NotAssembled
from dmsnap.lvm.model import LogicalVolume, Segment

DONE = (1 << 64) - 1


def mirror(disks: Disks, log_bits: int | None, *, without: str = "") -> Assembly:
    """A mirror of four extents and regions, with its log on pv2, or none."""
    volumes = [lv(f"m_mimage_{number}", linear(area(f"pv{number}", 2), 4)) for number in range(2)]
    log = ""
    if log_bits is not None:
        log = "m_mlog"
        volumes.append(lv(log, linear(area("pv2"), 1)))
        header = struct.pack("<IIQ", 0x4D695272, 2, 4).ljust(1024, b"\0")
        disks.put("pv2", 0, (header + bytes([log_bits])).ljust(EXTENT, b"\0"))
    legs = (below("m_mimage_0"), below("m_mimage_1"))
    whole = lv("m", Segment(0, 4, "mirror", legs, region_size_sectors=8, log=log))
    return disks.assembled(whole, *volumes, without=without)


def test_a_mirror_reads_its_first_leg() -> None:
    disks = Disks()
    for bits in (None, 0b0000, 0b1111):
        assert mirror(disks, bits).device("m").read_at(0, 4 * EXTENT) == disks.content("pv0", 2, 4)


def test_a_mirror_without_its_first_leg_reads_the_second_if_the_log_says_that_they_are_the_same() -> None:
    disks = Disks()
    group = mirror(disks, 0b1111, without="pv0")
    assert group.device("m").read_at(0, 4 * EXTENT) == disks.content("pv1", 2, 4)


@pytest.mark.parametrize(("bits", "without"), [(0b1101, "pv0"), (None, "pv0"), (0b1111, "pv0 pv2"), (15, "pv0 pv1")])
def test_a_mirror_with_no_leg_that_is_known_to_be_right_is_refused(bits: int | None, without: str) -> None:
    group = mirror(Disks(), bits, without=without)
    with pytest.raises(
        NotAssembled, match="no leg of the mirror is known to be in sync without physical volume uuid-pv0"
    ):
        group.device("m")


def test_a_leg_can_be_read_as_it_is_and_the_refusal_says_so() -> None:
    disks = Disks()
    group = mirror(disks, 0b1101, without="pv0")
    with pytest.raises(NotAssembled) as error:
        group.device("m")
    assert error.value.hint.endswith("read a leg as it is, which may be old: vg-a/m_mimage_1")
    assert group.device("m_mimage_1").read_at(0, 4 * EXTENT) == disks.content("pv1", 2, 4)


def test_a_mirror_is_not_written_to() -> None:
    with pytest.raises(ReadOnlyDevice):
        mirror(Disks(), 0b1111).device("m").write_at(0, bytes(512))


def moving(*moved: int) -> Segment:
    """A stretch of two extents that pvmove moves, or has moved."""
    return Segment(0, 2, "mirror", (area("pv0", 1), area("pv1", 5)), fields={"extents_moved": sum(moved)})


def test_what_pvmove_has_moved_is_read_from_the_new_place() -> None:
    disks = Disks()
    assert disks.assembled(lv("pvmove0", moving(2))).device("pvmove0").read_at(0, EXTENT) == disks.content("pv1", 5)
    assert disks.assembled(lv("pvmove0", moving(0))).device("pvmove0").read_at(0, EXTENT) == disks.content("pv0", 1)


def test_what_pvmove_has_moved_is_not_read_from_the_old_place_either_way() -> None:
    with pytest.raises(NotAssembled, match="uuid-pv1"):
        Disks().assembled(lv("pvmove0", moving(2)), without="pv1").device("pvmove0")


def raid1(disks: Disks, *superblocks: bytes, without: str = "", second: str = "READ WRITE") -> Assembly:
    """A raid1 of two extents, with these superblocks."""
    volumes: list[LogicalVolume] = []
    for number, superblock in enumerate(superblocks):
        volumes.append(lv(f"r_rmeta_{number}", linear(area(f"pv{number}", 9), 1)))
        volumes.append(
            lv(f"r_rimage_{number}", linear(area(f"pv{number}", 10), 2), status=second if number else "READ")
        )
        disks.put(f"pv{number}", 9, superblock.ljust(EXTENT, b"\0"))
    count = len(superblocks)
    segment = Segment(
        0,
        2,
        "raid1",
        tuple(below(f"r_rimage_{number}") for number in range(count)),
        region_size_sectors=8,
        metadata_areas=tuple(below(f"r_rmeta_{number}") for number in range(count)),
    )
    return disks.assembled(lv("r", segment), *volumes, without=without)


def superblock(position: int, events: int = 3, *, failed: int = 0, recovered: int = DONE) -> bytes:
    """The superblock of one of two legs."""
    return struct.pack("<IIIIQQQQ", 0x64526D44, 1, 2, position, events, failed, recovered, DONE)


def test_a_raid1_reads_a_leg_that_its_superblocks_call_complete() -> None:
    disks = Disks()
    group = raid1(disks, superblock(0, 2), superblock(1, 3, failed=0b1))
    assert group.device("r").read_at(0, 2 * EXTENT) == disks.content("pv1", 10, 2)
    group = raid1(disks, superblock(0), superblock(1))
    assert group.device("r").read_at(0, 2 * EXTENT) == disks.content("pv0", 10, 2)


def test_a_raid1_without_its_first_leg_reads_the_second() -> None:
    disks = Disks()
    group = raid1(disks, superblock(0), superblock(1), without="pv0")
    assert group.device("r").read_at(0, 2 * EXTENT) == disks.content("pv1", 10, 2)


def test_a_leg_that_is_being_rebuilt_is_not_read() -> None:
    group = raid1(Disks(), superblock(0), superblock(1), without="pv0", second="READ WRITE REBUILD")
    with pytest.raises(NotAssembled, match="no leg"):
        group.device("r")
    group = raid1(Disks(), superblock(0), superblock(1, recovered=8), without="pv0")
    with pytest.raises(NotAssembled, match="no leg"):
        group.device("r")


def test_a_mirror_that_is_not_all_there_is_read_with_a_doubt_unless_its_log_has_none() -> None:
    doubts = []
    for bits, without in ((0b1111, "pv1"), (0b1101, "pv1"), (None, "pv1"), (0b1101, ""), (0b1111, "pv0")):
        group = mirror(Disks(), bits, without=without)
        assert dict(group.doubts) == {}
        group.device("m")
        doubts.append(group.doubts.get("m"))
    beginning = "vg-a/m: leg 0 is read without physical volume uuid-pv1, and may be old: "
    assert doubts == [
        None,
        beginning + "regions not known to be in sync: 1",
        beginning + "no log tells",
        None,
        None,
    ]


def test_a_raid1_that_is_not_all_there_is_read_with_a_doubt_unless_it_knows_that_it_lost_the_rest() -> None:
    group = raid1(Disks(), superblock(0), superblock(1), without="pv0")
    group.device("r")
    assert dict(group.doubts) == {
        "r": "vg-a/r: leg 1 is read without physical volume uuid-pv0, and may be old: "
        "it does not say that the array went on without leg 0"
    }
    for superblocks, without in (
        ((superblock(0), superblock(1)), ""),
        ((superblock(0, 2), superblock(1, 3, failed=0b1)), "pv0"),
    ):
        group = raid1(Disks(), *superblocks, without=without)
        group.device("r")
        assert dict(group.doubts) == {}


def test_what_cannot_be_read_has_no_doubts() -> None:
    group = mirror(Disks(), None, without="pv0")
    with pytest.raises(NotAssembled):
        group.device("m")
    assert dict(group.doubts) == {}
