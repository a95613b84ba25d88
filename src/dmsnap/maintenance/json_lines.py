"""A store as lines of JSON, one object each: the twin of the XML, for programs."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

from dmsnap.maintenance.dump_lines import DumpForm, Statement, write_lines
from dmsnap.maintenance.dump_reading import read_lines
from dmsnap.maintenance.events import Begin, Events
from dmsnap.maintenance.number_lines import NumberLines
from dmsnap.store.format import SECTOR_BYTES

__all__ = ["read_json_lines", "write_json_lines"]

_LINES = NumberLines(
    (b'{"origin_chunk": ', b', "cow_chunk": ', b"}\n"),
    (b'{"origin_begin": ', b', "cow_begin": ', b', "length": ', b"}\n"),
    mark=9,
)
_KINDS = {
    ("origin_chunk", "cow_chunk"): "single_exception",
    ("origin_begin", "cow_begin", "length"): "range_exception",
}


def write_json_lines(events: Events, out: BinaryIO) -> int:
    """Writes a stream of events as lines of JSON; returns the number of exceptions. Raises as `write_lines`."""
    return write_lines(events, out, _FORM)


def read_json_lines(stream: BinaryIO) -> Events:
    """Yields the events of a dump in lines of JSON. Raises as `read_lines`."""
    return read_lines(stream, _FORM)


def _begin(begin: Begin) -> bytes:
    numbers = {
        "version": begin.header.version,
        "valid": begin.header.valid,
        "chunk_size": begin.header.chunk_size_sectors,
        "cow_sectors": begin.cow_size_bytes // SECTOR_BYTES,
    }
    return json.dumps({"snapshot": numbers}).encode("ascii") + b"\n"


def _data(chunk: int, content: bytes) -> bytes:
    return b'{"cow_chunk": %d, "data": "%s"}\n' % (chunk, content)


def _end(exceptions: int, next_free: int) -> bytes:
    return b'{"end": {"nr_exceptions": %d, "next_free": %d}}\n' % (exceptions, next_free)


def _parse(line: bytes) -> Statement | None:
    if not line.strip():
        return None
    try:
        value = json.loads(line.decode("ascii"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    if value.keys() == {"cow_chunk", "data"} and isinstance(value["data"], str):
        content = value.pop("data")
        if not content.isascii():
            raise ValueError("the data is not base64")
        return Statement("data", _numbers(value), content.encode("ascii"))
    for kind in ("snapshot", "end"):
        if value.keys() == {kind} and isinstance(value[kind], dict):
            return Statement(kind, _numbers(value[kind]))
    for names, kind in _KINDS.items():
        if value.keys() == set(names):
            return Statement(kind, _numbers(value))
    raise ValueError("not an object of a dump")


def _numbers(value: dict[str, Any]) -> dict[str, int]:
    for name, number in value.items():
        if type(number) is not int:  # True is one, too
            raise ValueError(f"{name!a} is not a number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is there twice")
    return value


_FORM = DumpForm(_LINES, _begin, _data, _end, _parse, closed=False)
