"""``dmsnap merge``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

AREAS = (4096, 258 * 4096)
"""Where the two metadata areas of the sample lie."""


def records(store: Path) -> int:
    """How many records there are in the sample's areas now."""
    data = store.read_bytes()
    return sum(
        any(data[at : at + 16])
        for area in AREAS
        for at in range(area, area + 4096, 16)
    )  # fmt: skip


@contextlib.contextmanager
def slow_merge(files) -> Iterator[subprocess.Popen[bytes]]:
    """A merge that would take half a minute, when some of it is done."""
    words = ["merge", files.store, "--origin", files.origin, "--max-rate", "40K"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dmsnap", *map(os.fspath, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 30
        while records(files.store) > 270:  # two steps: one that is stopped at its end may be taken back
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_origin_is_what_the_kernel_read_from_the_snapshot(run, files) -> None:
    process = run("merge", files.store, "--origin", files.origin)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == f"{files.store}: 1.1 MiB in 8 runs were written to {files.origin}\n"
    assert files.origin.read_bytes() == files.notebook.snapshot()
    assert run("status", files.store).stdout == "16/4096 16\n"


def test_a_dry_run_tells_and_changes_nothing(run, files) -> None:
    before = files.store.read_bytes(), files.origin.read_bytes()
    process = run("merge", files.store, "--origin", files.origin, "--dry-run")
    assert process.stdout == f"{files.store}: 1.1 MiB in 8 runs would be written to {files.origin}\n"
    assert (files.store.read_bytes(), files.origin.read_bytes()) == before


def test_what_is_complete_says_so(run, files) -> None:
    run("merge", files.store, "--origin", files.origin)
    process = run("merge", files.store, "--origin", files.origin)
    assert process.returncode == 0
    assert process.stdout == f"{files.store}: nothing to merge, the snapshot is empty\n"


def test_json_has_the_figures(run, files) -> None:
    process = run("merge", files.store, "--origin", files.origin, "--json")
    assert json.loads(process.stdout) == {
        "dry_run": False,
        "chunks": 272,
        "runs": 8,
        "written_bytes": 272 * 4096,
        "kept_bytes": 0,
        "status": "16/4096 16",
        "still_to_run": [],
    }


def test_other_snapshots_keep_their_content(run, files) -> None:
    for name in ("one.cow", "two.cow"):
        run("create", name, "--size", "4M")
    kept = files.origin.read_bytes()
    process = run("merge", files.store, "--origin", files.origin, "--other", "one.cow", "--other", "two.cow")
    assert process.returncode == 0, process.stderr
    assert "copied to other snapshots before" in process.stdout
    for name in ("one.cow", "two.cow"):
        assert run("export", name, "-", "--origin", files.origin).raw == kept


@pytest.mark.parametrize("word", ["interrupt", "terminate"])
def test_a_signal_stops_it_and_the_same_command_goes_on(word: str, run, files) -> None:
    with slow_merge(files) as process:
        process.send_signal({"interrupt": signal.SIGINT, "terminate": signal.SIGTERM}[word])
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, b"")
    assert err == b"dmsnap: merge: stopped; run the same command to go on\n"
    assert 0 < records(files.store) < 272
    assert run("export", files.store, "-", "--origin", files.origin).raw == files.notebook.snapshot()
    assert run("merge", files.store, "--origin", files.origin).returncode == 0
    assert files.origin.read_bytes() == files.notebook.snapshot()


def test_after_a_kill_the_same_command_goes_on(run, files) -> None:
    with slow_merge(files) as process:
        process.kill()
        process.communicate(timeout=30)
    assert 0 < records(files.store) < 272
    assert run("export", files.store, "-", "--origin", files.origin).raw == files.notebook.snapshot()
    assert run("merge", files.store, "--origin", files.origin).returncode == 0
    assert files.origin.read_bytes() == files.notebook.snapshot()
    assert run("status", files.store).stdout == "16/4096 16\n"


def test_two_at_once_are_refused(run, files) -> None:
    with slow_merge(files):
        process = run("merge", files.store, "--origin", files.origin)
        assert process.returncode == 1
        assert "in use by another writer" in process.stderr
        assert process.stderr.count("\n") == 1


def test_a_terminal_sees_progress_and_what_was_done(terminal, files) -> None:
    status, shown = terminal("merge", files.store, "--origin", files.origin)
    assert status == 0
    assert b"merge " in shown
    assert b"were written to" in shown


@pytest.mark.parametrize("rate", ["0", "fast", "-1M"])
def test_what_is_no_rate_is_wrong_usage(rate: str, run, files) -> None:
    process = run("merge", files.store, "--origin", files.origin, "--max-rate", rate)
    assert process.returncode == 2
    assert "--max-rate" in process.stderr
    assert files.store.read_bytes() == files.notebook.store


def test_without_an_output_nothing_is_merged(program, files) -> None:
    process = program("merge", files.store, "--origin", files.origin, redirection=">&-")
    assert process.returncode == 1
    assert files.store.read_bytes() == files.notebook.store
