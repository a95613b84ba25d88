"""Volume groups that real LVM makes now: our lists, tables and exports are what LVM and Linux say of them.

These are some of the cases, made in one boot; ``make lvm`` makes all of them. What LVM and Linux said of the others is
recorded (``tests/lvm/test_lvm_recorded.py``).
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import dmsnap
from dmsnap.testing import need_tool
from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.kernelvm.lvm_catalogue import LVM_CASES
from dmsnap.testing.lvm_anew import made_anew
from dmsnap.testing.lvm_fixtures import LVMFixture
from dmsnap.testing.lvm_judging import judge

CASES = ("several-disks", "mirrors", "moved", "merge-half", "ext4", "xfs")
CHECKERS = {"ext4": ("e2fsck", "-fn"), "xfs": ("xfs_repair", "-n", "-f")}


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(700)
def test_groups_and_file_systems_are_what_lvm_and_linux_say(tmp_path: Path) -> None:
    need_kernelvm()
    for checker, *_ in CHECKERS.values():
        need_tool(checker)
    fixtures = made_anew([case for case in LVM_CASES if case.name in CASES], tmp_path, timeout_s=600)
    assert {fixture.name: judge(fixture) for fixture in fixtures} == {name: [] for name in CASES}
    for fixture in fixtures:
        if fixture.name in CHECKERS:
            exported_file_systems_are_sound(fixture)


def exported_file_systems_are_sound(fixture: LVMFixture) -> None:
    checker, *options = CHECKERS[fixture.name]
    snapshots = [row["lv_name"] for row in fixture.facts.lvs if row["origin"]]
    assert snapshots
    for name in snapshots:
        exported = fixture.images[0].with_name(name)
        dmsnap.export(f"lvm:{fixture.group}/{name}@{','.join(map(str, fixture.images))}", None, exported)
        digest = hashlib.sha256(exported.read_bytes()).hexdigest()
        assert digest == fixture.facts.sha256[f"{fixture.group}-{name}"]
        checked = subprocess.run(
            [need_tool(checker), *options, str(exported)], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
