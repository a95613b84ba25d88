"""The tables that LVM would load; those it did load are compared in test_lvm_assembly_recorded."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from small_groups import area, below, group_of_volumes, linear, lv, snapshot

from dmsnap.lvm.kinds import NotAssembled
from dmsnap.lvm.model import LogicalVolume, Segment
from dmsnap.lvm.tables import dm_name, tables


def table(name: str, *volumes: LogicalVolume, missing: str = "") -> dict[str, list[str]]:
    """The tables of a volume, by device."""
    return dict(tables(group_of_volumes(*volumes), name, missing=missing.split()))


def test_dashes_in_names_are_doubled() -> None:
    assert dm_name("vg-a", "lv--b", "real") == "vg--a-lv----b-real"
    assert dm_name("vg", "lv") == "vg-lv"


def test_linear_stretches_are_lines() -> None:
    volume = lv("one", linear(area("pv1", 3), 2), linear(area("pv0"), 4, start=2))
    assert table("one", volume) == {"vg--a-one": ["0 16 linear pv1 40", "16 32 linear pv0 16"]}


def test_stripes_zero_and_error() -> None:
    stripes = Segment(0, 4, "striped", (area("pv0", 1), area("pv1", 2)), stripe_size_sectors=4)
    volume = lv("odd", stripes, Segment(4, 1, "zero"), Segment(5, 1, "error"))
    assert table("odd", volume) == {
        "vg--a-odd": ["0 32 striped 2 4 pv0 24 pv1 32", "32 8 zero", "40 8 error"],
    }


def test_where_a_physical_volume_is_missing_an_error_device_stands_for_each_area_on_it() -> None:
    stripes = Segment(2, 4, "striped", (area("pv0", 1), area("pv1", 2)), stripe_size_sectors=4)
    volume = lv("part", linear(area("pv0", 8), 2), stripes)
    assert list(table("part", volume, missing="pv1").items()) == [
        ("vg--a-part-missing_1_1", ["0 32 error"]),
        ("vg--a-part", ["0 16 linear pv0 80", "16 32 striped 2 4 pv0 24 vg--a-part-missing_1_1 0"]),
    ]
    assert table("part", volume, missing="pv0")["vg--a-part"] == [
        "0 16 linear vg--a-part-missing_0_0 0",
        "16 32 striped 2 4 vg--a-part-missing_1_0 0 pv1 32",
    ]


def test_the_error_device_below_an_origin_is_named_for_the_volume() -> None:
    origin, store = lv("origin", linear(area("pv0"), 16)), lv("snap", linear(area("pv1"), 4))
    made = table("snap", origin, store, snapshot("snap", "origin", 16), missing="pv0 pv2")
    assert made["vg--a-origin-real"] == ["0 128 linear vg--a-origin-missing_0_0 0"]
    assert made["vg--a-origin-missing_0_0"] == ["0 128 error"]


def pool(**fields: object) -> list[LogicalVolume]:
    """A thin pool of four extents with one thin volume, and what it lies on."""
    said = {"metadata": "p_tmeta", "pool": "p_tdata", "chunk_size": 128, "zero_new_blocks": 1} | fields
    return [
        lv("p", Segment(0, 4, "thin-pool", (below("p_tdata"),), fields=said)),
        lv("t", Segment(0, 32, "thin", fields={"thin_pool": "p", "device_id": 7})),
        lv("p_tmeta", linear(area("pv0"), 1), status="READ WRITE"),
        lv("p_tdata", linear(area("pv1"), 4), status="READ WRITE"),
    ]


def test_a_thin_volume_comes_with_what_its_pool_is_made_of_and_a_pool_with_a_device_of_its_own() -> None:
    below_it = [
        ("vg--a-p_tmeta", ["0 8 linear pv0 16"]),
        ("vg--a-p_tdata", ["0 32 linear pv1 16"]),
        ("vg--a-p-tpool", ["0 32 thin-pool vg--a-p_tmeta vg--a-p_tdata 128 0 0"]),
    ]
    assert list(table("t", *pool()).items()) == [*below_it, ("vg--a-t", ["0 256 thin vg--a-p-tpool 7"])]
    assert list(table("p", *pool()).items()) == [*below_it, ("vg--a-p", ["0 32 linear vg--a-p-tpool 0"])]


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({"zero_new_blocks": 0}, "0 1 skip_block_zeroing"),
        ({"discards": "passdown"}, "0 0"),
        ({"discards": "ignore"}, "0 1 ignore_discard"),
        ({"zero_new_blocks": 0, "discards": "nopassdown"}, "0 2 skip_block_zeroing no_discard_passdown"),
    ],
)
def test_what_a_thin_pool_does_is_told_in_the_order_of_the_kernel(fields: dict[str, object], end: str) -> None:
    assert table("t", *pool(**fields))["vg--a-p-tpool"][0].endswith(f" 128 {end}")


def cached(**fields: object) -> list[LogicalVolume]:
    """A volume that is cached in another, and what it lies on."""
    said = {"origin": "c_corig", "cache_pool": "c_cvol", "chunk_size": 64, "cache_mode": "writeback", "policy": "smq"}
    parts = {"metadata_start": 0, "metadata_len": 8, "data_start": 8, "data_len": 24}
    return [
        lv("c", Segment(0, 2, "cache", (below("c_corig"),), fields=said | parts | fields)),
        lv("c_corig", linear(area("pv0"), 2), status="READ WRITE"),
        lv("c_cvol", linear(area("pv1"), 4), status="READ WRITE"),
    ]


def test_a_cached_volume_comes_with_the_parts_of_its_cache() -> None:
    assert list(table("c", *cached(metadata_format=2)).items()) == [
        ("vg--a-c_cvol", ["0 32 linear pv1 16"]),
        ("vg--a-c_cvol-cmeta", ["0 8 linear vg--a-c_cvol 0"]),
        ("vg--a-c_cvol-cdata", ["0 24 linear vg--a-c_cvol 8"]),
        ("vg--a-c_corig", ["0 16 linear pv0 16"]),
        ("vg--a-c", ["0 16 cache vg--a-c_cvol-cmeta vg--a-c_cvol-cdata vg--a-c_corig 64 2 metadata2 writeback smq 0"]),
    ]
    assert table("c", *cached())["vg--a-c"][0].endswith(" 64 1 writeback smq 0")


@pytest.mark.parametrize(
    "volumes",
    [
        cached(policy="smq $(reboot)"),
        cached(cache_mode="$(reboot)"),
        cached(policy_settings="$(reboot)"),
        cached(data_start="$(reboot)"),
        cached(chunk_size="$(reboot)"),
        cached(cache_pool="nobody"),
        [lv("c", Segment(0, 32, "thin", fields={"thin_pool": "p", "device_id": "$(reboot)"})), *pool()],
        [lv("c", Segment(0, 32, "thin", fields={"thin_pool": "t", "device_id": 1})), *pool()],
        [lv("c", Segment(0, 32, "thin", fields={"thin_pool": "p", "device_id": 1, "external_origin": "t"})), *pool()],
        [lv("c", Segment(0, 32, "thin", fields={"thin_pool": "p", "device_id": 1})), *pool(chunk_size="$(reboot)")],
        [lv("c", Segment(0, 32, "thin", fields={"thin_pool": "p", "device_id": 1})), *pool(pool="p")],
    ],
)
def test_pools_and_caches_that_say_what_is_not_known_have_no_tables(volumes: list[LogicalVolume]) -> None:
    with pytest.raises(NotAssembled):
        table("c", *volumes)


ORIGIN = lv("origin", linear(area("pv0"), 16))
STORES = [lv(name, linear(area("pv1", start), 4)) for name, start in (("first", 0), ("second", 10))]


@pytest.mark.parametrize("name", ["origin", "first", "second"])
def test_an_origin_and_all_its_snapshots_come_together(name: str) -> None:
    relations = [snapshot("first", "origin", 16), snapshot("second", "origin", 16, chunk_sectors=64)]
    assert list(table(name, ORIGIN, *STORES, *relations).items()) == [
        ("vg--a-origin-real", ["0 128 linear pv0 16"]),
        ("vg--a-first-cow", ["0 32 linear pv1 16"]),
        ("vg--a-first", ["0 128 snapshot vg--a-origin-real vg--a-first-cow P 8"]),
        ("vg--a-second-cow", ["0 32 linear pv1 96"]),
        ("vg--a-second", ["0 128 snapshot vg--a-origin-real vg--a-second-cow P 64"]),
        ("vg--a-origin", ["0 128 snapshot-origin vg--a-origin-real"]),
    ]


def test_while_a_snapshot_is_merging_it_is_an_error_and_the_origin_the_merge() -> None:
    relations = [snapshot("first", "origin", 16), snapshot("second", "origin", 16, merging=True)]
    made = table("origin", ORIGIN, *STORES, *relations)
    assert made["vg--a-second"] == ["0 128 error"]
    assert made["vg--a-origin"] == ["0 128 snapshot-merge vg--a-origin-real vg--a-second-cow P 8"]
    assert made["vg--a-first"] == ["0 128 snapshot vg--a-origin-real vg--a-first-cow P 8"]


def legs(kind: str, count: int = 2, *, status: str = "READ WRITE") -> list[LogicalVolume]:
    """The volumes of a mirror's legs."""
    return [lv(f"m_{kind}_{n}", linear(area(f"pv{n}"), 4), status=status if n else "READ") for n in range(count)]


