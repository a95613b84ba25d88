"""Every documented example runs: console blocks print what they say, Python blocks hold, field lists are complete.

A console block runs in the folder that the block before it left. Output must be equal; ``…`` alone on a line stands
for any lines, within a line for any part of it.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dmsnap.testing.lvm_fixtures import load_lvm_fixture
from dmsnap.testing.tools import need, need_tool

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


MOUNT = (ROOT / "docs/mount.md").read_text("utf-8")
DUMP = (ROOT / "docs/dump.md").read_text("utf-8")
LVM = (ROOT / "docs/lvm.md").read_text("utf-8")
STACK = (ROOT / "docs/stack.md").read_text("utf-8")
CHECK = (ROOT / "docs/check.md").read_text("utf-8")
REPAIR = (ROOT / "docs/repair.md").read_text("utf-8")
SERVE = (ROOT / "docs/serve.md").read_text("utf-8")
TRACE = (ROOT / "docs/trace.md").read_text("utf-8")
COMPACT = (ROOT / "docs/compact.md").read_text("utf-8")
DIFF = (ROOT / "docs/diff.md").read_text("utf-8")
PREFETCH = (ROOT / "docs/prefetch.md").read_text("utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    """A page's fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def steps(block: str) -> list[tuple[str, str]]:
    """A console block as (command, expected output)."""
    return [(command, output) for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]


def matches(output: str, expected: str) -> bool:
    """Whether output is as documented; ``…`` stands for any lines, or for any part of one."""
    pattern = re.sub(r"(?m)^…\n", "(?:.*\n)*", re.escape(expected).replace("\\\n", "\n")).replace("…", ".*")
    return re.fullmatch(pattern, output) is not None


def walk(page: str, folder: Path) -> Path:
    """Runs a page's console blocks, each step checked; returns the folder that they end in."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    (programs / "dmsnap").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dmsnap "$@"\n')
    (programs / "dmsnap").chmod(0o755)
    environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    for command, expected in [step for block in blocks("console", page) for step in steps(block)]:
        if command.startswith("cd "):
            folder /= command.removeprefix("cd ")
            continue
        process = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        output = process.stdout if not process.stdout or process.stdout.endswith("\n") else process.stdout + "\n"
        assert process.returncode == 0, process.stderr
        assert matches(output, expected), f"$ {command}\n{output}"
    return folder


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tour has made, with every step of it checked on the way."""
    need_tool("qemu-io")
    return walk(README, tmp_path_factory.mktemp("tour"))


def test_the_tour_prints_what_it_says(play: Path) -> None:
    assert (play / "monday-again.img").read_bytes() == (play / "monday.img").read_bytes()


def test_simulations_print_what_the_page_on_prefetch_says(tmp_path: Path) -> None:
    walk(PREFETCH, tmp_path)


def test_the_page_about_compact_stores_prints_what_it_says(tmp_path: Path) -> None:
    walk(COMPACT, tmp_path)


def test_the_page_about_two_snapshots_prints_what_it_says(tmp_path: Path) -> None:
    need_tool("qemu-io")
    walk(DIFF, tmp_path)


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_blocks_hold(number: int, play: Path) -> None:
    run_python(blocks("python")[number], play)


def test_blocks_about_stacks_hold_one_after_another(play: Path) -> None:
    for code in blocks("python", STACK):
        run_python(code, play)


def test_the_page_about_serving_prints_what_it_says(tmp_path: Path) -> None:
    for tool in ("qemu-io", "nbdinfo", "nbdcopy", "curl"):
        need_tool(tool)
    walk(SERVE, tmp_path)
    for code in blocks("python", SERVE):
        run_python(code, tmp_path)


def test_the_page_about_traces_prints_what_it_says(play: Path) -> None:
    walk(TRACE, play)


def test_the_page_about_dumps_prints_what_it_says(play: Path) -> None:
    walk(DUMP, play)
    for code in blocks("python", DUMP):
        run_python(code, play)


def test_blocks_about_traces_hold(play: Path) -> None:
    need(importlib.util.find_spec("matplotlib"), "matplotlib is not installed")
    for code in blocks("python", TRACE):
        run_python(code, play)


def test_the_page_about_checks_prints_what_it_says(play: Path) -> None:
    walk(CHECK, play)
    for code in blocks("python", CHECK):
        run_python(code, play)


def test_the_page_about_repairs_prints_what_it_says(play: Path) -> None:
    need_tool("ddrescuelog")
    walk(REPAIR, play)
    for code in blocks("python", REPAIR):
        run_python(code, play)


def test_every_finding_is_documented() -> None:
    from dmsnap.testing.named_damage import NAMED_DAMAGES

    told = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", CHECK, re.MULTILINE)
    assert told == [(word, named.severity.value) for word, named in NAMED_DAMAGES.items()]


def test_the_page_about_lvm_prints_what_it_says(tmp_path: Path) -> None:
    load_lvm_fixture("snapshots", tmp_path)
    (tmp_path / "disk0.img").rename(tmp_path / "disk.img")
    walk(LVM, tmp_path)
    for code in blocks("python", LVM):
        run_python(code, tmp_path)


def test_the_page_about_mounts_prints_what_it_says(play: Path) -> None:
    need(importlib.util.find_spec("mfusepy"), "mfusepy is not installed")
    need(Path("/dev/fuse").exists(), "there is no /dev/fuse")
    try:
        walk(MOUNT, play)
        for code in blocks("python", MOUNT):
            run_python(code, play)
    finally:  # what a step that failed has left
        fusermount = need_tool("fusermount3")
        subprocess.run([fusermount, "-u", "-q", "-z", play / "disk"], check=False, capture_output=True)


