"""Long work shows a bar on a terminal, above which its result comes out whole; programs and pipes see none."""

from __future__ import annotations

import json
import re

import pytest

from dmsnap.library.creation import create

LINES = {
    "check": ["{store}"],
    "compact": ["{store}", "-o", "new.cow"],
    "diff": ["{store}", "other.cow", "--origin", "{origin}", "--compare"],
    "dump": ["{store}", "-o", "out.xml"],
    "export": ["{store}", "out.img", "--origin", "{origin}"],
    "merge": ["{store}", "--origin", "{origin}"],
    "repair": ["{store}", "-o", "new.cow"],
    "restore": ["in.xml", "-o", "new.cow"],
    "simulate": ["--areas", "4", "--depths", "0"],
}
WITHOUT_JSON = ("dump", "export")
HIDDEN_CURSOR = b"\x1b[?25l"  # which a bar begins with


@pytest.fixture(autouse=True)
def inputs(files, run) -> None:
    create(files.folder / "other.cow", 1 << 20, 4096)
    assert run("dump", files.store, "-o", "in.xml").returncode == 0


def words(verb: str, files) -> list[str]:
    return [verb, *(word.format(store=files.store, origin=files.origin) for word in LINES[verb])]


def plain(shown: bytes) -> list[str]:
    """The lines that stay on a terminal: without what steers it, and without the bar."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return [line.rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]


@pytest.mark.parametrize("verb", LINES)
def test_a_terminal_sees_a_bar(verb: str, terminal, files) -> None:
    status, shown = terminal(*words(verb, files))
    assert status == 0, shown
    assert HIDDEN_CURSOR in shown
    assert verb.encode() in shown


@pytest.mark.parametrize("verb", [verb for verb in LINES if verb not in WITHOUT_JSON])
def test_with_json_there_is_none(verb: str, terminal, files) -> None:
    status, shown = terminal(*words(verb, files), "--json")
    assert status == 0, shown
    assert HIDDEN_CURSOR not in shown


def test_a_quiet_check_shows_nothing(terminal, files) -> None:
    assert terminal("check", files.store, "--quiet") == (0, b"")


def test_a_dump_to_the_terminal_is_not_mixed_with_a_bar(terminal, run, files) -> None:
    status, shown = terminal("dump", files.store)
    assert status == 0
    assert shown.decode().replace("\r\n", "\n") == run("dump", files.store).stdout


def test_without_compare_diff_has_nothing_to_wait_for(terminal, files) -> None:
    status, shown = terminal("diff", files.store, "other.cow")
    assert (status, HIDDEN_CURSOR in shown) == (0, False)


def test_lines_of_a_comparison_stay_above_the_bar(terminal, run, files) -> None:
    status, shown = terminal(*words("diff", files))
    assert status == 0
    expected = run(*words("diff", files)).stdout.splitlines()
    assert len(expected) > 1
    assert [line for line in plain(shown) if line in expected] == expected


@pytest.mark.parametrize("verb", ["diff", "dump"])
def test_a_result_that_is_redirected_is_whole_beside_the_bar(verb: str, terminal, run, files) -> None:
    line = words("diff", files) if verb == "diff" else ["dump", files.store]
    with (files.folder / "result").open("wb") as file:
        status, shown = terminal(*line, stdout=file.fileno())
    assert (status, HIDDEN_CURSOR in shown) == (0, True)
    assert (files.folder / "result").read_text() == run(*line).stdout


def test_a_bar_and_a_trace_go_together(terminal, files) -> None:
    status, shown = terminal("check", files.store, "--trace", "load.json")
    assert (status, HIDDEN_CURSOR in shown) == (0, True)
    assert json.loads((files.folder / "load.json").read_text())["loads"]