def mirror(**more: object) -> Segment:
    """A mirror of two legs."""
    places = (below("m_mimage_0"), below("m_mimage_1"))
    return replace(Segment(0, 4, "mirror", places, region_size_sectors=1024), **more)  # type: ignore[arg-type]


def test_a_mirror_has_its_log_in_memory_or_on_disk() -> None:
    images = legs("mimage")
    end = "2 vg--a-m_mimage_0 0 vg--a-m_mimage_1 0 1 handle_errors"
    assert table("m", lv("m", mirror()), *images)["vg--a-m"] == [f"0 32 mirror core 1 1024 {end}"]
    log = lv("m_mlog", linear(area("pv2"), 1))
    made = table("m", lv("m", mirror(log="m_mlog")), *images, log)
    assert made["vg--a-m"] == [f"0 32 mirror disk 2 vg--a-m_mlog 1024 {end}"]
    assert made["vg--a-m_mlog"] == ["0 8 linear pv2 16"]


def test_a_mirror_of_one_leg_is_linear() -> None:
    one = lv("m", mirror(areas=(below("m_mimage_0"),)))
    assert table("m", one, *legs("mimage"))["vg--a-m"] == ["0 32 linear vg--a-m_mimage_0 0"]


def raid(kind: str, count: int = 2, **more: object) -> Segment:
    """A RAID volume's segment."""
    images = tuple(below(f"m_rimage_{n}") for n in range(count))
    metadata = () if kind == "raid0" else tuple(below(f"m_rmeta_{n}") for n in range(count))
    return replace(Segment(0, 4, kind, images, metadata_areas=metadata), **more)  # type: ignore[arg-type]


