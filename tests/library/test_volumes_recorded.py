"""Listings and exports of groups that real LVM made equal what LVM and the kernel said of them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block import open_device
from dmsnap.library.volumes.listing import VolumeListing
from dmsnap.lvm.tables import dm_name
from dmsnap.testing.lvm_fixtures import LVMFixture, load_lvm_fixture, lvm_fixture_names

OF_A_KERNEL = ("data_percent",)
"""Fields that lvs leaves empty of a volume that is not active, and dmsnap reads from the store."""


ODD = {"cached", "degraded", "merge-deferred", "merge-failed", "partial", "partial-users", "refused"}
"""Groups whose images cannot tell all that the kernel knew, or that are refused in part: `lvm_judging` knows why."""


@pytest.fixture(params=sorted(set(lvm_fixture_names()) - ODD))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> LVMFixture:
    """Each recorded group in turn."""
    return load_lvm_fixture(request.param, tmp_path)


def listed(case: LVMFixture) -> VolumeListing:
    """The listing of a case, hidden volumes too."""
    return dmsnap.list_volumes(case.images, hidden=True)


def in_images(case: LVMFixture, devices: str) -> str:
    """Devices as lvs names them, with the images and partitions in place of the nodes that they were."""
    for node, image in case.facts.images.items():
        path = case.images[0].parent / image
        devices = re.sub(rf"{node}p?(\d+)\(", rf"{path}, partition \1(", devices).replace(f"{node}(", f"{path}(")
    return devices


def test_a_sound_group_has_no_findings(case: LVMFixture) -> None:
    assert listed(case).findings == ()


def test_volumes_are_what_lvs_says_while_they_are_inactive(case: LVMFixture) -> None:
    (group,) = listed(case).groups
    ours = {row.lv_name: row._asdict() for row in group.volumes}
    theirs = {row["lv_name"]: row for row in case.facts.lvs_inactive}
    assert list(ours) == list(theirs)
    shared = [name for name in next(iter(ours.values())) if name in case.facts.lvs_inactive[0]]
    assert {"lv_uuid", "lv_attr", "lv_size", "origin", "lv_tags"} <= set(shared)
    for name, row in ours.items():
        told = [field for field in shared if field not in OF_A_KERNEL]
        assert {field: row[field] for field in told} == {field: theirs[name][field] for field in told}


def test_segments_are_what_lvs_says(case: LVMFixture) -> None:
    (group,) = listed(case).groups
    theirs = case.facts.segments_inactive
    shared = [name for name in group.volumes[0]._fields if name in theirs[0] and name != "devices"]
    assert {"segtype", "stripes", "stripe_size", "region_size", "chunk_size", "seg_start", "seg_size"} <= set(shared)
    ours = [{field: row._asdict()[field] for field in shared} for row in group.volumes]
    assert ours == [{field: row[field] for field in shared} for row in theirs]
    assert [row.devices for row in group.volumes] == [in_images(case, row["devices"]) for row in theirs]


def test_usage_is_what_lvs_says_while_they_are_active(case: LVMFixture) -> None:
    (group,) = listed(case).groups
    theirs = {row["lv_name"]: row["data_percent"] for row in case.facts.lvs}
    assert {row.lv_name: row.data_percent for row in group.volumes} == theirs


def test_groups_and_physical_volumes_are_what_vgs_and_pvs_say(case: LVMFixture) -> None:
    (group,) = listed(case).groups
    assert [group.group._asdict()] == [{name: row[name] for name in group.group._fields} for row in case.facts.vgs]
    theirs = {row["pv_uuid"]: row for row in case.facts.pvs}
    for row in group.physical_volumes:
        fields = [name for name in row._fields if name != "pv_name"]
        assert {name: row._asdict()[name] for name in fields} == {name: theirs[row.pv_uuid][name] for name in fields}


def test_every_volume_is_exported_as_its_device_was(case: LVMFixture, tmp_path: Path) -> None:
    images = ",".join(map(str, case.images))
    digests = {row["lv_name"]: case.facts.sha256.get(dm_name(case.group, row["lv_name"])) for row in case.facts.lvs}
    readable = [name for name, digest in digests.items() if digest and not name.startswith("[")]
    assert readable
    for name in readable:
        out = tmp_path / "out.img"
        dmsnap.export(f"lvm:{case.group}/{name}@{images}", None, out, overwrite=True)
        assert hashlib.sha256(out.read_bytes()).hexdigest() == case.facts.sha256[dm_name(case.group, name)], name


def test_a_snapshot_whose_origin_has_grown_since_keeps_its_size(tmp_path: Path) -> None:
    case = load_lvm_fixture("resized", tmp_path)
    images = ",".join(map(str, case.images))
    with dmsnap.open_snapshot(f"lvm:{case.group}/shrunk@{images}") as snapshot:
        assert snapshot.size_bytes == 1 << 20
        assert snapshot.origin.size_bytes == 1 << 20
    with dmsnap.serve([f"lvm:{case.group}/shrunk@{images}", f"lvm:{case.group}/snap-renamed@{images}"]) as served:
        sizes = {}
        for name in ("shrunk", "snap-renamed", "origin"):
            with open_device(served.uri(name)) as export:
                sizes[name] = export.size_bytes
    assert sizes == {"shrunk": 1 << 20, "snap-renamed": 1 << 20, "origin": 2 << 20}
