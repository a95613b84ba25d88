"""``dmsnap restore``: what it prints, and how it refuses."""

from __future__ import annotations

import json

import pytest

WARNING = "dmsnap: warning: the chunks of the new store are zeros: dump with --data, or restore with --data-from\n"


@pytest.mark.parametrize("form", ["xml", "json", "packed"])
def test_restore_knows_the_format_and_takes_data_from_the_old_store(form: str, run, files) -> None:
    said = run("dump", files.store, "--format", form, "-o", "a.dump")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("a.dump: ")
    process = run("restore", "a.dump", "-o", "new.cow", "--data-from", files.store)
    assert (process.returncode, process.stderr) == (0, "")
    assert (files.folder / "new.cow").read_bytes() == files.store.read_bytes()


def test_restore_reads_a_pipe(program, files) -> None:
    assert program("dump", files.store, "--data", redirection="> a.dump").returncode == 0
    process = program("restore", "-", "-o", "new.cow", "--json", redirection="< a.dump")
    assert (process.returncode, process.stderr) == (0, "")
    assert json.loads(process.stdout)["size_bytes"] == files.store.stat().st_size
    assert (files.folder / "new.cow").read_bytes() == files.store.read_bytes()


def test_restore_warns_of_chunks_without_content(run, files) -> None:
    run("dump", files.store, "-o", "a.xml")
    process = run("restore", "a.xml", "-o", "new.cow", "--size", "8M")
    assert (process.returncode, process.stderr) == (0, WARNING)
    assert process.stdout == "new.cow: 272 exceptions, 0 B of data, in 8 MiB\n"


def test_restore_says_what_is_wrong_and_in_which_line(run, files) -> None:
    (files.folder / "bad.xml").write_bytes(run("dump", files.store).raw.replace(b"<single", b"<multiple", 1))
    process = run("restore", "bad.xml", "-o", "new.cow")
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("dmsnap: line 3: not one element of a dump")
    assert not (files.folder / "new.cow").exists()


@pytest.mark.parametrize("words", [["a.xml"], ["a.xml", "-o", "b", "--size", "x"]])
def test_restore_used_wrongly(words: list[str], run) -> None:
    assert run("restore", *words).returncode == 2


@pytest.mark.parametrize("name", ["missing", ".", "a\x1b.xml"])
def test_restore_of_what_cannot_be_opened(name: str, run) -> None:
    process = run("restore", name, "-o", "new.cow")
    assert (process.returncode, process.stderr.count("\n")) == (1, 1)
    assert "\x1b" not in process.stderr
    assert "unexpected" not in process.stderr
