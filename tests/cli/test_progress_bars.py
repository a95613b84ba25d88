"""Long work shows a bar on a terminal, beside which its result comes out whole; programs and pipes see none."""

from __future__ import annotations

import json

import pytest

from dmsnap.library.creation import create

COMPARISON = ["{store}", "other.cow", "--origin", "{origin}", "--compare"]
LINES = {
    "check": ["{store}"],
    "compact": ["{store}", "-o", "new.cow"],
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
    line = COMPARISON if verb == "diff" else LINES[verb]
    return [verb, *(word.format(store=files.store, origin=files.origin) for word in line)]


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


@pytest.mark.parametrize("verb", ["diff", "dump"])
def test_a_long_result_on_the_terminal_is_not_mixed_with_a_bar(verb: str, terminal, run, files) -> None:
    line = words("diff", files) if verb == "diff" else ["dump", files.store]
    status, shown = terminal(*line)
    assert status == 0
    assert shown.decode().replace("\r\n", "\n") == run(*line).stdout


def test_without_compare_diff_has_nothing_to_wait_for(terminal, files) -> None:
    status, shown = terminal("diff", files.store, "other.cow")
    assert (status, HIDDEN_CURSOR in shown) == (0, False)


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
