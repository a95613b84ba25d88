"""Traces as JSON: every event for scripts, and the trace event format for viewers."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from trace_stores import store_of, timed

import dmsnap
from dmsnap.bufio import Counters
from dmsnap.library.tracing.as_json import COUNTERS
from dmsnap.transfer.whole_file import CannotWrite


def trace_of(*prefetches: str | int, name: str = "monday.cow") -> dmsnap.Trace:
    """A trace of the same store, loaded in several ways."""
    trace = dmsnap.Trace()
    for prefetch in prefetches:
        device = timed(store_of(30, room_areas=20))
        device.name = name
        dmsnap.info(device, prefetch=prefetch, trace=trace)
    return trace


def saved(trace: dmsnap.Trace, path: Path) -> dict:
    """What the file holds."""
    trace.save(path)
    return json.loads(path.read_text("ascii"))


def test_every_event_is_one_row(tmp_path) -> None:
    trace = trace_of("kernel")
    (load,) = saved(trace, tmp_path / "load.json")["loads"]
    events = [dict(zip(load["event_columns"], row, strict=True)) for row in load["events"]]
    assert [(e["event"], e["area"], e["block"]) for e in events] == [e[1:] for e in trace.loads[0].events()]
    assert [e["seconds"] for e in events] == pytest.approx([e.seconds for e in trace.loads[0].events()], abs=1e-9)


def test_the_header_says_what_was_done(tmp_path) -> None:
    document = saved(trace_of("kernel", 0), tmp_path / "load.json")
    first, second = document["loads"]
    assert (document["format"], document["version"], document["clock_unit"]) == ("dmsnap-trace", 1, "seconds")
    assert (first["device"], first["prefetch"], second["prefetch"]) == ("monday.cow", "kernel", "0")
    assert (first["chunk_size_bytes"], first["counters"]["prefetch_wasted"]) == (512, 12)
    assert 0 < first["header_seconds"] < first["seconds"] < second["seconds"]
    assert second["waited_seconds"] == pytest.approx(second["seconds"] - second["header_seconds"])
    assert {first["error"], first["events_left_out"]} == {None, 0}


def test_a_line_is_an_event_and_the_same_load_the_same_bytes(tmp_path) -> None:
    trace_of("auto").save(tmp_path / "one.json")
    trace_of("auto").save(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    lines = (tmp_path / "one.json").read_text().splitlines()
    assert sum(line.startswith("[") for line in lines) == len(trace_of("auto").loads[0])


def test_strange_names_are_only_names(tmp_path) -> None:
    name = 'a"\n\x1b[31m\udcff.cow'
    (load,) = saved(trace_of(0, name=name), tmp_path / "load.json")["loads"]
    assert load["device"] == name


def test_a_trace_without_a_load_is_empty(tmp_path) -> None:
    assert saved(dmsnap.Trace(), tmp_path / "load.json")["loads"] == []


def test_counters_are_bufios() -> None:
    assert set(COUNTERS) < {field.name for field in dataclasses.fields(Counters)}


def test_a_viewer_gets_every_read_with_its_end(tmp_path) -> None:
    trace = trace_of("kernel", 0)
    events = saved(trace, tmp_path / "load.perfetto.json")["traceEvents"]
    assert {event["ph"] for event in events} == {"M", "X", "b", "e", "C"}
    for number, load in enumerate(trace.loads, 1):
        reads = [event for event in events if event["pid"] == number and event.get("cat") == "read"]
        begun = {event["id"]: event["ts"] for event in reads if event["ph"] == "b"}
        ended = {event["id"]: event["ts"] for event in reads if event["ph"] == "e"}
        assert begun.keys() == ended.keys()
        assert all(begun[read] <= ended[read] for read in begun)
        assert len(begun) == load.counters.prefetched + load.counters.misses
    outcomes = Counter(event["args"]["outcome"] for event in events if event["ph"] == "b" and event["cat"] == "read")
    assert outcomes == {"used": 60, "wasted": 12}


def test_for_a_viewer_times_are_microseconds(tmp_path) -> None:
    trace = trace_of(0)
    events = saved(trace, tmp_path / "load.perfetto.json")["traceEvents"]
    waits = [event for event in events if event["ph"] == "X" and event["name"].startswith("wait")]
    assert sum(event["dur"] for event in waits) / 1e6 == pytest.approx(
        trace.loads[0].seconds - (trace.loads[0].header_seconds or 0), abs=1e-6
    )


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "load.json"
    target.write_text("before")
    monkeypatch.setattr("os.replace", no_room)
    with pytest.raises(CannotWrite, match="no space left"):
        trace_of(0).save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["load.json"]
    assert target.read_text() == "before"
