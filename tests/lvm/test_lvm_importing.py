"""From metadata to a volume group: every field, and every kind of segment that LVM2 writes."""

from __future__ import annotations

import pytest
from group_texts import group_text, linear, segment, snapshot, sound, striped, volume

from dmsnap.lvm.importing import BadMetadata, group_of
from dmsnap.lvm.model import Area, PhysicalVolume, Segment, SnapshotOf


def test_a_group_and_its_physical_volumes() -> None:
    group = sound(group_text(more='tags = ["a", "b"]\nsystem_id = "me"\n'))
    assert (group.name, group.uuid, group.seqno, group.extent_size_sectors) == ("vg", "vg-id", 7, 8192)
    assert (group.status, group.flags, group.tags) == ({"RESIZEABLE", "READ", "WRITE"}, set(), ("a", "b"))
    assert group.logical_volumes == {}
    assert group.physical_volumes["pv1"] == PhysicalVolume(
        name="pv1",
        uuid="pv1-id",
        device="/dev/sdb",
        status=frozenset({"ALLOCATABLE"}),
        flags=frozenset(),
        device_size_sectors=2048 + 100 * 8192,
        first_extent_sector=2048,
        extent_count=100,
    )
    assert {name: group.fields[name] for name in ("format", "max_lv", "system_id", "creation_host", "description")} == {
        "format": "lvm2",
        "max_lv": 0,
        "system_id": "me",
        "creation_host": "host",
        "description": "Write from lvcreate.",
    }


def test_a_volume() -> None:
    group = sound(group_text(volume("lv", striped(0, 3, ("pv0", 5)), striped(3, 2, ("pv1", 0)))))
    one = group.logical_volumes["lv"]
    assert (one.name, one.uuid, one.status, one.flags, one.tags) == (
        "lv",
        "lv-id",
        {"READ", "WRITE", "VISIBLE"},
        set(),
        (),
    )
    assert one.extent_count == 5
    assert one.fields == {"creation_time": 1700000000, "creation_host": "host"}
    fields = {"start_extent": 0, "extent_count": 3, "type": "striped", "stripe_count": 1, "stripes": ("pv0", 5)}
    assert one.segments[0] == Segment(0, 3, "striped", (Area("pv0", 5),), fields=fields)
    assert [one.start_extent for one in one.segments] == [0, 3]


def test_a_backup_with_its_tabs_and_comments() -> None:
    text = group_text(volume("lv", striped(0, 25, ("pv0", 5)), striped(25, 4, ("pv0", 30), ("pv1", 1)))).decode()
    lines = text.replace("extent_count = 25", "extent_count = 25\t# 100 Megabytes").replace(
        "stripe_count = 1", "stripe_count = 1\t# linear"
    )
    tabbed = "\n".join("\t" * (number % 4) + line for number, line in enumerate(lines.split("\n")))
    assert sound(tabbed.encode()) == sound(text.encode())


def test_stripes() -> None:
    areas = ("pv0", 1), ("pv1", 2)
    group = sound(group_text(volume("lv", striped(0, 6, *areas), striped(6, 4, ("pv0", 10), ("pv1", 10)))))
    first, second = group.logical_volumes["lv"].segments
    assert first.areas == (Area("pv0", 1), Area("pv1", 2))
    assert first.stripe_size_sectors == second.stripe_size_sectors == 128
    assert second.areas == (Area("pv0", 10), Area("pv1", 10))


def test_linear_is_another_word_for_one_stripe() -> None:
    text = group_text(linear("lv", 3))
    (one,) = sound(text.replace(b'"striped"', b'"linear"')).logical_volumes["lv"].segments
    assert (one.kind, one.areas) == ("striped", (Area("pv0", 0),))


def images(prefix: str, *, count: int = 10) -> str:
    return "".join(linear(f"{prefix}_{leg}", count, f"pv{leg}") for leg in (0, 1))


def test_a_mirror_with_its_log() -> None:
    fields = (
        'mirror_count = 2\nmirror_log = "lv_mlog"\nregion_size = 1024\n\nmirrors = [\n"lv_m_0", 0,\n"lv_m_1", 0\n]\n'
    )
    text = group_text(volume("lv", segment("mirror", 0, 10, fields)) + images("lv_m") + linear("lv_mlog", 1, "pv0", 50))
    (one,) = sound(text).logical_volumes["lv"].segments
    assert one.areas == (Area("lv_m_0", 0, True), Area("lv_m_1", 0, True))
    assert (one.log, one.region_size_sectors, one.stripe_size_sectors) == ("lv_mlog", 1024, 0)


def test_a_volume_that_is_being_moved() -> None:
    fields = 'mirror_count = 2\nextents_moved = 1\nregion_size = 4096\n\nmirrors = [\n"pv0", 0,\n"pv1", 20\n]\n'
    text = group_text(
        volume("lv", striped(0, 10, ("pvmove0", 0))) + volume("pvmove0", segment("mirror", 0, 10, fields))
    )
    group = sound(text)
    assert group.logical_volumes["lv"].segments[0].areas == (Area("pvmove0", 0, True),)
    assert group.logical_volumes["pvmove0"].segments[0].areas == (Area("pv0", 0), Area("pv1", 20))


def test_raid1() -> None:
    fields = 'device_count = 2\nregion_size = 4096\n\nraids = [\n"m_0", "i_0",\n"m_1", "i_1"\n]\n'
    legs = images("i") + linear("m_0", 1, "pv0", 50) + linear("m_1", 1, "pv1", 50)
    (one,) = sound(group_text(volume("lv", segment("raid1", 0, 10, fields)) + legs)).logical_volumes["lv"].segments
    assert one.areas == (Area("i_0", 0, True), Area("i_1", 0, True))
    assert one.metadata_areas == (Area("m_0", 0, True), Area("m_1", 0, True))
    assert one.region_size_sectors == 4096