def test_raid1() -> None:
    made = table("m", lv("m", raid("raid1", region_size_sectors=4096)), *legs("rimage"), *legs("rmeta"))
    pairs = "vg--a-m_rmeta_0 vg--a-m_rimage_0 vg--a-m_rmeta_1 vg--a-m_rimage_1"
    assert made["vg--a-m"] == [f"0 32 raid raid1 3 0 region_size 4096 2 {pairs}"]
    assert list(made)[-1] == "vg--a-m"


def test_raid1_with_all_that_may_be_said() -> None:
    fields = {"min_recovery_rate": 10, "max_recovery_rate": 20, "writebehind": 30}
    whole = lv("m", raid("raid1", region_size_sectors=8, fields=fields), status="READ NOTSYNCED")
    made = table("m", whole, *legs("rimage", status="READ REBUILD WRITEMOSTLY"), *legs("rmeta"))
    assert made["vg--a-m"][0].startswith(
        "0 32 raid raid1 14 0 nosync rebuild 1 min_recovery_rate 10 max_recovery_rate 20 write_mostly 1"
        " max_write_behind 30 region_size 8 2 "
    )


@pytest.mark.parametrize(("kind", "told"), [("raid4", "raid4"), ("raid5", "raid5_ls"), ("raid6", "raid6_zr")])
def test_raid_with_parity(kind: str, told: str) -> None:
    more = {"stripe_size_sectors": 128, "region_size_sectors": 4096}
    made = table("m", lv("m", raid(kind, 3, **more)), *legs("rimage", 3), *legs("rmeta", 3))
    assert made["vg--a-m"][0].startswith(f"0 32 raid {told} 3 128 region_size 4096 3 vg--a-m_rmeta_0 vg--a-m_rimage_0 ")
    changing = lv("m", raid(kind, 3, fields={"data_offset": 8}, **more))
    with pytest.raises(NotAssembled, match="parity"):
        table("m", changing, *legs("rimage", 3), *legs("rmeta", 3))


def test_what_is_no_number_gets_into_no_table() -> None:
    fields = {"min_recovery_rate": "$(reboot)", "writebehind": "$(reboot)"}
    made = table("m", lv("m", raid("raid1", fields=fields)), *legs("rimage"), *legs("rmeta"))
    assert made["vg--a-m"][0].startswith("0 32 raid raid1 1 0 2 ")


def test_raid0_with_and_without_metadata() -> None:
    made = table("m", lv("m", raid("raid0", stripe_size_sectors=128)), *legs("rimage"))
    assert made["vg--a-m"] == ["0 32 raid raid0 1 128 2 - vg--a-m_rimage_0 - vg--a-m_rimage_1"]
    made = table("m", lv("m", raid("raid0_meta", stripe_size_sectors=128)), *legs("rimage"), *legs("rmeta"))
    pairs = "vg--a-m_rmeta_0 vg--a-m_rimage_0 vg--a-m_rmeta_1 vg--a-m_rimage_1"
    assert made["vg--a-m"] == [f"0 32 raid raid0 1 128 2 {pairs}"]


def test_of_what_pvmove_moves_one_stretch_is_a_mirror_at_a_time() -> None:
    def stretch(number: int, moved: int) -> Segment:
        places = (area("pv0", 2 * number), area("pv1", 2 * number))
        return Segment(2 * number, 2, "mirror", places, fields={"extents_moved": moved})

    volume = lv("pvmove0", stretch(0, 2), stretch(1, 0), stretch(2, 0), status="READ WRITE PVMOVE LOCKED")
    assert table("pvmove0", volume)["vg--a-pvmove0"] == [
        "0 16 linear pv1 16",
        "16 16 mirror core 1 4096 2 pv0 32 pv1 32",
        "32 16 linear pv0 48",
    ]


@pytest.mark.parametrize(
    ("volumes", "message"),
    [
        ([], "no such volume"),
        ([lv("it", Segment(0, 1, "thin"))], "tables of type thin cannot be told: .*pool"),
        ([lv("it", Segment(0, 1, "raid5_ls"))], "parity"),
        ([lv("it", Segment(0, 1, "raid5_$(reboot)", metadata_areas=(area("pv0"),)))], "cannot be told"),
        ([snapshot("x", "y", 1), lv("it", linear(below("snapshot-x"), 1))], "says that another volume is a snapshot"),
        ([lv("it", linear(area("pv9"), 1))], "lies on pv9"),
        (
            [lv("it", linear(below("lvol0_pmspare"), 1)), lv("lvol0_pmspare", linear(area("pv0"), 1), status="READ")],
            "LVM never activates it",
        ),
        ([lv("it", linear(below("it"), 1))], "lies on itself"),
        ([replace(lv("it", linear(area("pv0"), 1)), problem="contradicts others")], "contradicts others"),
    ],
)
def test_what_has_no_tables_says_why(volumes: list[LogicalVolume], message: str) -> None:
    with pytest.raises(NotAssembled, match=message):
        tables(group_of_volumes(*volumes), "it")


def test_volumes_do_not_lie_on_volumes_without_end() -> None:
    names = [f"v{number}" for number in range(2000)]
    stack = [lv(upper, linear(below(lower), 1)) for upper, lower in pairwise(names)]
    with pytest.raises(NotAssembled, match="below 16 others"):
        tables(group_of_volumes(*stack, lv(names[-1], linear(area("pv0"), 1))), "v0")
