"""``dmsnap diff``."""

from __future__ import annotations

import json

import pytest

import dmsnap


@pytest.fixture
def other(run, files) -> str:
    """A copy in which two pages were written to: one that the store keeps already, and one that it does not."""
    run("compact", files.store, "-o", "other.cow", "--extra", "1M")
    with dmsnap.open_snapshot(files.folder / "other.cow", files.origin, mode="r+") as snapshot:
        snapshot.write_at(5 * 4096, b"page 0005: new".ljust(4096, b"."))
        snapshot.write_at(100 * 4096, b"page 0100: new".ljust(4096, b"."))
    return "other.cow"


def test_lines_say_which_store_keeps_what(run, files, other: str) -> None:
    header, first, *rest = run("diff", files.store, other).stdout.splitlines()
    assert header.split() == ["offset", "length", "in"]
    assert first.split() == ["20480", "4096", "B"]
    assert {line.split()[2] for line in rest} == {"both"}


def test_compared_with_an_origin_everything_is_known(run, files, other: str) -> None:
    process = run("diff", files.store, other, "--origin", files.origin, "--compare", "--json")
    assert (process.returncode, process.stderr) == (0, ""), "that they differ is no failure"
    ranges = json.loads(process.stdout)
    assert [each for each in ranges if each["differs"]] == [
        {"offset": 5 * 4096, "length": 4096, "where": "b", "differs": True},
        {"offset": 100 * 4096, "length": 4096, "where": "both", "differs": True},
    ]
    assert all(each["differs"] is False for each in ranges if each["offset"] not in (5 * 4096, 100 * 4096))


def test_without_an_origin_what_one_keeps_stays_unknown_and_that_is_said(run, files, other: str) -> None:
    process = run("diff", files.store, other, "--compare")
    words = [line.split() for line in process.stdout.splitlines()]
    assert words[:2] == [["offset", "length", "in", "content"], ["20480", "4096", "B", "unknown"]]
    assert "--origin" in process.stderr
    assert process.returncode == 0


def test_a_store_and_itself_are_one(run, files) -> None:
    process = run("diff", files.store, files.store)
    assert process.returncode == 1
    assert "named twice" in process.stderr


def test_the_same_content_differs_nowhere(run, files) -> None:
    run("compact", files.store, "-o", "new.cow")
    process = run("diff", files.store, "new.cow", "--compare", "--json")
    assert {(each["where"], each["differs"]) for each in json.loads(process.stdout)} == {("both", False)}
    assert process.stderr == ""


def test_an_invalid_store_is_refused(run, files) -> None:
    run("compact", files.store, "-o", "new.cow")
    data = bytearray(files.store.read_bytes())
    data[4] = 0
    files.store.write_bytes(data)
    for pair in ((files.store, "new.cow"), ("new.cow", files.store)):
        assert run("diff", *pair).returncode == 1
