"""``dmsnap simulate``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block.model import DRIVES
from dmsnap.library import output_file

QUICK = ["--areas", "20", "--model", "network-5ms", "--depths", "0,4,12,30"]


def test_json_is_what_the_library_says(run) -> None:
    told = json.loads(run("simulate", *QUICK, "--seed", "5", "--json").stdout)
    result = dmsnap.simulate(areas=20, models=["network-5ms"], depths=[0, 4, 12, 30], seed=5)
    assert told == json.loads(json.dumps(result.to_json()))


def test_the_same_line_prints_the_same(run) -> None:
    assert run("simulate", "--areas", "10", "--json") == run("simulate", "--areas", "10", "--json")


def test_text_has_a_row_a_drive(run) -> None:
    first, names, *rows, last = run("simulate", "--areas", "2", "--chunk-size", "16K").stdout.splitlines()
    assert first == "described store: 2 areas of 16 KiB; load time by prefetch depth, simulated"
    assert names.split() == ["drive", "0", "4", "12", "(Linux)", "64", "knee", "best", "auto"]
    assert [row.split()[0] for row in rows] == list(DRIVES)
    assert not any(row != row.rstrip() for row in rows)
    assert "in flight" in last


def test_text_has_the_numbers_with_their_units(run) -> None:
    (model,) = dmsnap.simulate(areas=20, models=["network-5ms"], depths=[0, 4, 12, 30]).models
    row = run("simulate", *QUICK).stdout.splitlines()[-2]
    assert 0.1 < model.loads[0].seconds < 0.12
    assert f"{model.loads[0].seconds * 1000:.3g} ms" in row
    assert f"ms ({model.knee_depth})" in row
    assert f"ms ({model.best_depth})" in row
    assert row.endswith(f"(≤ {model.auto_reads_in_flight})")


@pytest.mark.parametrize(
    ("depths", "shown"),
    [
        (" 7 ,0", ["0", "7"]),
        ("1,2,3,5,6,7", ["1", "2", "3", "5", "6", "7"]),
        ("0,1,2,3,5,6,7,64", ["0", "64"]),
    ],
)
def test_depths_that_were_asked_for_have_columns(depths: str, shown: list[str], run) -> None:
    names = run("simulate", "--areas", "1", "--model", "nvme", "--depths", depths).stdout.splitlines()[1]
    assert names.split() == ["drive", *shown, "knee", "best", "auto"]


@pytest.mark.parametrize(("columns", "term"), [("60", "xterm"), ("200", "dumb")])
def test_a_terminal_too_narrow_or_dumb_gets_plain_columns(columns: str, term: str, run, terminal) -> None:
    status, shown = terminal("simulate", *QUICK, environment={"COLUMNS": columns, "TERM": term})
    assert status == 0
    text = shown.replace(b"\r\n", b"\n").decode()
    assert text.endswith(run("simulate", *QUICK).stdout)


def test_a_terminal_gets_a_table(terminal) -> None:
    status, shown = terminal("simulate", *QUICK)
    assert status == 0
    assert b"network-5ms" in shown
    assert b"\x1b[" in shown


def test_a_store_is_named(run, files) -> None:
    process = run("simulate", files.store, "--model", "nvme")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f"{files.store}: 2 areas of 4 KiB;")


def test_a_drive_too_small_is_said(run, files) -> None:
    with files.store.open("r+b") as store:
        store.truncate(300 << 30)
    process = run("simulate", files.store, "--depths", "0")
    assert process.returncode == 0
    assert "scsi-15k" not in process.stdout
    assert process.stderr == "dmsnap: warning: scsi-15k is left out: 300 GiB of COW device do not fit\n"
    named = run("simulate", files.store, "--depths", "0", "--model", "scsi-15k")
    assert (named.returncode, named.stdout) == (1, "")


# -- wrong usage and failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--areas", "0"],
        ["--areas", "many"],
        ["--areas", "262145"],
        ["--areas", str(1 << 70)],
        ["--room", str(1 << 60)],
        ["--chunk-size", "1000"],
        ["--chunk-size", "3K"],
        ["--chunk-size", "0"],
        ["--chunk-size", "2G"],
        ["--start", "1"],
        ["--room", "-1"],
        ["--chunk-size", "4X"],
        ["--model", "floppy"],
        ["--depths", ""],
        ["--depths", "1,,2"],
        ["--depths", "-1"],
        ["--depths", "65537"],
        ["--depths", "9" * 5000],
        ["--depths", ",".join(["1"] * 1001)],
        ["--depths", "\N{SUPERSCRIPT TWO}"],
        ["--seed", "x"],
    ],
)
def test_values_that_cannot_be_are_wrong_usage(words: list[str], run) -> None:
    process = run("simulate", *words)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("dmsnap: ")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--areas", "--chunk-size", "--room"])
def test_a_store_is_given_or_described_not_both(option: str, run, files) -> None:
    process = run("simulate", files.store, option, "4096")
    assert process.returncode == 2
    assert option in process.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--chunk-size", "3K"], ["'3K'", "powers of two"]),
        (["--start", "1"], ["'1'", "512"]),
        (["--chunk-size", "1G"], ["1,563 areas of 1 GiB", "--areas 1,", "--chunk-size"]),
        (["--chunk-size", "1M"], ["1,563 areas of 1 MiB", "--areas 1024 or fewer"]),
        (["--room", str(1 << 60)], ["--room"]),
        (["--start", "1T", "--model", "scsi-15k"], ["1 TiB", "136.3 GiB", "a larger --model, a smaller --start"]),
        (
            ["--room", "100000000"],
            ["drive network-1ms of 16 TiB", "fewer --areas, less --room or a smaller --chunk-size"],
        ),
    ],
)
def test_what_to_change_is_said_in_options_and_readable_sizes(words: list[str], named: list[str], run) -> None:
    process = run("simulate", *words)
    assert process.returncode in (1, 2)
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1
    for part in named:
        assert part in process.stderr


def test_help_names_the_most_areas(run) -> None:
    assert "262144" in run("simulate", "--help").stdout


def test_an_invalid_store_is_refused(run, files) -> None:
    data = bytearray(files.store.read_bytes())
    data[4] = 0
    files.store.write_bytes(data)
    process = run("simulate", files.store)
    assert (process.returncode, process.stdout) == (1, "")
    assert "invalid" in process.stderr


def test_models_complete() -> None:
    words = {"_DMSNAP_COMPLETE": "bash_complete", "COMP_WORDS": "dmsnap simulate --model net", "COMP_CWORD": "3"}
    code = "import sys; from dmsnap.cli import main; sys.argv = ['dmsnap']; sys.exit(main())"
    process = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | words, capture_output=True, text=True, check=False
    )
    assert [line.split(",")[1] for line in process.stdout.split()] == ["network-1ms", "network-5ms"]


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "start"), [("loads.svg", b"<?xml"), ("loads.png", b"\x89PNG")])
def test_a_plot_is_drawn_beside_the_table(name: str, start: bytes, run, tmp_path: Path) -> None:
    process = run("simulate", *QUICK, "--plot", name)
    assert process.returncode == 0, process.stderr
    assert process.stdout == run("simulate", *QUICK).stdout
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(("name", "status"), [("loads.jpg", 2), ("loads", 2), ("no/loads.svg", 1)])
def test_a_plot_that_cannot_be_is_refused_before_the_work(name: str, status: int, run) -> None:
    process = run("simulate", "missing.cow", "--plot", name)
    assert (process.returncode, process.stdout) == (status, "")
    assert name in process.stderr


def test_without_matplotlib_only_the_plot_is_missing(run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run("simulate", *QUICK).returncode == 0
    process = run("simulate", *QUICK, "--plot", "loads.svg")
    assert process.returncode == 1
    assert process.stderr == "dmsnap: drawing needs matplotlib (hint: pip install 'dmsnap[plot]')\n"


def test_ctrl_c_is_one_line_and_leaves_no_picture(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, dmsnap.library.simulation.simulation as s; from dmsnap.cli import main\n"
        "load = s.open_store\n"
        "def stop(*a, **k):\n os.kill(os.getpid(), signal.SIGINT); return load(*a, **k)\n"
        "s.open_store = stop; sys.exit(main(['simulate', '--areas', '9', '--plot', 'loads.svg']))"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (1, "", "dmsnap: interrupted\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["simulate", "tune"])
@pytest.mark.parametrize("make", [os.link, os.symlink, shutil.copy])
def test_a_plot_never_overwrites_a_store(make, verb: str, run, files) -> None:
    place = files.folder / "loads.svg"
    make(files.store, place)
    before = files.store.read_bytes()
    process = run(verb, files.store, "--plot", place)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.count("\n") == 1
    assert (files.store.read_bytes(), place.read_bytes()) == (before, before)


def test_a_plot_never_overwrites_what_is_simulated(run, files) -> None:
    store = files.store.rename(files.folder / "store.svg")
    before = store.read_bytes()
    process = run("simulate", store, "--plot", store)
    assert (process.returncode, process.stdout) == (1, "")
    assert store.read_bytes() == before


@pytest.mark.parametrize(
    "words", [["simulate", *QUICK], ["simulate", *QUICK, "--json"], ["tune", "{store}", "--time-limit", "0.6"]]
)
def test_a_picture_that_fails_at_the_end_loses_no_result(words: list[str], run, files, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output_file.os, "replace", full)
    process = run(*(word.format(store=files.store) for word in words), "--plot", "loads.svg")
    assert process.returncode == 1
    assert process.stdout
    assert process.stderr == "dmsnap: loads.svg: cannot be written: no space left on device\n"
    assert not (files.folder / "loads.svg").exists()
