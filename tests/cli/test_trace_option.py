"""``--trace FILE``: a trace of every verb that opens a store, whatever the load comes to."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys

import pytest
from test_verb_contract import READING, WITHOUT_PREFETCH, assert_one_clear_line, line

from dmsnap.library import output_file
from dmsnap.library.creation import create

TRACED = [verb for verb in READING if verb not in WITHOUT_PREFETCH]
HITS_OF_OTHERS = {"diff": {"other.cow": 1}}
"""Which stores a verb loads besides the first one, and how many areas each has."""
WRITTEN = ("out.img", "new.cow")


@pytest.fixture(autouse=True)
def other_store(files) -> None:
    """What the store is held against where two are needed."""
    create(files.folder / "other.cow", 1 << 20, 4096)


@pytest.mark.parametrize("verb", TRACED)
def test_every_loading_verb_writes_one(verb: str, run, files) -> None:
    plain = run(*line(verb, files.store, files.origin))
    for name in WRITTEN:
        (files.folder / name).unlink(missing_ok=True)
    process = run(*line(verb, files.store, files.origin), "--trace", "load.json", "--prefetch", "kernel")
    assert (process.returncode, process.stdout, process.stderr) == (0, plain.stdout, plain.stderr)
    loads = json.loads((files.folder / "load.json").read_text())["loads"]
    hits = {str(files.store): 2} | HITS_OF_OTHERS.get(verb, {})
    assert [(load["device"], load["counters"]["hits"]) for load in loads] == list(hits.items())
    assert {load["prefetch"] for load in loads} == {"kernel"}
    assert [load["areas"] for load in loads] == list(hits.values())
    assert all(load["seconds"] > 0 and load["events"] and load["error"] is None for load in loads)


@pytest.mark.parametrize("verb", TRACED)
def test_another_ending_is_wrong_usage(verb: str, run, files) -> None:
    process = run(*line(verb, "missing.cow", files.origin), "--trace", "load.txt")
    assert_one_clear_line(process, 2)
    assert ".json" in process.stderr


@pytest.mark.parametrize("verb", TRACED)
def test_inputs_and_outputs_are_never_overwritten(verb: str, run, files) -> None:
    (files.folder / "link.json").symlink_to(files.store)
    before = files.store.read_bytes()
    assert_one_clear_line(run(*line(verb, files.store, files.origin), "--trace", "link.json"), 1)
    assert files.store.read_bytes() == before
    assert not any((files.folder / name).exists() for name in WRITTEN)


@pytest.mark.parametrize(
    "words",
    [
        ["export", "out.json"],
        ["compact", "-o", "out.json"],
        ["dump", "-o", "out.json"],
        ["repair", "-o", "out.json"],
        ["repair", "-o", "new.cow", "--image", "out.json"],
        ["repair", "-o", "new.cow", "--map", "out.json"],
    ],
    ids=" ".join,
)
def test_what_the_verb_writes_is_no_place_for_it(words: list[str], run, files) -> None:
    verb, *rest = words
    origin = [] if verb == "dump" else ["--origin", files.origin]
    assert_one_clear_line(run(verb, files.store, *rest, *origin, "--trace", "out.json"), 1)
    assert not any((files.folder / name).exists() for name in ("out.json", *WRITTEN))


def test_a_merge_has_a_load_for_each_store(run, files) -> None:
    assert run("create", "third.cow", "--size", "8M", "--chunk-size", "4K").returncode == 0
    words = ["merge", files.store, "--origin", files.origin, "--other", "third.cow", "--trace", "load.json"]
    assert run(*words).returncode == 0
    loads = json.loads((files.folder / "load.json").read_text())["loads"]
    assert [load["device"] for load in loads] == [str(files.store), "third.cow"]


def test_the_image_of_a_repair_has_a_load_of_the_new_store(run, files) -> None:
    words = ["repair", files.store, "-o", "new.cow", "--origin", files.origin, "--image", "out.img"]
    assert run(*words, "--trace", "load.json").returncode == 0
    loads = json.loads((files.folder / "load.json").read_text())["loads"]
    assert [(load["device"], load["areas"]) for load in loads] == [(str(files.store), 2), ("new.cow", 2)]


@pytest.mark.parametrize("verb", ["check", "repair"])
def test_areas_that_are_read_by_two_chunk_sizes_are_two_loads(verb: str, run, files) -> None:
    content = bytearray(files.store.read_bytes())
    content[12:16] = (4096).to_bytes(4, "little")
    files.store.write_bytes(content)
    words = line(verb, files.store, files.origin)
    run(*words, *(["--accept", "all"] if verb == "repair" else []), "--trace", "load.json")
    loads = json.loads((files.folder / "load.json").read_text())["loads"]
    assert [(load["device"], load["chunk_size_bytes"]) for load in loads] == [
        (str(files.store), 2 << 20),
        (str(files.store), 4096),
    ]


@pytest.mark.parametrize("verb", ["info", "dump"])
def test_a_load_that_fails_leaves_its_trace(verb: str, run, files) -> None:
    os.truncate(files.store, 4096 * 257)  # before the second area
    process = run(verb, files.store, "--trace", "load.json")
    assert process.returncode == 1
    (load,) = json.loads((files.folder / "load.json").read_text())["loads"]
    assert load["error"] in process.stderr
    assert [row[2] for row in load["events"] if row[1] in ("prefetch", "miss")] == [0]


@pytest.mark.parametrize("words", [["check"], ["repair", "-o", "new.cow"]], ids=lambda words: words[0])
def test_damage_that_is_told_leaves_the_trace_too(words: list[str], run, files) -> None:
    os.truncate(files.store, 4096 * 257)
    verb, *rest = words
    plain = run(verb, files.store, *rest)
    assert plain.returncode == 1
    assert run(verb, files.store, *rest, "--trace", "load.json") == plain
    (load,) = json.loads((files.folder / "load.json").read_text())["loads"]
    assert "past the end of the device" in load["error"]
    assert [row[2] for row in load["events"] if row[1] in ("prefetch", "miss")] == [0]


def test_what_fails_before_the_first_area_leaves_none(run, files) -> None:
    for name in ("missing.cow", files.origin):
        assert_one_clear_line(run("info", name, "--trace", "load.json"), 1)
    assert not (files.folder / "load.json").exists()


def test_a_trace_that_cannot_be_written_is_an_error(run, files) -> None:
    process = run("info", files.store, "--trace", "missing/load.json")
    assert_one_clear_line(process, 1)
    assert "no such directory" in process.stderr


@pytest.mark.parametrize("verb", TRACED)
def test_a_trace_that_fails_at_the_end_loses_no_result(verb: str, run, files, monkeypatch) -> None:
    expected = run(*line(verb, files.store, files.origin)).stdout if verb != "merge" else None
    for name in WRITTEN:
        (files.folder / name).unlink(missing_ok=True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(output_file.os, "replace", full)
    process = run(*line(verb, files.store, files.origin), "--trace", "load.json")
    assert process.returncode == 1
    assert process.stderr == "dmsnap: load.json: cannot be written: no space left on device\n"
    assert process.stdout == expected if expected is not None else "written to" in process.stdout
    assert not (files.folder / "load.json").exists()


@pytest.mark.parametrize(
    ("verb", "module", "taking"),
    [
        ("info", "dmsnap.store.census", "RecordCensus.judge"),
        ("check", "dmsnap.maintenance.surveying", "Surveyor.add"),
        ("dump", "dmsnap.maintenance.dump_runs", "RunFinder.add"),
    ],
)
def test_ctrl_c_leaves_the_trace(verb: str, module: str, taking: str, files) -> None:
    name, method = taking.split(".")
    code = f"""
import os, signal, sys
import dmsnap.cli, {module} as module
take = module.{taking}
def interrupted(self, batch):
    os.kill(os.getpid(), signal.SIGINT)
    return take(self, batch)
module.{name}.{method} = interrupted
sys.exit(dmsnap.cli.main(["{verb}", sys.argv[1], "--trace", "load.json"]))
"""
    words = [sys.executable, "-c", code, files.store]
    process = subprocess.run(
        words,
        cwd=files.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (process.returncode, process.stderr) == (1, "dmsnap: interrupted\n")
    (load,) = json.loads((files.folder / "load.json").read_text())["loads"]
    assert load["error"] == "interrupted"
    assert load["events"]


def test_a_check_that_asks_for_no_area_leaves_an_older_trace(run, files) -> None:
    older = files.folder / "load.json"
    older.write_text("older")
    bad = files.folder / "bad.cow"
    bad.write_bytes(struct.pack("<4I", 0x70416E53, 1, 1, 7).ljust(1 << 16, b"\0"))  # of chunks that nobody can have
    assert run("check", bad, "--trace", older).returncode == 1
    assert older.read_text() == "older"
