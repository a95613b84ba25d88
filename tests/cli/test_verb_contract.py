"""What every verb promises, generated from the registry: help, usage errors, bad inputs, untouched inputs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from cli_values import Ended

from dmsnap import create
from dmsnap.cli.registry import VERBS

READING = {
    "info": ["{store}", "--origin", "{origin}"],
    "status": ["{store}"],
    "table": ["{store}", "--origin", "{origin}"],
    "map": ["{store}", "--origin", "{origin}"],
    "export": ["{store}", "out.img", "--origin", "{origin}"],
    "merge": ["{store}", "--origin", "{origin}", "--dry-run"],
    "check": ["{store}", "--origin", "{origin}"],
    "repair": ["{store}", "-o", "new.cow", "--origin", "{origin}"],
    "compact": ["{store}", "-o", "new.cow", "--origin", "{origin}"],
    "diff": ["{store}", "other.cow", "--origin", "{origin}"],
    "simulate": ["{store}", "--depths", "0,12"],
    "dump": ["{store}"],
}
"""A good line of every verb that opens a store to look."""
WITH_JSON = ("info", "table", "map", "merge", "check", "repair", "compact", "diff", "simulate")
WITHOUT_PREFETCH = ("simulate",)  # which loads with many
WITHOUT_ARGUMENTS = ("simulate", "demo")
WITHOUT_ROOTS_PRIVILEGE = "setpriv --bounding-set -dac_override,-dac_read_search" if os.geteuid() == 0 else ""
TAKING_ORIGIN = ("info", "table", "map", "export", "merge", "check", "repair", "compact", "diff")
TELLING_DAMAGE = ("check", "repair")  # which is their answer, where it is an error for others


@pytest.fixture(autouse=True)
def other_store(tmp_path: Path) -> None:
    """What the store is held against where two are needed."""
    create(tmp_path / "other.cow", 1 << 20, 4096)


def line(verb: str, store: object, origin: object) -> list[str]:
    """The good line of a verb, for these inputs."""
    return [verb, *(word.format(store=store, origin=origin) for word in READING[verb])]


def assert_one_clear_line(process: Ended, status: int) -> None:
    """The contract of an error: the exit status, nothing on stdout, one line on stderr, no traceback."""
    assert process.returncode == status, process.stderr
    assert process.stdout == ""
    assert process.stderr.startswith("dmsnap: ")
    assert process.stderr.count("\n") == 1
    assert process.stderr.endswith("\n")
    assert "Traceback" not in process.stderr
    assert "unexpected" not in process.stderr, "an error that nobody foresaw"


def test_every_verb_is_under_contract() -> None:
    assert set(VERBS) == {*READING, "demo", "create", "lvm", "mount", "restore", "serve", "tune"}


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_on_stdout(verb: str, run) -> None:
    process = run(verb, "--help")
    assert process.returncode == 0
    assert process.stdout.startswith(f"Usage: dmsnap {verb} ")
    assert process.stderr == ""


@pytest.mark.parametrize("verb", sorted(set(VERBS).difference(WITHOUT_ARGUMENTS)))
def test_no_arguments_is_wrong_usage(verb: str, run) -> None:
    process = run(verb)
    assert_one_clear_line(process, 2)
    assert f"dmsnap {verb} --help" in process.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_unknown_option_is_wrong_usage(verb: str, run) -> None:
    assert_one_clear_line(run(verb, "--no-such-option"), 2)


@pytest.mark.parametrize("verb", READING)
class TestBadStore:
    def test_missing(self, verb: str, run, files) -> None:
        process = run(*line(verb, "missing.cow", files.origin))
        assert_one_clear_line(process, 1)
        assert "missing.cow" in process.stderr

    def test_directory(self, verb: str, run, files) -> None:
        assert_one_clear_line(run(*line(verb, files.folder, files.origin)), 1)

    def test_fifo_does_not_hang(self, verb: str, run, files) -> None:
        os.mkfifo(files.folder / "fifo")
        assert_one_clear_line(run(*line(verb, "fifo", files.origin)), 1)

    def test_character_device(self, verb: str, run, files) -> None:
        assert_one_clear_line(run(*line(verb, "/dev/zero", files.origin)), 1)

    def test_unreadable(self, verb: str, program, files) -> None:
        files.store.chmod(0)
        process = program(*line(verb, files.store, files.origin), wrapper=WITHOUT_ROOTS_PRIVILEGE)
        assert_one_clear_line(process, 1)
        assert "permission denied" in process.stderr

    def test_empty_file(self, verb: str, run, files) -> None:
        files.store.write_bytes(b"")
        assert_one_clear_line(run(*line(verb, files.store, files.origin)), 1)

    def test_zeros_are_an_empty_store_and_stay_zeros(self, verb: str, run, files) -> None:
        files.store.write_bytes(bytes(1 << 20))
        process = run(*line(verb, files.store, files.origin))
        assert_one_clear_line(process, 1)
        assert "empty" in process.stderr
        assert not any(files.store.read_bytes())

    def test_not_a_store(self, verb: str, run, files) -> None:
        files.store.write_bytes(b"not a store, but long enough to be one. " * 4096)
        assert_one_clear_line(run(*line(verb, files.store, files.origin)), 1)

    def test_version_2(self, verb: str, run, files) -> None:
        if verb in TELLING_DAMAGE:
            return
        data = bytearray(files.store.read_bytes())
        data[8] = 2
        files.store.write_bytes(data)
        process = run(*line(verb, files.store, files.origin))
        assert_one_clear_line(process, 1)
        assert "version" in process.stderr

    @pytest.mark.parametrize("chunk_sectors", [0, 3, 1 << 31])
    def test_impossible_chunk_size(self, verb: str, chunk_sectors: int, run, files) -> None:
        if verb in TELLING_DAMAGE:
            return
        data = bytearray(files.store.read_bytes())
        data[12:16] = chunk_sectors.to_bytes(4, "little")
        files.store.write_bytes(data)
        process = run(*line(verb, files.store, files.origin))
        assert_one_clear_line(process, 1)
        assert "chunk size" in process.stderr


@pytest.mark.parametrize("verb", TAKING_ORIGIN)
class TestBadOrigin:
    def test_missing(self, verb: str, run, files) -> None:
        process = run(*line(verb, files.store, "missing.img"))
        assert_one_clear_line(process, 1)
        assert "missing.img" in process.stderr

    def test_directory(self, verb: str, run, files) -> None:
        assert_one_clear_line(run(*line(verb, files.store, files.folder)), 1)


@pytest.mark.parametrize("verb", READING)
class TestGoodStore:
    def test_reading_changes_nothing(self, verb: str, run, files) -> None:
        def state(path: Path) -> tuple[str, int]:
            return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns

        before = state(files.store), state(files.origin)
        process = run(*line(verb, files.store, files.origin))
        assert process.returncode == 0, process.stderr
        assert (state(files.store), state(files.origin)) == before

    def test_read_only_files_are_enough(self, verb: str, run, files) -> None:
        files.store.chmod(0o444)
        files.origin.chmod(0o444)
        assert run(*line(verb, files.store, files.origin)).returncode == 0

    def test_stderr_is_silent_without_a_terminal(self, verb: str, run, files) -> None:
        assert run(*line(verb, files.store, files.origin)).stderr == ""

    def test_debug_may_come_first_or_last(self, verb: str, run, files) -> None:
        words = line(verb, "missing.cow", files.origin)
        for process in (run("--debug", *words), run(*words, "--debug")):
            assert process.returncode == 1
            assert "Traceback" in process.stderr
            assert process.stderr.splitlines()[-1].startswith("dmsnap: ")


@pytest.mark.parametrize("verb", [verb for verb in READING if verb not in WITHOUT_PREFETCH])
@pytest.mark.parametrize("prefetch", ["kernel", "0", "1", "65536"])
def test_the_answer_is_the_same_for_every_prefetch(verb: str, prefetch: str, run, files) -> None:
    words = [word.replace("out.img", "-") for word in line(verb, files.store, files.origin)]
    plain = run(*words)
    assert plain.returncode == 0, plain.stderr
    (files.folder / "new.cow").unlink(missing_ok=True)
    assert run(*words, "--prefetch", prefetch) == plain


@pytest.mark.parametrize("verb", WITH_JSON)
def test_json_is_json_and_ascii(verb: str, run, files) -> None:
    strange = files.store.rename(files.folder / "ev\x1b[31mil\u202e\n.cow")
    process = run(*line(verb, strange.name, files.origin), "--json")
    assert process.returncode == 0, process.stderr
    assert process.stdout.isascii()
    assert "\x1b" not in process.stdout
    json.loads(process.stdout)


@pytest.mark.parametrize("verb", [verb for verb in READING if verb != "export"])
class TestStdout:
    def test_closed_is_an_error(self, verb: str, program, files) -> None:
        process = program(*line(verb, files.store, files.origin), redirection=">&-")
        assert_one_clear_line(process, 1)

    def test_full_is_an_error(self, verb: str, program, files) -> None:
        process = program(*line(verb, files.store, files.origin), redirection="> /dev/full")
        assert_one_clear_line(process, 1)
        assert process.stderr == "dmsnap: standard output: No space left on device\n"

    def test_a_reader_that_leaves_is_no_news(self, verb: str, program, files) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = program(*line(verb, files.store, files.origin), stdout=writing)
        os.close(writing)
        assert (process.returncode, process.stderr) == (1, "")


@pytest.mark.parametrize("verb", READING)
def test_names_cannot_steer_the_terminal(verb: str, run, files) -> None:
    strange = files.store.rename(files.folder / "ev\x1b[31mil\u202e.cow")
    good = run(*line(verb, strange.name, files.origin))
    bad = run(*line(verb, strange.name + "x", files.origin))
    for text in (good.stdout, good.stderr, bad.stdout, bad.stderr):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert (good.returncode, bad.returncode) == (0, 1)


@pytest.mark.parametrize("verb", READING)
def test_names_that_are_not_utf8_are_only_names(verb: str, run, files) -> None:
    strange = os.fsencode(files.folder) + b"/\xff\xfe.cow"
    files.store.rename(os.fsdecode(strange))
    process = run(*line(verb, os.fsdecode(strange), files.origin))
    assert process.returncode == 0, process.stderr
