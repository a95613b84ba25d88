"""What a trace may be called, and what it never overwrites."""

from __future__ import annotations

import os

import pytest
from library_files import snapshot_files

import dmsnap
from dmsnap.library.output_file import BadOutputFile
from dmsnap.library.tracing.file import BadTraceFile, check_trace_file
from dmsnap.transfer.raw import OutputIsInput, OutputIsStore
from dmsnap.transfer.whole_file import CannotWrite


@pytest.mark.parametrize("name", ["trace", "trace.txt", "trace.json.gz", ".svgz", ".svg", "trace.pdf", "-", ""])
def test_another_ending_is_refused(name: str, tmp_path) -> None:
    with pytest.raises(BadTraceFile) as refusal:
        check_trace_file(str(tmp_path / name) if name else "")
    assert ".json" in refusal.value.hint


@pytest.mark.parametrize("name", ["a.json", "A.JSON", "a.perfetto.json"])
def test_the_ending_says_how(name: str, tmp_path) -> None:
    check_trace_file(str(tmp_path / name))


def test_a_store_is_never_overwritten(tmp_path) -> None:
    store = snapshot_files(tmp_path).cow.rename(tmp_path / "store.json")
    before = store.read_bytes()
    with pytest.raises(OutputIsStore):
        dmsnap.Trace().save(store)
    assert store.read_bytes() == before


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_input_is_refused_by_any_name(link, tmp_path) -> None:
    files = snapshot_files(tmp_path)
    link(files.origin, tmp_path / "origin.json")
    with pytest.raises(OutputIsInput):
        check_trace_file(str(tmp_path / "origin.json"), [files.cow, files.origin])


def test_what_the_same_command_will_write_is_refused(tmp_path) -> None:
    with pytest.raises(OutputIsInput):
        check_trace_file(str(tmp_path / "new.json"), [tmp_path / "." / "new.json"])


def test_something_other_than_a_file_is_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("fifo.json", "folder.json"):
        with pytest.raises(BadOutputFile):
            check_trace_file(str(tmp_path / name))


@pytest.mark.parametrize("name", ["missing/a.json", "a\0b.json"])
def test_a_place_that_is_none_is_refused(name: str, tmp_path) -> None:
    with pytest.raises(CannotWrite):
        check_trace_file(str(tmp_path / name))


def test_an_older_trace_is_replaced(tmp_path) -> None:
    target = tmp_path / "load.json"
    target.write_text("older")
    dmsnap.Trace().save(target)
    assert target.read_text().startswith('{"format": "dmsnap-trace"')
