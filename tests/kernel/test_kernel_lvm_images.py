"""Volume groups that real LVM makes now: our lists, tables and exports are what LVM and Linux say of them."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import dmsnap
from dmsnap.testing import need_tool
from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.kernelvm.lvm_case import LVMCase
from dmsnap.testing.kernelvm.lvm_catalogue import LVM_CASES
from dmsnap.testing.kernelvm.lvm_run import case_images, in_boots, run_lvm_cases
from dmsnap.testing.lvm_fixtures import LVMFixture
from dmsnap.testing.lvm_judging import judge

FILE_SYSTEMS = {"ext4": ("e2fsck", "-fn"), "xfs": ("xfs_repair", "-n", "-f")}


def made(cases: list[LVMCase], folder: Path) -> list[LVMFixture]:
    """Has LVM make the groups of some cases."""
    kernel = need_kernelvm().kernel_version
    facts = run_lvm_cases(cases, folder, timeout_s=900)
    return [
        LVMFixture(case.name, case.group, case.purpose, kernel, tuple(case_images(case, folder)), facts[case.name])
        for case in cases
    ]


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    "cases",
    [pytest.param(cases, id=f"{cases[0].name}-to-{cases[-1].name}") for cases in in_boots(LVM_CASES)],
)
def test_every_group_is_what_lvm_and_linux_say(cases: list[LVMCase], tmp_path: Path) -> None:
    for fixture in made(cases, tmp_path):
        assert judge(fixture) == [], fixture.name


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_exported_volumes_with_file_systems_are_sound(tmp_path: Path) -> None:
    cases = [case for case in LVM_CASES if case.name in FILE_SYSTEMS]
    for fixture in made(cases, tmp_path):
        checker, *options = FILE_SYSTEMS[fixture.name]
        for row in (row for row in fixture.facts.lvs if row["origin"]):
            exported = tmp_path / f"{fixture.name}-{row['lv_name']}"
            images = ",".join(map(str, fixture.images))
            dmsnap.export(f"lvm:{fixture.group}/{row['lv_name']}@{images}", None, exported)
            digest = hashlib.sha256(exported.read_bytes()).hexdigest()
            assert digest == fixture.facts.sha256[f"{fixture.group}-{row['lv_name']}"]
            checked = subprocess.run(
                [need_tool(checker), *options, str(exported)], capture_output=True, text=True, check=False
            )
            assert checked.returncode == 0, checked.stdout + checked.stderr
