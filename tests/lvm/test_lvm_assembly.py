"""Volumes as devices: what lies where, and what cannot be had."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from small_groups import EXTENT, Disks, area, below, linear, lv, snapshot

from dmsnap.block import IOFailed, ReadOnlyDevice
from dmsnap.lvm.assembly import NotAssembled
from dmsnap.lvm.model import LogicalVolume, Segment


def test_a_linear_volume_begins_behind_the_metadata() -> None:
    disks = Disks()
    device = disks.assembled(lv("one", linear(area("pv1", 7), 5))).device("one")
    assert device.size_bytes == 5 * EXTENT
    assert device.read_at(0, 5 * EXTENT) == disks.content("pv1", 7, 5)
    assert device.name == "vg-a/one"


def test_stretches_follow_one_another() -> None:
    disks = Disks()
    volume = lv("long", linear(area("pv2", 60), 4), linear(area("pv0", 0), 3, start=4), linear(area("pv2"), 1, start=7))
    device = disks.assembled(volume).device("long")
    expected = disks.content("pv2", 60, 4) + disks.content("pv0", 0, 3) + disks.content("pv2", 0)
    assert device.read_at(0, device.size_bytes) == expected


@pytest.mark.parametrize("kind", ["striped", "raid0"])
def test_stripes_are_dealt_out(kind: str) -> None:
    disks = Disks()
    places = (area("pv0", 3), area("pv1", 4), area("pv2", 5))
    device = disks.assembled(lv("fast", Segment(0, 6, kind, places, stripe_size_sectors=2))).device("fast")
    legs = [disks.content("pv0", 3, 2), disks.content("pv1", 4, 2), disks.content("pv2", 5, 2)]
    expected = b"".join(leg[at : at + 1024] for at in range(0, 2 * EXTENT, 1024) for leg in legs)
    assert device.read_at(0, 6 * EXTENT) == expected


def test_raid0_with_metadata_reads_the_data_volumes() -> None:
    disks = Disks()
    images = [lv(f"r_rimage_{n}", linear(area(f"pv{n}", 1), 2)) for n in range(2)]
    metadata = [lv(f"r_rmeta_{n}", linear(area(f"pv{n}", 0), 1)) for n in range(2)]
    whole = lv(
        "r",
        Segment(
            0,
            4,
            "raid0_meta",
            (below("r_rimage_0"), below("r_rimage_1")),
            stripe_size_sectors=8,
            metadata_areas=(below("r_rmeta_0"), below("r_rmeta_1")),
        ),
    )
    device = disks.assembled(whole, *images, *metadata).device("r")
    assert device.read_at(0, 2 * EXTENT) == disks.content("pv0", 1) + disks.content("pv1", 1)


def test_zero_and_error_stretches_have_no_place() -> None:
    volume = lv("odd", Segment(0, 1, "zero"), Segment(1, 1, "error"), linear(area("pv0"), 1, start=2))
    disks = Disks()
    device = disks.assembled(volume).device("odd")
    assert device.read_at(0, EXTENT) == bytes(EXTENT)
    assert device.read_at(2 * EXTENT, EXTENT) == disks.content("pv0", 0)
    with pytest.raises(IOFailed, match="error target"):
        device.read_at(EXTENT, EXTENT)


def test_a_volume_on_a_volume_reads_its_part_of_it() -> None:
    disks = Disks()
    lower = lv("lower", linear(area("pv0", 2), 8))
    device = disks.assembled(lower, lv("upper", linear(below("lower", 3), 4))).device("upper")
    assert device.read_at(0, 4 * EXTENT) == disks.content("pv0", 5, 4)


def test_what_is_written_to_a_volume_lies_on_the_physical_volume() -> None:
    disks = Disks()
    disks.assembled(lv("one", linear(area("pv1", 7), 5))).device("one").write_at(EXTENT, b"\1" * EXTENT)
    assert disks.content("pv1", 8) == b"\1" * EXTENT


def test_a_volume_that_is_read_only_cannot_be_written_to() -> None:
    device = Disks().assembled(lv("one", linear(area("pv1"), 5), status="READ VISIBLE")).device("one")
    with pytest.raises(ReadOnlyDevice):
        device.write_at(0, bytes(512))


def test_closing_a_volume_closes_nothing_that_others_lie_on() -> None:
    disks = Disks()
    group = disks.assembled(
        lv("lower", linear(area("pv0"), 4), linear(area("pv1"), 4, start=4)),
        lv("upper", linear(below("lower"), 8)),
    )
    for name in ("upper", "lower", "upper"):
        with group.device(name) as device:
            assert device.read_at(3 * EXTENT, 2 * EXTENT) == disks.content("pv0", 3) + disks.content("pv1", 0)


def test_a_missing_physical_volume_is_named_and_only_what_needs_it_is_not_there() -> None:
    group = Disks().assembled(
        lv("here", linear(area("pv0"), 4)),
        lv("gone", linear(area("pv0", 4), 4), linear(area("pv1"), 4, start=4)),
        without="pv1",
    )
    assert group.device("here").size_bytes == 4 * EXTENT
    with pytest.raises(
        NotAssembled, match=r"vg-a/gone: physical volume uuid-pv1 \(once /dev/pv1\) is not there"
    ) as error:
        group.device("gone")
    assert error.value.physical_volume == "pv1"


def test_a_physical_volume_that_the_group_went_on_without_is_not_used() -> None:
    group = Disks().assembled(lv("old", linear(area("pv1"), 4)), missing="pv1")
    with pytest.raises(NotAssembled, match="is out of date"):
        group.device("old")


def test_a_physical_volume_that_is_too_short_is_refused() -> None:
    group = Disks().assembled(lv("long", linear(area("pv1", 60), 5)))
    with pytest.raises(NotAssembled, match="needs 5 extents from extent 60 of pv1"):
        group.device("long")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("thin", "pool"),
        ("thin-pool", "pool"),
        ("cache", "cache alone"),
        ("writecache", "cache alone"),
        ("vdo-pool", "compressed"),
        ("raid4", "parity"),
        ("raid5_ls", "parity"),
        ("raid6_zr", "parity"),
        ("raid10", "mirrored stripes"),
        ("integrity", "checksums"),
        ("a-new-one", "does not know"),
    ],
)
def test_types_that_are_not_assembled_say_why(kind: str, reason: str) -> None:
    with pytest.raises(NotAssembled, match=rf"type {kind} cannot be put together: .*{reason}"):
        Disks().assembled(lv("it", Segment(0, 1, kind))).device("it")


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([lv("it")], "no segments"),
        ([lv("it", linear(area("pv0"), 1, start=1))], "a gap or an overlap at extent 0"),
        ([lv("it", linear(area("pv0"), 2), linear(area("pv1"), 2, start=1))], "a gap or an overlap at extent 2"),
        ([lv("it", linear(area("pv0"), 2), linear(area("pv1"), 0, start=2))], "a gap or an overlap at extent 2"),
        ([lv("it", linear(area("pv0"), -1))], "has -1 extents"),
        ([lv("it", linear(area("pv0", -9), 1))], "extent -9"),
        ([lv("it", linear(area("pv0"), 1 << 60))], "has .* extents"),
        ([lv("it", linear(area("pv0", 1 << 70), 1))], "needs 1 extents"),
        ([lv("it", linear(area("pv9"), 1))], "lies on pv9, which the group does not have"),
        ([lv("it", linear(below("other"), 1))], "vg-a/other: there is no such volume"),
        ([lv("it", linear(below("it"), 1))], "lies on itself"),
        ([lv("it", linear(below("b"), 1)), lv("b", linear(below("it"), 1))], "lies on itself"),
        ([lv("it", linear(below("b"), 3)), lv("b", linear(area("pv0"), 2))], "needs 3 extents from extent 0 of b"),
        ([lv("it", Segment(0, 3, "striped", (area("pv0"), area("pv1")), 8))], "3 extents on 2 stripes"),
        ([lv("it", Segment(0, 2, "striped", (area("pv0"), area("pv1")), 0))], "do not make a device"),
        ([lv("it", Segment(0, 2, "striped", (area("pv0"), area("pv1")), 3))], "do not make a device"),
        ([lv("it", Segment(0, 2, "striped"))], "on 0 stripes"),
        ([lv("it", Segment(0, 2, "mirror"))], "no leg"),
        ([lv("it", Segment(0, 2, "raid1"))], "no leg"),
        ([snapshot("it", "b", 1), lv("it", linear(area("pv0"), 1))], "vg-a/b: there is no such volume"),
        ([], "vg-a/it: there is no such volume"),
    ],
)
def test_damaged_metadata_are_refused(volumes: list, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(NotAssembled, match=message):
        Disks().assembled(*volumes).device("it")


def test_a_volume_that_has_one_place_again_and_again_is_refused() -> None:
    lower = lv("lower", linear(area("pv0"), 64))
    upper = lv("upper", *[linear(below("lower"), 64, start=64 * number) for number in range(4)])
    with pytest.raises(NotAssembled, match="larger than the physical volumes"):
        Disks().assembled(lower, upper).device("upper")


def test_what_is_zero_or_an_error_takes_no_room() -> None:
    volume = lv("virtual", Segment(0, 1 << 40, "zero"), Segment(1 << 40, 1 << 40, "error"))
    assert Disks().assembled(volume).device("virtual").size_bytes == EXTENT << 41


def test_what_the_metadata_contradict_is_refused_with_the_contradiction() -> None:
    volume = replace(lv("it", linear(area("pv0"), 1)), problem="shares extent 3 of pv0 with other")
    with pytest.raises(NotAssembled, match="vg-a/it: shares extent 3 of pv0 with other"):
        Disks().assembled(volume).device("it")


BAD = "contradicts itself"


def bad(volume: LogicalVolume) -> LogicalVolume:
    """The volume with a problem."""
    return replace(volume, problem=BAD)


@pytest.mark.parametrize(
    "volumes",
    [
        (bad(lv("it", linear(area("pv0"), 1))),),
        (lv("it", linear(below("lower"), 1)), bad(lv("lower", linear(area("pv0"), 1)))),
        (lv("it", Segment(0, 1, "mirror", (below("lower"),))), bad(lv("lower", linear(area("pv0"), 1)))),
        (lv("it", Segment(0, 1, "raid1", (below("lower"),))), bad(lv("lower", linear(area("pv0"), 1)))),
        (bad(LogicalVolume("it", "", frozenset(), frozenset(), ())),),
    ],
)
def test_what_has_a_problem_or_lies_on_it_is_neither_device_nor_storage(volumes: tuple[LogicalVolume, ...]) -> None:
    group = Disks().assembled(*volumes)
    for opened in (group.device, group.storage):
        with pytest.raises(NotAssembled):
            opened("it")


@pytest.mark.parametrize("merging", [False, True])
@pytest.mark.parametrize("which", ["origin", "snap", "snapshot-snap"])
def test_a_problem_of_origin_or_store_or_of_what_ties_them_refuses_the_snapshot(which: str, merging: bool) -> None:
    volumes = [
        lv("origin", linear(area("pv0"), 4)),
        lv("snap", linear(area("pv1"), 4)),
        snapshot("snap", "origin", 4, merging=merging),
    ]
    group = Disks().assembled(*(bad(volume) if volume.name == which else volume for volume in volumes))
    asked = "origin" if merging else "snap"
    with pytest.raises(NotAssembled, match=BAD):
        group.device(asked)
    if which in ("origin", "snap"):
        with pytest.raises(NotAssembled, match=BAD):
            group.storage(which)
    with pytest.raises(NotAssembled, match=BAD):
        group.snapshot_parts("snap")


def test_volumes_do_not_lie_on_volumes_without_end() -> None:
    names = [f"v{number}" for number in range(100)]
    stack = [lv(upper, linear(below(lower), 1)) for upper, lower in pairwise(names)]
    group = Disks().assembled(*stack, lv(names[-1], linear(area("pv0"), 1)))
    assert group.device(names[-10]).size_bytes == EXTENT
    with pytest.raises(NotAssembled, match="more than 16 volumes"):
        group.device("v0")


def test_volumes_asked_for_from_the_lowest_up_do_not_pile_up_either() -> None:
    names = [f"v{number}" for number in range(40)]
    stack = [lv(upper, linear(below(lower), 1)) for upper, lower in pairwise(names)]
    group = Disks().assembled(*stack, lv(names[-1], linear(area("pv0"), 1)))
    had = 0
    for name in reversed(names):
        try:
            group.device(name)
            had += 1
        except NotAssembled:
            pass
    assert had == 16


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "lowest", [lv("v14", linear(area("pv0"), 1)), lv("v14", Segment(0, 1, "thin"))], ids=["sound", "refused"]
)
def test_many_ways_to_one_volume_do_not_multiply(lowest: object) -> None:
    def twice(number: int) -> Segment:
        legs = (below(f"v{number + 1}"),) * 20
        return Segment(0, 1, "mirror", legs)

    volumes = [lv(f"v{number}", twice(number)) for number in range(14)]
    group = Disks().assembled(*volumes, lowest)  # type: ignore[arg-type]
    try:
        assert group.device("v0").size_bytes == EXTENT
    except NotAssembled as error:
        assert "no leg" in error.message  # noqa: PT017
