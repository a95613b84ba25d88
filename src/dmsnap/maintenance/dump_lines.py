"""A stream of events as lines of text, one statement each: what XML and JSON have in common.

A dump says what the header holds, then each run of exceptions in the order of the metadata, and at the end how many
exceptions there were, so that one that was cut short is noticed. Nothing holds more than a block of lines.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

from dmsnap.errors import DmsnapError
from dmsnap.maintenance.dump_runs import BadRuns, RunFinder, records_of
from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions, IncompleteStream
from dmsnap.maintenance.number_lines import NumberLines, RunRows
from dmsnap.store.format import (
    FIRST_DATA_CHUNK,
    MAGIC,
    SECTOR_BYTES,
    VERSION,
    BadChunkSize,
    Header,
    areas_on,
    check_chunk_size,
    exceptions_per_area,
    is_metadata_chunk,
)

__all__ = ["BadDump", "DumpForm", "Statement", "dumped_header", "most_exceptions", "read_lines", "write_lines"]

_BLOCK_BYTES = 1 << 19
_LINE_BYTES = 1 << 13
_DATA_BYTES = 1 << 16
"""In one line, unless a chunk is larger."""

SNAPSHOT, SINGLE, RANGE, DATA, END, CLOSE = "snapshot", "single_exception", "range_exception", "data", "end", "/"
_NUMBERS = {
    SNAPSHOT: {"version": 32, "valid": 32, "chunk_size": 32, "cow_sectors": 54},
    SINGLE: {"origin_chunk": 64, "cow_chunk": 64},
    RANGE: {"origin_begin": 64, "cow_begin": 64, "length": 64},
    DATA: {"cow_chunk": 64},
    END: {"nr_exceptions": 64, "next_free": 65},
    CLOSE: {},
}
"""The numbers that a statement has, each with the bits that it may have."""


class BadDump(DmsnapError):
    """A dump that says what no store can be, or that is no dump."""


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
    together = max(1, _DATA_BYTES // chunk_bytes)
    chunk, end = event.cow_chunk, event.cow_chunk - len(event.data) // -chunk_bytes
    while chunk < end:
        metadata = chunk + (1 - chunk) % (per_area + 1)
        stop = min(end, chunk + together, max(metadata, chunk + 1))
        if chunk != metadata:
            first = chunk - event.cow_chunk
            yield chunk, event.data[first * chunk_bytes : (stop - event.cow_chunk) * chunk_bytes]
        chunk = stop


def read_lines(stream: BinaryIO, form: DumpForm) -> Events:
    """Yields the events of what was written down, each judged: by 64 bits, by the size of the store and its areas.

    Raises:
        BadDump: A line says nothing that a dump says there, or what no store can be.
        IncompleteStream: It ends before its end, or has another number of exceptions than its end says.
    """
    reader = _Reader(form)
    for block in _blocks(stream, reader):
        runs = form.numbers.parse(block) if reader.in_records else None
        if runs is None:
            try:
                yield from reader.lines(block)
            except BadDump:
                if block.endswith(b"\n"):
                    raise
                break
        else:
            yield from reader.records(runs)
            reader.line += len(runs)
    yield reader.end()


class _Reader:
    """What a dump said so far."""

    def __init__(self, form: DumpForm) -> None:
        self.line = 0
        self.longest_line_bytes = _LINE_BYTES
        self._form = form
        self._begin: Begin | None = None
        self._per_area = self._count = self._most = 0
        self._end: End | None = None
        self._closed = False

    @property
    def in_records(self) -> bool:
        return self._begin is not None and self._end is None

    def lines(self, block: bytes) -> Events:
        """Reads lines one by one."""
        rows: list[tuple[int, int, int]] = []
        for line in block.splitlines():
            self.line += 1
            statement = self._parse(line)
            if statement is None:
                continue
            numbers = statement.numbers
            if statement.kind in (SINGLE, RANGE) and self.in_records:
                row = tuple(numbers.values())
                rows.append((*row, 1) if statement.kind == SINGLE else row)  # type: ignore[arg-type]
                if len(rows) < 1024:
                    continue
            if rows:
                yield from self.records(np.array(rows, np.uint64))
                rows = []
            if statement.kind not in (SINGLE, RANGE):
                yield from self._event(statement)
            elif not self.in_records:
                raise self._bad("an exception outside of a snapshot")
        if rows:
            yield from self.records(np.array(rows, np.uint64))

    def records(self, runs: RunRows) -> Events:
        """Spreads runs out."""
        try:
            for records in records_of(runs, longest=self._per_area, room=self._most - self._count):
                yield Exceptions(self._count, records)
                self._count += len(records)
        except BadRuns as error:
            raise self._bad(str(error)) from error

    def _parse(self, line: bytes) -> Statement | None:
        try:
            statement = self._form.parse(line)
        except ValueError as error:
            raise self._bad(str(error)) from None
        if statement is None:
            return None
        expected = _NUMBERS[statement.kind]
        if statement.numbers.keys() != expected.keys():
            wanted = ", ".join(expected) or "nothing"
            raise self._bad(f"{statement.kind} has {', '.join(statement.numbers) or 'nothing'}, instead of {wanted}")
        for name, bits in expected.items():
            if not 0 <= statement.numbers[name] < 1 << bits:
                raise self._bad(f"{name} is out of range")
        return statement._replace(numbers={name: statement.numbers[name] for name in expected})

    def _event(self, statement: Statement) -> Events:
        if statement.kind == SNAPSHOT and self._begin is None:
            self._begin = self._header(statement.numbers)
            yield self._begin
        elif statement.kind == DATA and self.in_records:
            yield self._data(statement)
        elif statement.kind == END and self.in_records:
            said = statement.numbers["nr_exceptions"]
            if said != self._count:
                raise IncompleteStream(
                    f"line {self.line}: the dump has {self._count} exceptions and says {said}",
                    hint="get the whole of it, or correct the number if it was edited",
                )
            self._end = End(said)
            self._closed = not self._form.closed
        elif statement.kind == CLOSE and self._end is not None and not self._closed:
            self._closed = True
        else:
            raise self._bad(f"{statement.kind} in the wrong place")

    def _header(self, numbers: Mapping[str, int]) -> Begin:
        try:
            begin = dumped_header(numbers["version"], numbers["valid"], numbers["chunk_size"], numbers["cow_sectors"])
        except DmsnapError as error:
            raise self._bad(error.message) from error
        self._per_area = exceptions_per_area(begin.header.chunk_size_sectors)
        self._most = most_exceptions(begin)
        self.longest_line_bytes = max(_DATA_BYTES, begin.chunk_bytes) * 4 // 3 + _LINE_BYTES
        return begin

    def _data(self, statement: Statement) -> Data:
        assert self._begin is not None
        chunk, chunk_bytes = statement.numbers["cow_chunk"], self._begin.chunk_bytes
        try:
            data = binascii.a2b_base64(statement.content, strict_mode=True)
        except binascii.Error as error:
            raise self._bad(f"the data is not base64: {error}") from None
        behind = chunk * chunk_bytes + len(data)
        if behind > self._begin.cow_size_bytes:
            raise self._bad(f"the data of chunk {chunk} goes past the end of the store")
        if not data or len(data) % (chunk_bytes if behind < self._begin.cow_size_bytes else SECTOR_BYTES):
            raise self._bad(f"the data of chunk {chunk} is not of whole chunks")
        metadata = chunk + (1 - chunk) % (self._per_area + 1)
        if chunk == 0 or metadata * chunk_bytes < behind:
            raise self._bad("data in the place of metadata")
        return Data(chunk, memoryview(data))

    def end(self) -> End:
        """Returns the end, which is told only once nothing follows it.

        Raises:
            IncompleteStream: It was not there.
        """
        if self._end is None or not self._closed:
            raise IncompleteStream(
                f"the dump breaks off behind line {self.line}", hint="it was cut short: get the whole of it"
            )
        return self._end

    def refuse_line(self, size: int) -> None:
        """Does nothing unless a line is longer than any that means something."""
        if size > self.longest_line_bytes:
            self.line += 1
            raise self._bad(f"a line of more than {self.longest_line_bytes} bytes")

    def _bad(self, what: str) -> BadDump:
        return BadDump(f"line {self.line}: {what}", hint="docs/dump.md says what a dump is", line=self.line)


def _blocks(stream: BinaryIO, reader: _Reader) -> Iterator[bytes]:
    """Yields whole lines, many at a time; a last one that lacks its end comes alone."""
    begun: list[bytes] = []
    size = 0
    while piece := stream.read(_BLOCK_BYTES):
        end = piece.rfind(b"\n") + 1
        if end:
            begun.append(piece[:end])
            block = b"".join(begun)
            begun, size = [], 0
            yield block
        begun.append(piece[end:])
        size += len(piece) - end
        reader.refuse_line(size)
    if size:
        yield b"".join(begun)


def dumped_header(version: int, valid: int, chunk_size_sectors: int, cow_sectors: int) -> Begin:
    """Returns what a dump begins with, judged.

    Raises:
        BadDump: No store can have this header, or this size.
    """
    if version != VERSION:
        raise BadDump(f"version {version}: stores have version {VERSION}")
    try:
        check_chunk_size(chunk_size_sectors)
    except BadChunkSize as error:
        raise BadDump(error.message) from error
    if cow_sectors < chunk_size_sectors:
        raise BadDump(f"a store of {cow_sectors} sectors has no room for its header")
    return Begin(Header(MAGIC, valid, version, chunk_size_sectors), cow_sectors * SECTOR_BYTES)


def most_exceptions(begin: Begin) -> int:
    """How many exceptions there can be in the areas of a store."""
    per_area = exceptions_per_area(begin.header.chunk_size_sectors)
    return areas_on(begin.cow_size_bytes // begin.chunk_bytes, per_area) * per_area
