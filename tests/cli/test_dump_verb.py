"""``dmsnap dump``: what it prints, and how it refuses."""

from __future__ import annotations

import json


def test_dump_prints_xml(run, files) -> None:
    process = run("dump", files.store)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert lines[0].startswith('<snapshot version="1" valid="1" chunk_size="8" ')
    assert lines[-1] == "</snapshot>"


def test_json_is_one_object_a_line(run, files) -> None:
    first, *_, last = map(json.loads, run("dump", files.store, "--format", "json").stdout.splitlines())
    info = json.loads(run("info", files.store, "--json").stdout)
    assert first["snapshot"]["chunk_size"] * 512 == info["chunk_size_bytes"]
    assert first["snapshot"]["cow_sectors"] == info["total_sectors"]
    assert last == {"end": {"nr_exceptions": info["exceptions"], "next_free": info["next_free_chunk"]}}


def test_packed_never_holds_data(run, files) -> None:
    process = run("dump", files.store, "--format", "packed", "--data")
    assert (process.returncode, process.stdout) == (2, "")


def test_a_packed_dump_does_not_garble_a_terminal(terminal, files) -> None:
    status, shown = terminal("dump", files.store, "--format", "packed")
    assert status == 1
    assert b"would garble the terminal" in shown


def test_what_exists_is_replaced_only_if_told(run, files) -> None:
    (files.folder / "a.xml").write_text("precious")
    assert run("dump", files.store, "-o", "a.xml").returncode == 1
    assert (files.folder / "a.xml").read_text() == "precious"
    assert run("dump", files.store, "-o", "a.xml", "--force").returncode == 0
