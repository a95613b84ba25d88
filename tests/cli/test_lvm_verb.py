"""``dmsnap lvm``: what it lists and sizes, for people and for programs, and volumes wherever verbs take a device."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_values import Ended

from dmsnap.cli.verbs.lvm import VERBS
from dmsnap.testing.lvm_fixtures import LVMFixture, load_lvm_fixture

Run = Callable[..., Ended]


@pytest.fixture
def case(tmp_path: Path) -> LVMFixture:
    """A group with an origin of 4 MiB, four snapshots of it and a plain volume, in ``disk0.img``."""
    return load_lvm_fixture("snapshots", tmp_path)


def sha256(data: bytes) -> str:
    """A digest, as the fixtures have them."""
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", VERBS)
class TestEveryVerb:
    def test_help_is_on_stdout(self, name: str, run: Run) -> None:
        ended = run("lvm", name, "--help")
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout.startswith(f"Usage: dmsnap lvm {name} ")

    def test_no_arguments_is_wrong_usage(self, name: str, run: Run) -> None:
        ended = run("lvm", name)
        assert ended.returncode == 2
        assert f"dmsnap lvm {name} --help" in ended.stderr

    def test_what_is_not_there_is_one_clear_line(self, name: str, run: Run) -> None:
        ended = run("lvm", name, "missing.img")
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
        assert "missing.img" in ended.stderr


def test_a_verb_that_does_not_exist_is_wrong_usage(run: Run) -> None:
    ended = run("lvm", "lst")
    assert ended.returncode == 2
    assert "did you mean 'ls'?" in ended.stderr


# -- ls ---------------------------------------------------------------------------------------------------------------


def test_a_group_is_listed_with_its_volumes_and_their_usage(case: LVMFixture, run: Run) -> None:
    ended = run("lvm", "ls", "disk0.img")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "vgsnap: 23 MiB in extents of 512 KiB, 8 MiB free, on 1 physical volume\n"
        "  volume   attr        type       size  origin    chunk  data%  on\n"
        "  origin   owi---s---  linear    4 MiB                          disk0.img(0)\n"
        "  plain    -wi-------  linear    1 MiB                          disk0.img(28)\n"
        "  snap4    swi---s---  linear  2.5 MiB  origin    4 KiB   0.94  disk0.img(8)\n"
        "  snap512  swi---s---  linear  2.5 MiB  origin  512 KiB  80.00  disk0.img(23)\n"
        "  snap64   swi---s---  linear  2.5 MiB  origin   64 KiB  12.50  disk0.img(18)\n"
        "  snap8    swi---s---  linear  2.5 MiB  origin    8 KiB   1.56  disk0.img(13)\n"
    )


def test_json_has_the_shape_of_lvms_reports(case: LVMFixture, run: Run) -> None:
    told = json.loads(run("lvm", "ls", "disk0.img", "--json").stdout)
    (report,) = told["report"]
    assert told["findings"] == []
    assert [group["vg_name"] for group in report["vg"]] == ["vgsnap"]
    assert [volume["pv_name"] for volume in report["pv"]] == ["disk0.img"]
    assert {row["lv_name"]: row["data_percent"] for row in report["lv"]}["snap64"] == "12.50"


def test_hidden_volumes_are_listed_on_request(tmp_path: Path, run: Run) -> None:
    images = [path.name for path in load_lvm_fixture("mirrors", tmp_path).images]
    assert "[mirror_mlog]" not in run("lvm", "ls", *images).stdout
    assert "[mirror_mlog]" in run("lvm", "ls", "-a", *images).stdout


def test_a_missing_physical_volume_is_told_and_the_rest_is_listed(tmp_path: Path, run: Run) -> None:
    load_lvm_fixture("several-disks", tmp_path)
    ended = run("lvm", "ls", "disk0.img")
    assert ended.returncode == 0
    assert "of them missing" in ended.stdout
    assert "[unknown](" in ended.stdout
    assert "dmsnap: warning: " in ended.stderr
    findings = json.loads(run("lvm", "ls", "disk0.img", "--json").stdout)["findings"]
    assert "missing-volume" in {finding["kind"] for finding in findings}


def test_an_image_without_lvm_has_nothing_to_list(tmp_path: Path, run: Run) -> None:
    (tmp_path / "zeros.img").write_bytes(bytes(1 << 20))
    ended = run("lvm", "ls", "zeros.img")
    assert (ended.returncode, ended.stdout) == (0, "")
    assert "no LVM2 volume group" in ended.stderr


# -- size -------------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_lvm(run: Run) -> None:
    told = json.loads(run("lvm", "size", "2143289344b", "--chunk-size", "8K", "--json").stdout)
    assert told["largest_chunks"] == 262145  # LVM2's own example, which its old formula got wrong
    assert told["minimum_chunks"] == 3


def test_sizes_are_shown_in_extents(run: Run) -> None:
    ended = run("lvm", "size", "1G", "--percent", "10%ORIGIN")
    assert ended.returncode == 0
    assert "extents of 4 MiB" in ended.stdout
    assert "10%ORIGIN" in ended.stdout


def test_the_extents_of_an_origin_in_lvm_are_known(case: LVMFixture, run: Run) -> None:
    told = json.loads(run("lvm", "size", "lvm:vgsnap/origin@disk0.img", "--json").stdout)
    assert (told["origin_bytes"], told["extent_size_bytes"]) == (4 << 20, 512 << 10)


@pytest.mark.parametrize(
    "arguments", [["--chunk-size", "3K"], ["--chunk-size", "1M"], ["--extent-size", "1000b"], ["--percent", "many"]]
)
def test_sizes_that_lvm_would_refuse_are_refused(arguments: list[str], run: Run) -> None:
    ended = run("lvm", "size", "1G", *arguments)
    assert ended.returncode in (1, 2)
    assert ended.stderr.startswith("dmsnap: ")
    assert "unexpected" not in ended.stderr


# -- volumes in other verbs -------------------------------------------------------------------------------------------


def test_a_snapshot_brings_its_origin(case: LVMFixture, run: Run) -> None:
    ended = run("export", "lvm:vgsnap/snap8@disk0.img", "-")
    assert ended.returncode == 0, ended.stderr
    assert sha256(ended.raw) == case.facts.sha256["vgsnap-snap8"]


def test_any_volume_can_be_exported(case: LVMFixture, run: Run) -> None:
    ended = run("export", "lvm:vgsnap/plain@disk0.img", "-")
    assert sha256(ended.raw) == case.facts.sha256["vgsnap-plain"]


def test_status_is_what_the_kernel_said(case: LVMFixture, run: Run) -> None:
    assert run("status", "lvm:vgsnap/snap64@disk0.img").stdout == "640/5120 256\n"


def test_the_store_of_a_snapshot_is_explained(case: LVMFixture, run: Run) -> None:
    told = json.loads(run("info", "lvm:vgsnap/snap64@disk0.img", "--json").stdout)
    assert (told["name"], told["status"], told["findings"]) == ("vgsnap/snap64", "640/5120 256", [])


def test_tables_are_those_that_lvm_loads(case: LVMFixture, run: Run) -> None:
    told = json.loads(run("table", "lvm:vgsnap/snap8@disk0.img", "--json").stdout)
    assert told["line"] == "0 8192 snapshot /dev/mapper/vgsnap-origin-real /dev/mapper/vgsnap-snap8-cow P 16"
    assert told["commands"][0].startswith("pv0=$(losetup ")
    assert told["commands"][-1].endswith("| dmsetup create vgsnap-origin")


def test_a_missing_origin_is_wrong_usage_for_other_stores(run: Run) -> None:
    ended = run("export", "plain.cow", "out.img")
    assert (ended.returncode, "--origin" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("lvm:vgsnap/none@disk0.img", "no volume none"),
        ("lvm:none/snap8@disk0.img", "there is vgsnap"),
        ("lvm:vgsnap/snap8", "lvm:VG/LV@IMAGE"),
        ("lvm:vgsnap/snap8@missing.img", "missing.img"),
        ("lvm:vgsnap/snapshot0@disk0.img", "no volume snapshot0"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_clear_line(address: str, told: str, case: LVMFixture, run: Run) -> None:
    for verb in (["info", address], ["status", address], ["map", address], ["export", address, "out.img"]):
        ended = run(*verb)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
        assert told in ended.stderr


def test_an_image_is_never_overwritten_by_what_is_in_it(case: LVMFixture, run: Run) -> None:
    before = case.images[0].read_bytes()
    for volume in ("snap8", "plain"):
        ended = run("export", "--force", f"lvm:vgsnap/{volume}@disk0.img", "disk0.img")
        assert ended.returncode == 1
        assert "which it is made of" in ended.stderr
    assert case.images[0].read_bytes() == before


# -- merge ------------------------------------------------------------------------------------------------------------


def test_a_merge_keeps_the_other_snapshots_and_says_what_lvm_has_to_be_told(case: LVMFixture, run: Run) -> None:
    ended = run("merge", "lvm:vgsnap/snap8@disk0.img")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "LVM does not know that yet; run: lvremove vgsnap/snap8"
    for volume, was in (("origin", "snap8"), ("snap4", "snap4"), ("snap64", "snap64"), ("snap512", "snap512")):
        content = run("export", f"lvm:vgsnap/{volume}@disk0.img", "-").raw
        assert sha256(content) == case.facts.sha256[f"vgsnap-{was}"], volume
    assert run("status", "lvm:vgsnap/snap8@disk0.img").stdout == "32/5120 32\n"


def test_a_merge_that_is_only_planned_changes_nothing(case: LVMFixture, run: Run) -> None:
    before = case.images[0].read_bytes()
    told = json.loads(run("merge", "--dry-run", "--json", "lvm:vgsnap/snap8@disk0.img").stdout)
    assert told["still_to_run"] == ["lvremove vgsnap/snap8"]
    assert told["kept_bytes"] > 0
    assert case.images[0].read_bytes() == before


def test_only_a_snapshot_can_be_merged(case: LVMFixture, run: Run) -> None:
    ended = run("merge", "lvm:vgsnap/plain@disk0.img")
    assert (ended.returncode, "is no snapshot" in ended.stderr) == (1, True)
