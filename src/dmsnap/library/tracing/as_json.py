"""Traces as JSON: every event, for scripts; and the trace event format, for viewers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper

from dmsnap.library.output_file import whole_output
from dmsnap.library.tracing.reads import TracedRead, reads_in_flight, reads_of, waited_seconds
from dmsnap.store.load_trace import LoadTrace

__all__ = ["COUNTERS", "EVENT_COLUMNS", "load_fields", "write", "write_for_viewer"]

COUNTERS = (
    "hits",
    "misses",
    "prefetched",
    "prefetch_wasted",
    "waits",
    "sleeps",
    "evicted",
    "read_errors",
    "max_in_flight",
)
"""Those of `dmsnap.bufio.Counters` that tell of a load."""
EVENT_COLUMNS = ("seconds", "event", "area", "block")

_Object = dict[str, object]


def load_fields(load: LoadTrace) -> _Object:
    """Returns what is known of a load, but for its events, as JSON types; names and meanings are stable."""
    return {
        "device": load.device,
        "prefetch": str(load.prefetch),
        "areas": load.areas,
        "chunk_size_bytes": load.chunk_size_bytes,
        "block_size_bytes": load.block_size_bytes,
        "started": round(load.started, 9),
        "header_seconds": None if load.header_seconds is None else round(load.header_seconds, 9),
        "seconds": round(load.seconds, 9),
        "waited_seconds": round(waited_seconds(load, reads_of(load)), 9),
        "error": load.error,
        "counters": {name: getattr(load.counters, name) for name in COUNTERS},
        "events_left_out": load.left_out,
        "event_columns": EVENT_COLUMNS,
    }


def write(loads: Sequence[LoadTrace], path: str) -> None:
    """Writes one JSON object with all loads and their events, one line an event.

    Raises:
        CannotWrite: The folder is missing, full or not writable.
    """
    with whole_output(path) as data, TextIOWrapper(data, encoding="ascii", newline="\n") as file:
        file.write('{"format": "dmsnap-trace", "version": 1, "clock_unit": "seconds", "loads": [')
        for number, load in enumerate(loads):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(load_fields(load), indent=1).removesuffix("\n}") + ',\n "events": [')
            rows = ((f"{event.seconds:.9f}", event) for event in load.events())
            file.writelines(_lines(f'[{seconds}, "{e.event}", {e.area}, {e.block}]' for seconds, e in rows))
            file.write("]}")
        file.write("\n]}\n")


def write_for_viewer(loads: Sequence[LoadTrace], path: str) -> None:
    """Writes the loads in the trace event format, for Perfetto and chrome://tracing; times are microseconds there.

    A load is a process; its loader's waits are one thread, its reads asynchronous slices from start to use, the number
    of those in flight a counter.

    Raises:
        CannotWrite: The folder is missing, full or not writable.
    """
    encode = json.JSONEncoder().encode
    earliest = min((load.started for load in loads), default=0.0)
    with whole_output(path) as data, TextIOWrapper(data, encoding="ascii", newline="\n") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [')
        file.writelines(
            _lines(
                encode({"pid": number, "tid": 0} | event)
                for number, load in enumerate(loads, 1)
                for event in _viewer_events(load, load.started - earliest)
            )
        )
        file.write("]}\n")


def _lines(rows: Iterable[str]) -> Iterator[str]:
    opening = "\n"
    for row in rows:
        yield opening + row
        opening = ",\n"


def _viewer_events(load: LoadTrace, offset: float) -> Iterator[_Object]:
    def at(seconds: float) -> float:
        return round((seconds + offset) * 1e6, 3)

    def slice_(name: str, began: float, ended: float) -> _Object:
        return {"ph": "X", "cat": "loader", "name": name, "ts": at(began), "dur": round((ended - began) * 1e6, 3)}

    named = f"load {load.device} (prefetch {load.prefetch})"
    yield {"ph": "M", "name": "process_name", "args": {"name": named}}
    yield {"ph": "M", "name": "thread_name", "args": {"name": "loader"}}
    yield slice_("header", 0.0, load.seconds if load.header_seconds is None else load.header_seconds)
    reads, end = reads_of(load), load.seconds
    for number, read in enumerate(reads):
        if (waits := read.waits(end)) is not None:
            yield slice_(f"wait for area {read.area}", *waits)
        arrived = end if read.arrived is None else read.arrived
        same = {"cat": "read", "id": number}
        outcome = {"area": read.area, "block": read.block, "ahead": read.ahead, "outcome": _outcome(read)}
        yield {"ph": "b", "name": f"read area {read.area}", "ts": at(read.started), "args": outcome} | same
        yield {"ph": "e", "name": f"read area {read.area}", "ts": at(arrived)} | same
        if read.used is not None and read.used > arrived:
            kept = {"cat": "kept", "id": number, "name": f"keep area {read.area}"}
            yield {"ph": "b", "ts": at(arrived)} | kept
            yield {"ph": "e", "ts": at(read.used)} | kept
        if read.evicted is not None:
            yield {"ph": "i", "s": "t", "cat": "loader", "name": f"evict area {read.area}", "ts": at(read.evicted)}
    for seconds, count in reads_in_flight(reads, end):
        yield {"ph": "C", "name": "reads in flight", "ts": at(seconds), "args": {"reads": count}}


def _outcome(read: TracedRead) -> str:
    if read.failed:
        return "failed"
    if read.used is not None:
        return "used"
    return "evicted" if read.evicted is not None else "wasted"
