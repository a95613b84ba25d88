"""What is wrong with a volume is told, spoils that volume alone, and costs little time."""

from __future__ import annotations

import time

import pytest
from group_texts import group_text, linear, problems, segment, snapshot, striped, volume

from dmsnap.lvm.importing import group_of

MIRROR = 'mirror_count = 2\nregion_size = 64\n\nmirrors = [\n"pv0", 0,\n"pv1", 0\n]\n'
RAID = 'device_count = 2\nregion_size = 64\n\nraids = [\n"m_0", "i_0",\n"m_1", "i_1"\n]\n'

SNAPSHOT = 'chunk_size = 8\norigin = "o"\ncow_store = "s"\n'

ONE_VOLUME = {
    "a gap": (volume("lv", striped(0, 3, ("pv0", 0)), striped(4, 3, ("pv0", 9))), "at extent 4 leaves a gap"),
    "a gap in front": (volume("lv", striped(1, 3, ("pv0", 0))), "at extent 1 leaves a gap"),
    "an overlap": (volume("lv", striped(0, 3, ("pv0", 0)), striped(2, 3, ("pv0", 9))), "overlaps the one before"),
    "one segment twice": (volume("lv", *[striped(0, 3, ("pv0", 0))] * 2), "at extent 0 overlaps the one before"),
    "behind the end": (linear("lv", 3, "pv0", 98), "ends behind the end of pv0"),
    "far behind the end": (linear("lv", 3, "pv0", 2**62), "ends behind the end of pv0"),
    "unknown": (linear("lv", 3, "pv7"), "names 'pv7', which is not there"),
    "no segments": (volume("lv"), "segment_count is 0, less than 1"),
    "fewer segments": (volume("lv", striped(0, 3, ("pv0", 0)), count=2), "segment_count is 2, of 1"),
    "no extents": (volume("lv", striped(0, 0, ("pv0", 0))), "extent_count is 0, less than 1"),
    "fewer than no extents": (volume("lv", striped(0, -1, ("pv0", 0))), "extent_count is -1, less than 1"),
    "a negative area": (linear("lv", 3, "pv0", -1), "stripes is not an array of names and extents"),
    "no areas": (volume("lv", segment("striped", 0, 3, "stripe_count = 0\nstripes = []\n")), "not an array of names"),
    "half an area": (volume("lv", segment("striped", 0, 3, 'stripe_count = 1\nstripes = ["pv0"]\n')), "not an array"),
    "fewer areas": (
        volume("lv", segment("striped", 0, 3, 'stripe_count = 2\nstripe_size = 8\nstripes = ["pv0", 0]\n')),
        "stripe_count is 2, of 1 stripes",
    ),
    "uneven stripes": (volume("lv", striped(0, 3, ("pv0", 0), ("pv1", 0))), "divides 3 extents by 2 stripes"),
    "odd stripes": (volume("lv", striped(0, 4, ("pv0", 0), ("pv1", 0), stripe_size=3)), "stripe_size is 3 sectors"),
    "no stripe size": (volume("lv", striped(0, 4, ("pv0", 0), ("pv1", 0), stripe_size=0)), "stripe_size is 0 sectors"),
    "large stripes": (
        volume("lv", striped(0, 4, ("pv0", 0), ("pv1", 0), stripe_size=1 << 20)),
        "is no whole number of stripes of 1048576 sectors",
    ),
    "used twice by itself": (volume("lv", striped(0, 3, ("pv0", 0)), striped(3, 3, ("pv0", 2))), "of pv0 twice"),
    "one stripe twice": (volume("lv", striped(0, 4, ("pv0", 0), ("pv0", 1))), "uses extents of pv0 twice"),
    "no type": (volume("lv", "start_extent = 0\nextent_count = 3\n"), "segment1: no type"),
    "a segment of a number": ("lv {\nid = \"x\"\nsegment_count = 1\nsegment1 = 5\n}\n", "segment1: not a section"),
    "no id": (linear("lv", 3).replace("id =", "di ="), "volume lv: no id"),
    "mirror outside": (volume("lv", segment("mirror", 0, 101, MIRROR)), "ends behind the end of pv0"),
    "no log": (volume("lv", segment("mirror", 0, 9, 'mirror_log = "x"\n' + MIRROR)), "names 'x', which is not there"),
    "no legs": (volume("lv", segment("raid1", 0, 9, RAID)), "names 'i_0', which is not there"),
    "RAID of nothing": (volume("lv", segment("raid1", 0, 9, "device_count = 0\nraids = []\n")), "RAID of no volumes"),
    "RAID of halves": (volume("lv", segment("raid1", 0, 9, 'device_count = 1\nraids = ["a"]\n')), "an array of pairs"),
    "RAID of fewer": (volume("lv", segment("raid1", 0, 9, RAID.replace("2", "3"))), "RAID of 3 volumes names 2"),
    "no pool": (volume("lv", segment("thin", 0, 9, 'thin_pool = "x"\n')), "names 'x', which is not there"),
    "too large": (volume("lv", segment("zero", 0, 1 << 42)), "4398046511104 extents are more than a device can have"),
    "too large together": (
        volume("lv", segment("zero", 0, 1 << 40), segment("zero", 1 << 40, 2**62)),
        "extents are more than a device can have",
    ),
    "itself": (volume("lv", striped(0, 3, ("lv", 0))), "lies on itself, or on a volume that does"),
    "itself as its log": (volume("lv", segment("mirror", 0, 9, 'mirror_log = "lv"\n' + MIRROR)), "lies on itself"),
    "an array as its name": ("lv = [1]\n", "not a section"),
}  # fmt: skip


