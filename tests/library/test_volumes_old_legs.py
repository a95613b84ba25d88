"""A mirror that is not all there, and whose leg that is left may be an old one: read, and told."""

from __future__ import annotations

from pathlib import Path

import dmsnap
from dmsnap.lvm.finding import FindingKind
from dmsnap.testing.lvm_fixtures import load_lvm_fixture


def found(images: list[Path]) -> dict[str, str]:
    """The findings that a listing has of old legs, by volume."""
    findings = dmsnap.list_volumes(images).findings
    return {finding.volume: finding.message for finding in findings if finding.kind == FindingKind.OLD_LEG}


def test_the_leg_that_an_array_had_lost_is_told_to_be_maybe_old(tmp_path: Path) -> None:
    case = load_lvm_fixture("degraded", tmp_path)  # its first leg, on disk 1, failed
    assert list(found([case.images[1]])) == ["raid"]
    told: list[str] = []
    address = f"lvm:{case.group}/raid@{case.images[1]}"
    dmsnap.export(address, None, tmp_path / "out.img", warn=told.append)
    assert told == [found([case.images[1]])["raid"]]
    with dmsnap.serve([address], read_only=True, warn=told.append):
        assert told[1:] == told[:1]


def test_the_leg_that_an_array_went_on_with_is_not(tmp_path: Path) -> None:
    case = load_lvm_fixture("degraded", tmp_path)
    assert found([case.images[0]]) == {}
    assert found([*case.images]) == {}
    told: list[str] = []
    dmsnap.export(f"lvm:{case.group}/raid@{case.images[0]}", None, tmp_path / "out.img", warn=told.append)
    assert told == []


def test_a_mirror_without_a_log_on_disk_cannot_know(tmp_path: Path) -> None:
    case = load_lvm_fixture("mirrors", tmp_path)
    without = [image for image in case.images if image.name != "disk1.img"]
    assert set(found(without)) == {"corelog", "raid"}
    assert "no log tells" in found(without)["corelog"]