def run_python(code: str, folder: Path) -> None:
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 0, process.stderr


def test_a_wrong_output_would_be_seen() -> None:
    assert matches("a\nb\nc\n", "a\n…\nc\n")
    assert not matches("a\nb\nd\n", "a\n…\nc\n")
    assert steps("$ one\n1\n$ two\n") == [("one", "1\n"), ("two", "")]


def documented_fields(title: str) -> list[str]:
    """The first column of a section's table in docs/json.md."""
    text = (ROOT / "docs/json.md").read_text("utf-8")
    section = re.split("\n##+ ", text.split(f"## {title}")[1])[0]
    return re.findall(r"^\| `(\w+)` ", section, re.MULTILINE)


def test_every_json_field_is_documented() -> None:
    import dmsnap
    from dmsnap.library.serving.serving import Offer
    from dmsnap.library.simulation.simulation import LoadTime, ModelLoads
    from dmsnap.library.tracing.as_json import COUNTERS, EVENT_COLUMNS, load_fields
    from dmsnap.library.tuning.own_load import LoadEstimate
    from dmsnap.library.tuning.trials import DepthTime
    from dmsnap.library.volumes.rows import GroupRow, PhysicalRow, VolumeRow
    from dmsnap.maintenance.comparing import DiffRange
    from dmsnap.maintenance.rechunking import WhatIf
    from dmsnap.maintenance.repair_report import LastRecord
    from dmsnap.maintenance.repairing import Repair
    from dmsnap.maintenance.salvaging import RecordFate
    from dmsnap.store import Finding, LoadEvent, LoadTrace
    from dmsnap.target.table import Activation
    from dmsnap.testing.named_damage import NAMED_DAMAGES
    from dmsnap.transfer.changes import ChangedRange

    a_repair = Repair(NAMED_DAMAGES["magic"].device()).report
    assert documented_fields("`dmsnap info ") == [field.name for field in dataclasses.fields(dmsnap.StoreInfo)]
    assert documented_fields("`dmsnap check ") == [field.name for field in dataclasses.fields(dmsnap.CheckReport)]
    assert documented_fields("`dmsnap repair ") == list(a_repair.to_json())
    assert documented_fields("The last record of an invalid store") == [
        field.name for field in dataclasses.fields(LastRecord)
    ]
    assert documented_fields("What becomes of a record") == [field.name for field in dataclasses.fields(RecordFate)]
    assert documented_fields("A finding") == [field.name for field in dataclasses.fields(Finding)]
    assert documented_fields("`dmsnap map ") == list(ChangedRange._fields)
    assert documented_fields("A store at a chunk size") == list(WhatIf._fields)
    assert documented_fields("`dmsnap diff ") == list(DiffRange._fields)
    assert documented_fields("`dmsnap compact ") == [field.name for field in dataclasses.fields(dmsnap.CompactResult)]
    assert documented_fields("`dmsnap table ") == list(Activation._fields)
    assert documented_fields("Counters of a load") == list(COUNTERS)
    assert documented_fields("An event of a load") == list(EVENT_COLUMNS) == list(LoadEvent._fields)
    assert documented_fields("A load") == [*load_fields(LoadTrace()), "events"]
    assert documented_fields("`dmsnap merge ") == [field.name for field in dataclasses.fields(dmsnap.MergeResult)]
    assert documented_fields("`dmsnap restore ") == [field.name for field in dataclasses.fields(dmsnap.RestoreResult)]
    assert documented_fields("An export that is served") == list(Offer._fields)
    assert documented_fields("`dmsnap simulate ") == [field.name for field in dataclasses.fields(dmsnap.Simulation)]
    assert documented_fields("A drive in a simulation") == [field.name for field in dataclasses.fields(ModelLoads)]
    assert documented_fields("`dmsnap tune ") == [field.name for field in dataclasses.fields(dmsnap.TuneResult)]
    assert documented_fields("A depth that was measured") == [field.name for field in dataclasses.fields(DepthTime)]
    assert documented_fields("A prediction") == [field.name for field in dataclasses.fields(dmsnap.Prediction)]
    assert documented_fields("A load that is predicted") == [field.name for field in dataclasses.fields(LoadEstimate)]
    assert documented_fields("A volume group") == list(GroupRow._fields)
    assert documented_fields("A physical volume") == list(PhysicalRow._fields)
    assert documented_fields("A segment of a logical volume") == list(VolumeRow._fields)
    assert documented_fields("`dmsnap lvm size ") == [field.name for field in dataclasses.fields(dmsnap.StoreSizes)]
    assert documented_fields("A load in a simulation") == [field.name for field in dataclasses.fields(LoadTime)]


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/benchmarks.md",
        "docs/check.md",
        "docs/compact.md",
        "docs/diff.md",
        "docs/disk-models.md",
        "docs/dump.md",
        "docs/json.md",
        "docs/lvm.md",
        "docs/mount.md",
        "docs/nbd-client.md",
        "docs/prefetch.md",
        "docs/repair.md",
        "docs/serve.md",
        "docs/stack.md",
        "docs/trace.md",
        "docs/tune.md",
    ],
)
def test_local_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text("utf-8"))
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []
