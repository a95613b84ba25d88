"""``dmsnap tune``: what people and programs get, wrong usage, and stores that cannot be loaded."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import pytest
from cli_values import Ended

from dmsnap.cli.verbs.tune import duration
from dmsnap.library.tuning.in_memory import lies_in_memory
from dmsnap.testing import need

QUICK = ("--time-limit", "0.6")


def assert_one_clear_line(process: Ended, status: int) -> None:
    assert process.returncode == status, process.stderr
    assert process.stdout == ""
    assert process.stderr.startswith("dmsnap: ")
    assert process.stderr.count("\n") == 1
    assert "unexpected" not in process.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A device of 16 MiB that holds no store."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"no store" * (2 << 20))
    return path


def test_a_store_is_told_in_words(run, files) -> None:
    process = run("tune", files.store, *QUICK)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0] == f"{files.store}: load time by prefetch depth, measured: the areas of this store"
    assert lines[1].split() == ["depth", "load", "fastest", "slowest"]
    assert sum("recommended" in line for line in lines) == 1
    assert any(line.startswith(f"{files.store}: to load 2 areas of 4 KiB takes") for line in lines)
    assert any(line.startswith("  Linux before 3.14  ") for line in lines)
    assert any(line.startswith("  Linux since 3.14   ") for line in lines)
    assert any(line.startswith("  dmsnap ") and line.endswith("as it just did") for line in lines)


def test_a_device_without_a_store_is_said_to_have_none(run, disk: Path) -> None:
    process = run("tune", disk, *QUICK)
    assert process.returncode == 0, process.stderr
    assert "no store was found, so as if one filled the device" in process.stdout.splitlines()[0]


@pytest.mark.parametrize("length", [0, 16, 3000, 4096, 100 * 4096])
def test_a_store_cut_short_is_told_as_by_info(length: int, run, files) -> None:
    os.truncate(files.store, length)
    told = run("info", files.store)
    assert told.returncode == 1
    assert run("tune", files.store, *QUICK).stderr == told.stderr


def test_a_file_in_memory_is_not_said_to_be_past_the_page_cache(run) -> None:
    need(lies_in_memory("/dev/shm"), "/dev/shm is no tmpfs")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"no store" * (1 << 18))
        file.flush()
        process = run("tune", file.name, *QUICK)
        assert process.returncode == 0, process.stderr
        assert "page cache" not in process.stdout
        assert "lies in memory" in process.stdout


def test_a_prediction_alone(run, files) -> None:
    process = run("tune", files.store, "--predict", *QUICK)
    assert process.returncode == 0, process.stderr
    assert "depth" not in process.stdout
    assert "to load 2 areas" in process.stdout


def test_any_device_can_be_measured(run, disk: Path) -> None:
    process = run("tune", disk, *QUICK, "--json")
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert found["prediction"]["areas"] == 16
    assert found["prediction"]["dmsnap_loaded"] is False
    assert found["recommended_depth"] in [each["depth"] for each in found["depths"]]


def test_a_store_to_think_of(run, disk: Path) -> None:
    process = run("tune", disk, *QUICK, "--json", "--areas", "5000", "--chunk-size", "16K")
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)["prediction"]
    assert (found["areas"], found["chunk_size_bytes"], found["areas_known"]) == (5000, 16384, True)


def test_measuring_changes_nothing(run, files) -> None:
    def state() -> tuple[str, int]:
        return hashlib.sha256(files.store.read_bytes()).hexdigest(), files.store.stat().st_mtime_ns

    before = state()
    files.store.chmod(0o444)
    assert run("tune", files.store, *QUICK).returncode == 0
    assert state() == before


def test_json_is_ascii_and_names_cannot_steer_the_terminal(run, files) -> None:
    strange = files.store.rename(files.folder / "ev\x1b[31mil\u202e.cow")
    for arguments in ((), ("--json",), ("--predict", "--json")):
        process = run("tune", strange.name, *QUICK, *arguments)
        assert process.returncode == 0, process.stderr
        assert "\x1b" not in process.stdout
        assert "\u202e" not in process.stdout
        assert not arguments or process.stdout.isascii()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("{store}", "--areas", "0"),
        ("{store}", "--chunk-size", "5000"),
        ("{store}", "--chunk-size", "much"),
        ("{store}", "--time-limit", "0"),
        ("{store}", "--time-limit", "nan"),
        ("{store}", "--time-limit", "inf"),
        ("{store}", "--predict", "--areas", "3"),
        ("{store}", "--predict", "--plot", "x.svg"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], run, files) -> None:
    process = run("tune", *(word.format(store=files.store) for word in arguments))
    assert_one_clear_line(process, 2)
    assert "dmsnap tune --help" in process.stderr


@pytest.mark.parametrize("more", [(), ("--predict",)])
class TestBadDevice:
    def test_missing(self, more: tuple[str, ...], run) -> None:
        assert_one_clear_line(run("tune", "missing.cow", *more), 1)

    def test_directory(self, more: tuple[str, ...], run, tmp_path: Path) -> None:
        assert_one_clear_line(run("tune", tmp_path, *more), 1)

    def test_fifo_does_not_hang(self, more: tuple[str, ...], run, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        assert_one_clear_line(run("tune", "fifo", *more), 1)

    def test_character_device(self, more: tuple[str, ...], run) -> None:
        assert_one_clear_line(run("tune", "/dev/zero", *more), 1)

    def test_empty_file(self, more: tuple[str, ...], run, files) -> None:
        files.store.write_bytes(b"")
        assert_one_clear_line(run("tune", files.store, *more), 1)

    def test_an_address_of_another_kind(self, more: tuple[str, ...], run) -> None:
        assert_one_clear_line(run("tune", "nbd://somewhere", *more), 1)

    def test_version_2(self, more: tuple[str, ...], run, files) -> None:
        data = bytearray(files.store.read_bytes())
        data[8] = 2
        files.store.write_bytes(data)
        assert_one_clear_line(run("tune", files.store, *more), 1)

    def test_impossible_chunk_size(self, more: tuple[str, ...], run, files) -> None:
        data = bytearray(files.store.read_bytes())
        data[12:16] = (3).to_bytes(4, "little")
        files.store.write_bytes(data)
        assert_one_clear_line(run("tune", files.store, *more), 1)

    def test_cut_short(self, more: tuple[str, ...], run, files) -> None:
        files.store.write_bytes(files.store.read_bytes()[: 100 * 4096])
        process = run("tune", files.store, *more)
        assert_one_clear_line(process, 1)
        assert "past the end" in process.stderr


def test_a_prediction_is_only_of_a_store(run, disk: Path) -> None:
    process = run("tune", disk, "--predict")
    assert_one_clear_line(process, 1)
    assert "not an exception store" in process.stderr


def test_a_damaged_store_can_be_measured_as_a_device(run, files) -> None:
    files.store.write_bytes(files.store.read_bytes()[: 100 * 4096])
    assert run("tune", files.store, *QUICK, "--chunk-size", "4K").returncode == 0


class TestPlot:
    def test_a_bad_name_is_told_before_anything_is_measured(self, run, files) -> None:
        assert_one_clear_line(run("tune", files.store, "--plot", "picture.txt"), 2)

    def test_what_is_measured_is_not_overwritten(self, run, files) -> None:
        store = files.store.rename(files.folder / "store.svg")
        before = store.read_bytes()
        assert_one_clear_line(run("tune", store, "--plot", store), 1)
        assert store.read_bytes() == before

    @pytest.mark.parametrize("kind", ["svg", "png"])
    def test_a_picture(self, kind: str, run, files) -> None:
        pytest.importorskip("matplotlib")
        picture = files.folder / f"picture.{kind}"
        process = run("tune", files.store, *QUICK, "--plot", picture)
        assert process.returncode == 0, process.stderr
        start = picture.read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n" if kind == "png" else start.startswith(b"<?xml")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0831, "83.1 ms"),
        (75, "75 s"),
        (119.99999, "120 s"),
        (150, "2 min 30 s"),
        (3599.9, "1 h 0 min"),
        (7199.99, "2 h 0 min"),
        (7260, "2 h 1 min"),
        (90000, "1 d 1 h"),
        (200000, "2 d 8 h"),
    ],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
