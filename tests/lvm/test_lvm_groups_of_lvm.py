"""Groups that real LVM made are found as LVM's own reports list them, damaged ones by what LVM left in the ring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from dmsnap.block import open_device
from dmsnap.block.memory import MemoryDevice
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.groups import Group, find_groups
from dmsnap.lvm.metadata_area import read_metadata_area
from dmsnap.lvm.physical import find_physical_volumes
from dmsnap.testing.lvm_fixtures import LVM_COLLECTION, LVMFixture, load_lvm_fixture, lvm_fixture_names

AREAS = LVM_COLLECTION.parent / "lvm-areas"  # beside the script that made them
CASES = [(folder, name) for folder in (LVM_COLLECTION, AREAS) for name in lvm_fixture_names(folder)]
every_case = pytest.mark.parametrize(("folder", "name"), CASES, ids=[f"{case[0].name}/{case[1]}" for case in CASES])


@contextmanager
def groups_of(images: Sequence[Path]) -> Iterator[tuple[list[Group], list[Finding]]]:
    with ExitStack() as opened:
        yield find_groups([opened.enter_context(open_device(str(image))) for image in images])


def load(name: str, tmp_path: Path) -> LVMFixture:
    return load_lvm_fixture(name, tmp_path, AREAS)


@every_case
def test_a_group_is_what_vgs_and_pvs_list(folder: Path, name: str, tmp_path: Path) -> None:
    case = load_lvm_fixture(name, tmp_path, folder)
    (said,) = case.facts.vgs
    with groups_of(case.images) as (groups, findings):
        (found,) = groups
        group = found.group
        assert not findings
        assert (group.name, group.uuid, group.seqno) == (said["vg_name"], said["vg_uuid"], int(said["vg_seqno"]))
        assert group.extent_size_sectors * 512 == int(said["vg_extent_size"])
        assert ",".join(sorted(group.tags)) == said["vg_tags"]
        volumes = [pv for pv in case.facts.pvs if pv["vg_name"] == group.name]
        assert {pv.uuid for pv in group.physical_volumes.values()} == {pv["pv_uuid"] for pv in volumes}
        for pv in volumes:
            image = next((image for image in found.images.values() if image.uuid == pv["pv_uuid"]), None)
            if image is None:
                assert name in ("went-missing", "partial", "partial-users")
                continue
            node = next((node for node in case.facts.images if pv["pv_name"].startswith(node)), None)
            if node is not None:
                part = pv["pv_name"].removeprefix(node).removeprefix("p")
                expected = str(tmp_path / case.facts.images[node]) + (f", partition {part}" if part else "")
                assert image.image == expected


@every_case
def test_a_label_is_what_pvs_lists(folder: Path, name: str, tmp_path: Path) -> None:
    case = load_lvm_fixture(name, tmp_path, folder)
    with ExitStack() as opened:
        volumes, _ = find_physical_volumes([opened.enter_context(open_device(str(image))) for image in case.images])
        labels = {volume.uuid: volume.label for volume in volumes}
        for pv in case.facts.pvs:
            if pv["pv_uuid"] not in labels or pv["pv_missing"]:
                continue
            label = labels[pv["pv_uuid"]]
            assert label.size_bytes == int(pv["dev_size"])
            assert label.data_areas[0].offset_bytes == int(pv["pe_start"])
            assert len(label.metadata_areas) == int(pv["pv_mda_count"])
            assert label.extension_version == int(pv["pv_ext_vsn"])
            assert label.used == bool(pv["pv_in_use"])


def test_a_text_that_goes_round_is_read(tmp_path: Path) -> None:
    case = load("wrapped", tmp_path)
    with groups_of(case.images) as (groups, _):
        volume = groups[0].images["pv0"]
        areas = [read_metadata_area(volume.device, place) for place in volume.label.metadata_areas]
        assert (volume.label_sector, len(areas)) == (3, 2)
        for area in areas:
            assert area.committed is not None
            assert area.committed.offset_bytes + area.committed.size_bytes > area.size_bytes


def test_what_lvm_wrote_before_counts_where_all_copies_are_damaged(tmp_path: Path) -> None:
    case = load("wrapped", tmp_path)
    content = bytearray(case.images[0].read_bytes())
    for place in find_physical_volumes([MemoryDevice(content)])[0][0].label.metadata_areas:
        newest = read_metadata_area(MemoryDevice(content), place).committed
        assert newest is not None
        content[place.offset_bytes + newest.offset_bytes + 100] ^= 1
    groups, findings = find_groups([MemoryDevice(content)])
    assert [finding.kind for finding in findings] == [FindingKind.DAMAGED_METADATA] * 2
    (found,) = groups
    assert found.group.seqno == int(case.facts.vgs[0]["vg_seqno"]) - 1
    assert [finding.kind for finding in found.findings] == [FindingKind.OLDER_METADATA]
    assert set(found.group.tags) < set(case.facts.vgs[0]["vg_tags"].split(","))


def test_a_group_that_was_there_before_does_not_come_back_when_its_successor_is_damaged(tmp_path: Path) -> None:
    content = bytearray(load("removed", tmp_path).images[0].read_bytes())
    place = find_physical_volumes([MemoryDevice(content)])[0][0].label.metadata_areas[0]
    newest = read_metadata_area(MemoryDevice(content), place).committed
    assert newest is not None
    content[place.offset_bytes + newest.offset_bytes + 200] ^= 1
    (found,) = find_groups([MemoryDevice(content)])[0]
    assert (found.group.name, found.group.seqno) == ("vgafter", 1)


@pytest.mark.parametrize(
    ("name", "kinds", "missing"),
    [
        ("wrapped", [], []),
        ("unequal", [], []),
        ("removed", [], []),
        ("outdated", [FindingKind.DIFFERENT_METADATA], []),
        ("went-missing", [FindingKind.DIFFERENT_METADATA, FindingKind.MISSING_VOLUME], ["pv2"]),
    ],
)
def test_what_is_odd_is_told(name: str, kinds: list[FindingKind], missing: list[str], tmp_path: Path) -> None:
    with groups_of(load(name, tmp_path).images) as (groups, _):
        assert [finding.kind for finding in groups[0].findings] == kinds
        assert [physical.name for physical in groups[0].missing] == missing


def test_an_outdated_volume_alone_shows_the_group_as_it_was(tmp_path: Path) -> None:
    with groups_of(load("outdated", tmp_path).images[2:]) as (groups, _):
        assert (groups[0].group.name, groups[0].group.seqno) == ("vgoutdated", 2)
        assert [physical.name for physical in groups[0].missing] == ["pv0", "pv1"]
