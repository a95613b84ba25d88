"""Volume groups that real LVM made: our lists, tables and contents are what LVM and Linux said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lvm_cases import every_lvm_case, load_lvm_fixture

from dmsnap.testing.kernelvm.lvm_catalogue import LVM_CASES
from dmsnap.testing.lvm_fixtures import lvm_fixture_names
from dmsnap.testing.lvm_judging import GroupMissing, content_differences, judge, list_differences, table_differences


def test_every_case_that_packs_has_its_fixture() -> None:
    assert sorted(case.name for case in LVM_CASES if case.keep) == lvm_fixture_names()


@every_lvm_case
def test_lists_and_tables_and_contents_are_those_of_lvm_and_linux(case: str, tmp_path: Path) -> None:
    assert judge(load_lvm_fixture(case, tmp_path)) == []


@every_lvm_case
def test_without_one_disk_what_still_reads_is_the_same(case: str, tmp_path: Path) -> None:
    fixture = load_lvm_fixture(case, tmp_path)
    whole = set(content_differences(fixture))
    for missing in fixture.images if len(fixture.images) > 1 else ():
        if (case, missing.name) == ("degraded", "disk0.img"):
            continue  # the leg that failed cannot know that it is stale, and Linux would take it, too
        rest = tuple(image for image in fixture.images if image != missing)
        try:
            wrong = set(content_differences(replace(fixture, images=rest))) - whole
        except GroupMissing:
            assert (case, missing.name) == ("wrapped", "disk2.img"), "the only one that has metadata"
            continue
        assert [difference for difference in wrong if ": None is ours" not in difference] == [], missing.name


def test_a_changed_sector_is_seen(tmp_path: Path) -> None:
    fixture = load_lvm_fixture("snapshots", tmp_path)
    with open(fixture.images[0], "r+b") as image:
        image.seek((2048 + 150) * 512)  # the origin begins with the first extent, at 1 MiB
        image.write(b"changed")
    changed = {difference.split(":")[0] for difference in content_differences(fixture)}
    assert {"content vgsnap-origin", "content vgsnap-origin-real", "content vgsnap-snap4"} <= changed


def test_a_changed_list_and_table_are_seen(tmp_path: Path) -> None:
    fixture = load_lvm_fixture("snapshots", tmp_path)
    fixture.facts.segments_inactive[0]["stripes"] = "7"
    assert list_differences(fixture) == ["lvs origin: stripes is '1', LVM says '7'"]
    fixture.facts.table["vgsnap-snap4"][0] += " extra"
    assert [difference.split(":")[0] for difference in table_differences(fixture)] == ["table vgsnap-snap4"]