@pytest.mark.parametrize("what", ONE_VOLUME)
def test_a_volume_that_contradicts_itself(what: str) -> None:
    text, message = ONE_VOLUME[what]
    found = problems(group_text(text + linear("good", 5, "pv1", 90)))
    assert list(found) == ["lv"]
    assert message in found["lv"]
    assert found["lv"].startswith("volume lv: ")


@pytest.mark.parametrize("name", [".", "..", "-x", "a" * 128, "a/b", "a b", "\n", "ä"])
def test_a_name_that_lvm_does_not_give(name: str) -> None:
    found = problems(group_text(linear("lv", 3).replace("lv {", f'"{name}" {{')))
    assert "not a name for one" in found[name]


def test_two_volumes_on_the_same_extents() -> None:
    found = problems(group_text(linear("a", 5) + linear("b", 5, "pv0", 4) + linear("good", 5, "pv0", 9)))
    assert found == {
        "a": "volume a: shares extents of pv0 with volume b",
        "b": "volume b: shares extents of pv0 with volume a",
    }


def test_two_volumes_on_the_same_extents_of_a_volume() -> None:
    on = linear("below", 10)
    found = problems(group_text(on + linear("a", 5, "below", 0) + linear("b", 5, "below", 4)))
    assert set(found) == {"a", "b"}
    assert "extents of below" in found["a"]


def test_an_interval_within_another() -> None:
    inner = "".join(linear(f"in{number}", 1, "pv0", 10 + 2 * number) for number in range(5))
    found = problems(group_text(linear("outer", 90) + inner + linear("good", 5, "pv1")))
    assert set(found) == {"outer", *(f"in{number}" for number in range(5))}


def test_an_area_outside_a_logical_volume() -> None:
    assert problems(group_text(linear("below", 10) + linear("a", 5, "below", 6))) == {
        "a": "volume a: the segment at extent 0 ends behind the end of below"
    }


@pytest.mark.parametrize("count", [2, 3, 10_000])
def test_volumes_in_a_ring(count: int) -> None:
    ring = "".join(linear(f"v{number}", 3, f"v{(number + 1) % count}") for number in range(count))
    found = problems(group_text(ring + linear("good", 5)))
    assert len(found) == count
    assert set(found.values()) == {f"volume {name}: lies on itself, or on a volume that does" for name in found}


