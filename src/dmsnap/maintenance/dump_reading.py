"""Reading a dump line by line, strictly: lines that are as they were written all at once, odd ones each by itself.

Whoever wrote it is not trusted: lines, numbers, lengths and data are bounded before anything is made of them.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from dmsnap.errors import DmsnapError
from dmsnap.maintenance.dump_lines import CLOSE, DATA, DATA_BYTES, END, RANGE, SINGLE, SNAPSHOT, DumpForm, Statement
from dmsnap.maintenance.dump_runs import BadRuns, records_of
from dmsnap.maintenance.dumped_store import BadDump, dumped_header, most_exceptions
from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions, IncompleteStream
from dmsnap.maintenance.number_lines import RunRows
from dmsnap.store.format import SECTOR_BYTES, exceptions_per_area

__all__ = ["read_lines"]

_BLOCK_BYTES = 1 << 19
_ODD_BYTES = 1 << 14
_LINE_BYTES = 1 << 13
_NUMBERS = {
    SNAPSHOT: {"version": 32, "valid": 32, "chunk_size": 32, "cow_sectors": 54},
    SINGLE: {"origin_chunk": 64, "cow_chunk": 64},
    RANGE: {"origin_begin": 64, "cow_begin": 64, "length": 64},
    DATA: {"cow_chunk": 64},
    END: {"nr_exceptions": 64, "next_free": 65},
    CLOSE: {},
}
"""The numbers that a statement has, each with the bits that it may have."""


def read_lines(stream: BinaryIO, form: DumpForm) -> Events:
    """Yields the events of what was written down, each judged: by 64 bits, by the size of the store and its areas.

    Raises:
        BadDump: A line says nothing that a dump says there, or what no store can be.
        IncompleteStream: It ends before its end, or has another number of exceptions than its end says.
    """
    reader = _Reader(form)
    for block in _blocks(stream, reader):
        try:
            yield from reader.block(block)
        except BadDump:
            if reader.done or block.endswith(b"\n"):
                raise
            break  # within a line
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

    @property
    def done(self) -> bool:
        """Whether nothing may follow."""
        return self._end is not None and self._closed

    def block(self, block: bytes) -> Events:
        """Reads whole lines: all at once, or else one by one those around what is odd in them."""
        runs = self._form.numbers.parse(block) if self.in_records else None
        middle = block.rfind(b"\n", 0, len(block) // 2) + 1
        if runs is not None:
            self.line += len(runs)
            yield from self.records(runs, range(self.line - len(runs) + 1, self.line + 1))
        elif middle and len(block) > _ODD_BYTES:
            yield from self.block(block[:middle])
            yield from self.block(block[middle:])
        else:
            yield from self.lines(block)

    def lines(self, block: bytes) -> Events:
        """Reads lines one by one."""
        rows: list[tuple[int, int, int]] = []
        places: list[int] = []
        for line in block.splitlines():
            self.line += 1
            statement = self._parse(line)
            if statement is None:
                continue
            numbers = statement.numbers
            if statement.kind in (SINGLE, RANGE) and self.in_records:
                row = tuple(numbers.values())
                rows.append((*row, 1) if statement.kind == SINGLE else row)  # type: ignore[arg-type]
                places.append(self.line)
                if len(rows) < 1024:
                    continue
            if rows:
                yield from self.records(np.array(rows, np.uint64), places)
                rows, places = [], []
            if statement.kind not in (SINGLE, RANGE):
                yield from self._event(statement)
            elif not self.in_records:
                raise self._bad("an exception outside of a snapshot")
        if rows:
            yield from self.records(np.array(rows, np.uint64), places)

    def records(self, runs: RunRows, places: Sequence[int]) -> Events:
        """Spreads runs out, each of which was in one of these lines."""
        try:
            for records in records_of(runs, longest=self._per_area, room=self._most - self._count):
                yield Exceptions(self._count, records)
                self._count += len(records)
        except BadRuns as error:
            self.line = places[error.row]
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
        self.longest_line_bytes = max(DATA_BYTES, begin.chunk_bytes) * 4 // 3 + _LINE_BYTES
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
        if self._end is None or not self.done:
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