def test_raid0() -> None:
    fields = 'stripe_count = 2\nstripe_size = 64\n\nraid0_lvs = [\n"i_0",\n"i_1"\n]\n'
    (one,) = (
        sound(group_text(volume("lv", segment("raid0", 0, 20, fields)) + images("i"))).logical_volumes["lv"].segments
    )
    assert [area.name for area in one.areas] == ["i_0", "i_1"]
    assert (one.metadata_areas, one.stripe_size_sectors) == ((), 64)


@pytest.mark.parametrize("how", ["cow_store", "merging_store"])
def test_a_snapshot(how: str) -> None:
    text = group_text(linear("o", 10) + linear("s", 5, "pv1") + snapshot("snapshot0", "o", "s", chunk=64, how=how))
    (one,) = sound(text).logical_volumes["snapshot0"].segments
    assert one.snapshot == SnapshotOf("o", "s", 64, merging=how == "merging_store")
    assert one.areas == ()


def test_several_snapshots_of_one_origin() -> None:
    stores = "".join(linear(f"s{number}", 5, "pv1", 5 * number) for number in range(3))
    relations = "".join(snapshot(f"snapshot{number}", "o", f"s{number}") for number in range(3))
    sound(group_text(linear("o", 10) + stores + relations))


def test_kinds_without_areas_and_unknown_kinds_are_listed() -> None:
    pool = 'metadata = "tmeta"\npool = "tdata"\ntransaction_id = 1\nchunk_size = 128\n'
    thin = 'thin_pool = "pool"\ntransaction_id = 0\ndevice_id = 1\norigin = "thin0"\n'
    text = group_text(
        volume("pool", segment("thin-pool", 0, 20, pool))
        + volume("thin0", segment("thin", 0, 5000, thin.replace('origin = "thin0"\n', "")))
        + volume("thin1", segment("thin", 0, 5000, thin))
        + linear("tdata", 20)
        + linear("tmeta", 1, "pv1")
        + volume("nothing", segment("zero", 0, 4), segment("error", 4, 4))
        + volume("cached", segment("cache+CACHE_USES_CACHEVOL", 0, 4, 'cache_pool = "fast"\norigin = "corig"\n'))
        + linear("fast", 2, "pv1", 10)
        + linear("corig", 4, "pv1", 20)
        + volume("new", segment("of-tomorrow", 0, 4, "x = [1, 2.5]\n"))
    )
    volumes = sound(text).logical_volumes
    assert [one.kind for one in volumes["nothing"].segments] == ["zero", "error"]
    (cached,) = volumes["cached"].segments
    assert (cached.kind, cached.flags) == ("cache", ("CACHE_USES_CACHEVOL",))
    assert volumes["new"].segments[0].fields["x"] == (1, 2.5)
    assert volumes["pool"].segments[0].fields["pool"] == "tdata"


def test_a_status_of_one_word_may_stand_alone() -> None:
    text = group_text(linear("lv", 3)).replace(b'["ALLOCATABLE"]', b'"ALLOCATABLE"')
    assert sound(text).physical_volumes["pv0"].status == {"ALLOCATABLE"}


UNUSABLE = {
    "nothing": (lambda text: b"", "the metadata describes no volume groups"),
    "two groups": (lambda text: text[:-1] + b"vg2 { }\n\0", "the metadata describes 2 volume groups"),
    "another format": (lambda text: text.replace(b"Text Format", b"Other Format"), "metadata of an unknown format"),
    "another version": (lambda text: text.replace(b"version = 1", b"version = 2"), "version 2"),
    "a bad name": (lambda text: text.replace(b"vg {", b'"../vg" {', 1), "volume group '../vg': not a name for one"),
    "no identity": (lambda text: text.replace(b'id = "vg-id"', b""), "volume group vg: no id"),
    "no counter": (lambda text: text.replace(b"seqno = 7", b""), "volume group vg: no seqno"),
    "no extent size": (lambda text: text.replace(b"extent_size = 8192", b""), "volume group vg: no extent_size"),
    "extents of nothing": (lambda text: text.replace(b"= 8192", b"= 0"), "extent_size is 0, less than 1"),
    "extents below nothing": (lambda text: text.replace(b"= 8192", b"= -8"), "extent_size is -8, less than 1"),
    "extents of text": (lambda text: text.replace(b"= 8192", b'= "8192"'), "extent_size is not a number"),
    "extents of a half": (lambda text: text.replace(b"= 8192", b"= 0.5"), "extent_size is not a number"),
    "a status of numbers": (lambda text: text.replace(b'["ALLOCATABLE"]', b"[1]"), "status is not an array of strings"),
    "no place": (lambda text: text.replace(b"pe_start = 2048", b""), "physical volume pv0: no pe_start"),
    "a large volume": (
        lambda text: text.replace(b"pe_count = 100", b"pe_count = 2199023255552"),
        "physical volume pv0: larger than a device can be",
    ),
    "volumes of a number": (
        lambda text: text.replace(b"physical_volumes {", b"x {").replace(b"seqno", b"physical_volumes = 1\nseqno"),
        "volume group vg: physical_volumes is not a section",
    ),
    "a volume of a number": (lambda text: text.replace(b"pv1 {", b"a = 1\npv1 {"), "physical volume a: not a section"),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_metadata_that_describes_no_usable_group(what: str) -> None:
    damage, message = UNUSABLE[what]
    with pytest.raises(BadMetadata) as caught:
        group_of(damage(group_text(linear("lv", 3))))
    assert message in caught.value.message
