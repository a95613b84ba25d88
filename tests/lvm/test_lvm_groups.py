"""Groups from images: volumes found wherever they are, the newest metadata that can be read, and what is missing."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap.fault import FaultDevice, fail_range
from dmsnap.block.wrap.stats import StatsDevice
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.groups import Group, find_groups
from dmsnap.testing.lvm_builder import (
    AREA_OFFSET,
    DATA_OFFSET,
    PvText,
    VolumeText,
    build_pv,
    group_text,
    seal_area,
    seal_label,
    uuid_of,
)
from dmsnap.testing.partition_builder import build_gpt, build_mbr, put

PVS = [PvText("pv0", 7), PvText("pv1", 7)]
SECOND_AREA = (120 * 1024, 8192)


def image(content: bytes | bytearray, name: str = "disk.img") -> MemoryDevice:
    return MemoryDevice(content, read_only=True, name=name)


def only_group(*contents: bytes | bytearray) -> Group:
    """The one group that images disk0, disk1 … hold, with nothing odd outside it."""
    groups, findings = find_groups([image(content, f"disk{number}") for number, content in enumerate(contents)])
    assert not findings
    (group,) = groups
    return group


def kinds(findings: Sequence[Finding]) -> list[FindingKind]:
    return [finding.kind for finding in findings]


def damaged(content: bytearray, place: int = AREA_OFFSET + 512 + 60) -> bytearray:
    """A volume whose text at a place has changed."""
    content[place] ^= 0x20
    return content


def test_a_group_of_one_volume() -> None:
    volumes = [VolumeText("data", "pv0", 0, 3)]
    group = only_group(build_pv(group_text("one", seqno=9, volumes=volumes)))
    assert (group.group.name, group.group.seqno, list(group.group.logical_volumes)) == ("one", 9, ["data"])
    assert list(group.devices) == ["pv0"]
    assert group.images["pv0"].image == "disk0"
    assert (group.missing, group.findings) == ((), ())


def test_volumes_are_told_apart_by_uuid_whatever_their_order() -> None:
    text = group_text(pvs=PVS)
    group = only_group(build_pv(text, name="pv1"), build_pv(text, name="pv0"))
    assert {name: device.name for name, device in group.devices.items()} == {"pv0": "disk1", "pv1": "disk0"}


def test_a_volume_without_metadata_belongs_to_the_group_that_names_it() -> None:
    group = only_group(build_pv(name="pv1", areas=()), build_pv(group_text(pvs=PVS)))
    assert set(group.devices) == {"pv0", "pv1"}


def test_an_ignored_area_does_not_count() -> None:
    old = group_text(pvs=PVS, seqno=90)
    group = only_group(build_pv(old, name="pv1", ignored=True), build_pv(group_text(pvs=PVS, seqno=2)))
    assert (group.group.seqno, group.findings) == (2, ())


def test_images_may_hold_several_groups() -> None:
    texts = {name: group_text(name, pvs=[PvText(f"{name}pv", 7)]) for name in ("zebra", "ant")}
    groups, _ = find_groups([image(build_pv(text, name=f"{name}pv")) for name, text in texts.items()])
    assert [group.group.name for group in groups] == ["ant", "zebra"]


def test_groups_of_one_name_are_told_apart_by_uuid() -> None:
    contents = [
        build_pv(group_text(uuid_name=f"id{n}", pvs=[PvText("pv0", 7, uuid_name=f"pv{n}")]), name=f"pv{n}")
        for n in (1, 2)
    ]
    groups, findings = find_groups([image(content) for content in contents])
    assert [group.group.uuid for group in groups] == [uuid_of("id1"), uuid_of("id2")]
    assert not findings


@pytest.mark.parametrize("content", [b"", bytes(4096), b"\xff" * 65536, build_pv()], ids=["empty", "0", "1", "orphan"])
def test_images_without_a_group_are_nothing_odd(content: bytes) -> None:
    assert find_groups([image(content)]) == ([], [])


# -- partitions -------------------------------------------------------------------------------------------------------


def test_volumes_in_partitions_are_found_and_named() -> None:
    text = group_text(pvs=PVS)
    disk = build_gpt(2048, {2: (100, 256), 5: (400, 256)})
    put(disk, 100 * 512, build_pv(text))
    put(disk, 400 * 512, build_pv(text, name="pv1"))
    group = only_group(disk)
    assert {name: (pv.image, pv.device.size_bytes) for name, pv in group.images.items()} == {
        "pv0": ("disk0, partition 2", 131072),
        "pv1": ("disk0, partition 5", 131072),
    }


@pytest.mark.parametrize("sector_bytes", [512, 4096])
def test_the_size_of_a_sector_is_found_out(sector_bytes: int) -> None:
    for disk in (
        build_gpt(1024, {1: (64, 256)}, sector_bytes=sector_bytes),
        build_mbr(1024, {1: (64, 256)}, sector_bytes=sector_bytes),
    ):
        put(disk, 64 * sector_bytes, build_pv(group_text()))
        assert only_group(disk).images["pv0"].image == "disk0, partition 1"


def test_a_label_from_before_the_disk_was_partitioned_does_not_count() -> None:
    disk = build_mbr(2048, {1: (256, 256)})
    put(disk, 256 * 512, build_pv(group_text()))
    put(disk, 512, build_pv(group_text("stale"), name="stale")[512:8192])
    groups, findings = find_groups([image(disk)])
    assert [group.group.name for group in groups] == ["vg"]
    assert kinds(findings) == [FindingKind.DAMAGED_LABEL]


def test_a_label_of_the_whole_disk_counts_beside_partitions_without_one() -> None:
    disk = build_pv(group_text())
    put(disk, 446, build_mbr(8, {1: (128, 64)})[446:512])
    assert only_group(disk).images["pv0"].image == "disk0"


def test_a_backup_table_from_before_the_whole_disk_became_a_volume_does_not_count() -> None:
    disk = build_gpt(1024, {1: (300, 256)})
    put(disk, 300 * 512, build_pv(group_text("stale"), name="stale"))
    put(disk, 0, build_pv(group_text()))
    assert only_group(disk).group.name == "vg"


def test_damaged_partitions_are_told_where_nothing_else_is_found() -> None:
    disk = build_gpt(1024, {1: (100, 256)})
    disk[512 + 40] ^= 1
    disk[-512 + 40] ^= 1
    groups, findings = find_groups([image(disk)])
    assert not groups
    assert kinds(findings) == [FindingKind.DAMAGED_PARTITIONS] * 2


# -- what is missing or does not fit ----------------------------------------------------------------------------------


def test_a_missing_volume_is_named_and_the_rest_is_there() -> None:
    group = only_group(build_pv(group_text(pvs=PVS)))
    assert list(group.devices) == ["pv0"]
    assert [physical.uuid for physical in group.missing] == [uuid_of("pv1")]
    assert kinds(group.findings) == [FindingKind.MISSING_VOLUME]
    assert uuid_of("pv1") in group.findings[0].message


def test_a_volume_the_group_went_on_without_is_not_used() -> None:
    text = group_text(pvs=[PvText("pv0", 7), PvText("pv1", 7, flags=("MISSING",))], seqno=8)
    group = only_group(build_pv(text), build_pv(group_text(pvs=PVS, seqno=7), name="pv1"))
    assert list(group.devices) == ["pv0"]
    assert [physical.name for physical in group.missing] == ["pv1"]
    assert kinds(group.findings) == [FindingKind.DIFFERENT_METADATA, FindingKind.MISSING_VOLUME]
    assert "stale" in group.findings[1].message


def test_a_volume_that_says_it_belongs_to_another_group_is_not_used() -> None:
    stale, moved = group_text("stale", pvs=PVS), group_text("new", pvs=[PvText("pvX", 7, uuid_name="pv1")])
    groups, _ = find_groups([image(build_pv(stale)), image(build_pv(moved, name="pv1"))])
    assert [(group.group.name, list(group.devices)) for group in groups] == [("new", ["pvX"]), ("stale", ["pv0"])]
    assert kinds(groups[1].findings) == [FindingKind.MISSING_VOLUME]
    assert "belongs to new" in groups[1].findings[0].message


def test_of_two_images_of_one_volume_the_first_counts() -> None:
    groups, findings = find_groups([image(build_pv(group_text(seqno=n)), f"disk{n}") for n in (3, 4)])
    assert groups[0].group.seqno == 3
    assert groups[0].devices["pv0"].name == "disk3"
    assert kinds(findings) == [FindingKind.DUPLICATE_VOLUME]
    assert findings[0].device == "disk4"


def test_an_image_too_short_for_its_extents_is_told() -> None:
    whole = DATA_OFFSET + 16 * 4096
    assert not only_group(build_pv(group_text(pvs=[PvText("pv0", 16)]), size_bytes=whole)).findings
    group = only_group(build_pv(group_text(pvs=[PvText("pv0", 16)]), size_bytes=whole)[: whole - 512])
    assert kinds(group.findings) == [FindingKind.SHORT_VOLUME]
    assert str(whole) in group.findings[0].message


@pytest.mark.parametrize(
    ("bad", "there", "told"),
    [
        ((0, 512), ["pv0"], FindingKind.DAMAGED_LABEL),
        ((AREA_OFFSET, 512), ["pv0", "pv1"], FindingKind.DAMAGED_METADATA),
    ],
    ids=["label", "metadata"],
)
def test_what_cannot_be_read_is_told_and_the_rest_is_there(
    bad: tuple[int, int], there: list[str], told: FindingKind
) -> None:
    text = group_text(pvs=PVS)
    broken = FaultDevice(image(build_pv(text, name="pv1"), "broken"), fail_range(*bad, "read"))
    groups, findings = find_groups([broken, image(build_pv(text), "sound")])
    assert list(groups[0].devices) == there
    assert set(kinds(findings)) >= {told}


def test_a_partition_that_cannot_be_read_does_not_hide_the_next() -> None:
    disk = build_mbr(1024, {1: (100, 256), 2: (400, 256)})
    put(disk, 400 * 512, build_pv(group_text()))
    groups, findings = find_groups([FaultDevice(image(disk), fail_range(100 * 512, 512, "read"))])
    assert groups[0].images["pv0"].image == "disk.img, partition 2"
    assert kinds(findings) == [FindingKind.DAMAGED_LABEL]


def test_a_backup_table_that_cannot_be_read_is_told() -> None:
    groups, findings = find_groups([FaultDevice(image(bytes(65536)), fail_range(65024, 512, "read"))])
    assert not groups
    assert set(kinds(findings)) == {FindingKind.DAMAGED_PARTITIONS}


# -- copies of the metadata -------------------------------------------------------------------------------------------


def test_the_newest_of_different_copies_counts() -> None:
    group = only_group(
        build_pv(group_text(pvs=PVS, seqno=4)),
        build_pv(group_text(pvs=PVS, seqno=5), name="pv1"),
    )
    assert group.group.seqno == 5
    assert [(finding.kind, finding.device) for finding in group.findings] == [(FindingKind.DIFFERENT_METADATA, "disk0")]


def test_copies_of_one_age_that_differ_are_told() -> None:
    other = [PvText("pv0", 7), PvText("pv1", 6)]
    group = only_group(build_pv(group_text(pvs=PVS)), build_pv(group_text(pvs=other), name="pv1"))
    assert group.group.physical_volumes["pv1"].extent_count == 7
    assert kinds(group.findings) == [FindingKind.DIFFERENT_METADATA]


def test_a_second_area_counts_where_the_first_is_damaged() -> None:
    areas = [(AREA_OFFSET, 32768), SECOND_AREA]
    content = build_pv(group_text(seqno=2), older=[group_text()], areas=areas)
    groups, findings = find_groups([image(damaged(content, content.index(b"seqno = 2") + 100))])
    assert groups[0].group.seqno == 2
    assert not groups[0].findings
    assert kinds(findings) == [FindingKind.DAMAGED_METADATA]


def test_another_volumes_copy_counts_where_one_is_damaged() -> None:
    first = damaged(build_pv(group_text(pvs=PVS, seqno=3)))
    groups, findings = find_groups([image(first), image(build_pv(group_text(pvs=PVS, seqno=3), name="pv1"))])
    assert groups[0].group.seqno == 3
    assert not groups[0].findings
    assert kinds(findings) == [FindingKind.DAMAGED_METADATA]


OLDER = [group_text(seqno=number, created=1000 + number) for number in (1, 2)]
NEWEST = group_text(seqno=3, created=1003)


@pytest.mark.parametrize("what", ["text", "checksum of the text", "header", "grammar", "header gone"])
def test_an_older_copy_counts_where_the_newest_is_damaged(what: str) -> None:
    newest = NEWEST.replace(b"extent_size = 8", b"extent_size = {") if what == "grammar" else NEWEST
    content = build_pv(newest, older=OLDER)
    at = content.index(newest[:80].partition(b"seqno")[0] + b"seqno = 3")
    if what == "text":
        damaged(content, at + 200)
    elif what == "checksum of the text":
        damaged(content, AREA_OFFSET + 56)
        seal_area(content)
    elif what == "header":
        damaged(content, AREA_OFFSET + 300)
    elif what == "header gone":
        put(content, AREA_OFFSET, bytes(512))
    groups, findings = find_groups([image(content)])
    assert kinds(findings) == [FindingKind.DAMAGED_METADATA]
    assert kinds(groups[0].findings) == [FindingKind.OLDER_METADATA]
    # Without the header, nobody knows that the last one does not count.
    assert groups[0].group.seqno == (3 if what in ("header", "header gone") else 2)


def test_older_copies_are_not_tried_where_another_volume_knows_the_group() -> None:
    first = damaged(build_pv(group_text(pvs=PVS, seqno=9), older=[group_text(pvs=PVS, seqno=8)]), AREA_OFFSET + 2048)
    groups, _ = find_groups([image(first), image(build_pv(group_text(pvs=PVS, seqno=5), name="pv1"))])
    assert groups[0].group.seqno == 5


def test_an_older_copy_that_does_not_know_the_volume_does_not_count() -> None:
    content = build_pv(group_text(seqno=3), older=[group_text(seqno=2, pvs=[PvText("pv9", 7)])])
    damaged(content, content.index(b"seqno = 3") + 100)
    groups, findings = find_groups([image(content)])
    assert not groups
    assert kinds(findings) == [FindingKind.DAMAGED_METADATA]


def test_a_group_that_was_removed_does_not_come_back() -> None:
    left = build_pv(None, older=OLDER, used=False)
    assert find_groups([image(left)]) == ([], [])
    damaged(left, AREA_OFFSET + 300)
    groups, findings = find_groups([image(left)])
    assert not groups
    assert kinds(findings) == [FindingKind.DAMAGED_METADATA]


def test_a_label_that_names_many_endless_areas_costs_little() -> None:
    places = [(4096 + 512 * index, 1 << 60) for index in range(20)]
    label = build_pv(areas=[(place[0], 1024) for place in places], size_bytes=65536, used=True)
    for index, place in enumerate(places):
        struct.pack_into("<QQ", label, 512 + 104 + 16 * index, *place)
    seal_label(label)
    device = MemoryDevice(1 << 61)
    device.write_at(0, label[:4096])
    counted = StatsDevice(device)
    groups, findings = find_groups([counted])
    assert not groups
    assert len(findings) == 4
    assert counted.reads.bytes < 1 << 30
