"""A stream of events as lines of text, one statement each: what XML and JSON have in common.

A dump says what the header holds, then each run of exceptions in the order of the metadata, and at the end how many
exceptions there were, so that one that was cut short is noticed. Nothing holds more than a block of lines.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from dmsnap.maintenance.dump_runs import RunFinder
from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions, IncompleteStream
from dmsnap.maintenance.number_lines import NumberLines
from dmsnap.store.format import (
    FIRST_DATA_CHUNK,
    exceptions_per_area,
    is_metadata_chunk,
)

__all__ = ["DATA_BYTES", "DumpForm", "Statement", "write_lines"]

DATA_BYTES = 1 << 16
"""In one line, unless a chunk is larger."""

SNAPSHOT, SINGLE, RANGE, DATA, END, CLOSE = "snapshot", "single_exception", "range_exception", "data", "end", "/"
"""What a line can say."""


class Statement(NamedTuple):
    """What a line says.

    Attributes:
        kind: One of the words above.
        numbers: By their names; judged by `read_lines`.
        content: Of data: base64.
    """

    kind: str
    numbers: Mapping[str, int]
    content: bytes = b""


class DumpForm(NamedTuple):
    """How a dump is written down.

    Attributes:
        numbers: How runs are.
        begin: Gives the lines for a header.
        data: Gives the line for a chunk's number and base64.
        end: Gives the lines for the number of exceptions and of the next free chunk.
        parse: Gives what a line says, without its end; None if nothing. Raises ValueError, in words for people.
        closed: Whether something closes it behind the end.
    """

    numbers: NumberLines
    begin: Callable[[Begin], bytes]
    data: Callable[[int, bytes], bytes]
    end: Callable[[int, int], bytes]
    parse: Callable[[bytes], Statement | None]
    closed: bool


def write_lines(events: Events, out: BinaryIO, form: DumpForm) -> int:
    """Writes a stream of events down; returns how many exceptions it had.

    Raises:
        IncompleteStream: The stream has no beginning or no end.
    """
    begin = next(events, None)
    if not isinstance(begin, Begin):
        raise IncompleteStream("a stream of a store does not begin with its header")
    out.write(form.begin(begin))
    per_area = exceptions_per_area(begin.header.chunk_size_sectors)
    finder, next_free = RunFinder(per_area), FIRST_DATA_CHUNK
    for event in events:
        if isinstance(event, Exceptions):
            next_free = max(next_free, int(event.records[:, 1].max(initial=0)) + 1)
            out.write(form.numbers.format(finder.add(event)))
        elif isinstance(event, Data):
            out.write(form.numbers.format(finder.rest()))
            for chunk, data in _lines_of_data(event, begin.chunk_bytes, per_area):
                out.write(form.data(chunk, binascii.b2a_base64(data, newline=False)))
        elif isinstance(event, End):
            out.write(form.numbers.format(finder.rest()))
            out.write(form.end(event.exceptions, next_free + is_metadata_chunk(next_free, per_area)))
            return event.exceptions
    raise IncompleteStream("a stream of a store breaks off", hint="it was cut short: get the whole of it")


def _lines_of_data(event: Data, chunk_bytes: int, per_area: int) -> Iterator[tuple[int, memoryview]]:
    """Yields what goes into one line; metadata is left out, at which damaged records may point."""
    together = max(1, DATA_BYTES // chunk_bytes)
    chunk, end = event.cow_chunk, event.cow_chunk - len(event.data) // -chunk_bytes
    while chunk < end:
        metadata = chunk + (1 - chunk) % (per_area + 1)
        stop = min(end, chunk + together, max(metadata, chunk + 1))
        if chunk != metadata:
            first = chunk - event.cow_chunk
            yield chunk, event.data[first * chunk_bytes : (stop - event.cow_chunk) * chunk_bytes]
        chunk = stop