def test_volumes_stacked_10000_deep() -> None:
    stack = "".join(linear(f"v{number}", 3, f"v{number - 1}") for number in range(1, 10_000))
    found = problems(group_text(linear("v0", 3) + stack))
    assert set(found) == {f"v{number}" for number in range(21, 10_000)}
    assert found["v21"] == "volume v21: lies on more than 20 volumes one on the other"


def test_a_stack_whose_parts_double() -> None:
    doubling = "".join(
        volume(f"v{number}", *(striped(3 * half, 3, (f"v{number - 1}", 0)) for half in (0, 1)))
        for number in range(1, 20)
    )
    assert set(problems(group_text(linear("v0", 3) + doubling))) == {f"v{number}" for number in range(1, 20)}


SNAPSHOTS = {
    "no store": (snapshot("snapshot0", "o", "x"), {"snapshot0"}, "names 'x', which is not there"),
    "no origin": (snapshot("snapshot0", "x", "s"), {"snapshot0", "s"}, "a snapshot of 'x', which is not there"),
    "of itself": (snapshot("snapshot0", "s", "s"), {"snapshot0", "s"}, "a snapshot of itself"),
    "of a snapshot": (
        snapshot("snapshot0", "o", "s") + snapshot("snapshot1", "s", "t"),
        {"snapshot1", "t"},
        "a snapshot of s, which is one itself",
    ),
    "one of the other": (
        snapshot("snapshot0", "s", "t") + snapshot("snapshot1", "t", "s"),
        {"snapshot0", "snapshot1", "s", "t"},
        "which is one itself",
    ),
    "one store": (
        snapshot("snapshot0", "o", "s") + snapshot("snapshot1", "o", "s"),
        {"snapshot1", "s"},
        "its store s serves more than one snapshot",
    ),
    "two merge": (
        snapshot("snapshot0", "o", "s", how="merging_store") + snapshot("snapshot1", "o", "t", how="merging_store"),
        {"snapshot1", "t"},
        "merged into o while another one is",
    ),
    "no chunk size": (snapshot("snapshot0", "o", "s").replace("chunk_size", "x"), {"snapshot0"}, "no chunk_size"),
    "odd chunks": (snapshot("snapshot0", "o", "s", chunk=24), {"snapshot0"}, "chunk_size is 24 sectors"),
    "huge chunks": (snapshot("snapshot0", "o", "s", chunk=1 << 32), {"snapshot0"}, "chunk_size is 4294967296 sectors"),
    "both stores": (
        snapshot("snapshot0", "o", "s").replace("cow_store", 'merging_store = "s"\ncow_store'),
        {"snapshot0"},
        "both a cow_store and a merging_store",
    ),
    "neither": (snapshot("snapshot0", "o", "s").replace("cow_store", "x"), {"snapshot0"}, "no cow_store"),
    "origin missing": (snapshot("snapshot0", "o", "s").replace("origin =", "x ="), {"snapshot0"}, "no origin"),
    "not alone": (
        volume("snapshot0", segment("zero", 0, 5), segment("snapshot", 5, 5, SNAPSHOT)),
        {"snapshot0"},
        "is a snapshot and not alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SNAPSHOTS)
def test_a_snapshot_that_cannot_be(what: str) -> None:
    text, bad, message = SNAPSHOTS[what]
    found = problems(group_text(text + linear("o", 10) + linear("s", 5, "pv1") + linear("t", 5, "pv1", 5)))
    assert set(found) == bad
    assert all(message in problem for problem in found.values())


def test_a_volume_with_a_problem_is_still_listed() -> None:
    group, (finding,) = group_of(group_text(linear("lv", 3, "pv0", 98)))
    assert (finding.kind, finding.group, finding.volume) == ("bad-volume", "vg", "lv")
    assert group.logical_volumes["lv"].extent_count == 3


def test_many_problems_take_little_time() -> None:
    lines = [linear(f"v{number}", 5, "pv0", number % 90) for number in range(4000)]
    begun = time.process_time()
    assert len(problems(group_text("".join(lines)))) == 4000
    assert time.process_time() - begun < 5
