"""A store as XML in the manner of ``thin_dump``; one element a line, so that it can be read by the line as well.

What is read is a small part of XML: one element a line, with blanks and comments around. There are no entities, no
document types and no instructions but the first line, so that nothing is ever expanded or followed.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from dmsnap.maintenance.dump_lines import DumpForm, Statement, write_lines
from dmsnap.maintenance.dump_reading import read_lines
from dmsnap.maintenance.events import Begin, Events
from dmsnap.maintenance.number_lines import NumberLines
from dmsnap.store.format import SECTOR_BYTES

__all__ = ["read_xml", "write_xml"]

_LINES = NumberLines(
    (b'  <single_exception origin_chunk="', b'" cow_chunk="', b'"/>\n'),
    (b'  <range_exception origin_begin="', b'" cow_begin="', b'" length="', b'"/>\n'),
    mark=3,
)
_UNITS = b"chunk_size, cow_sectors: sectors of 512 bytes; all else: chunks"
_BLANKS = rb"[ \t\r]*+"
_ATTRIBUTE = rb"[ \t]++([a-z_]++)" + _BLANKS + b"=" + _BLANKS + rb"""("[^"<&]*+"|'[^'<&]*+')"""
_ELEMENT = re.compile(_BLANKS + rb"<([a-z_]++)((?:" + _ATTRIBUTE + rb")*+)" + _BLANKS + rb"(/?)>" + _BLANKS)
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_DATA = re.compile(
    _BLANKS + rb"""<data[ \t]++cow_chunk=(?:"([0-9]{1,20})"|'([0-9]{1,20})')>([^<&]*+)</data>""" + _BLANKS
)
_CLOSE = re.compile(_BLANKS + rb"</snapshot>" + _BLANKS)
_NOTHING = re.compile(_BLANKS + rb"(?:<!--(?:[^-]|-[^-])*+-->|<\?xml [^<>&?]*+\?>)?" + _BLANKS)
_NUMBER = re.compile(rb"[0-9]{1,20}")


def write_xml(events: Events, out: BinaryIO) -> int:
    """Writes a stream of events as XML; returns the number of exceptions. Raises as `write_lines`."""
    return write_lines(events, out, _FORM)


def read_xml(stream: BinaryIO) -> Events:
    """Yields the events of a dump in XML. Raises as `read_lines`."""
    return read_lines(stream, _FORM)


def _begin(begin: Begin) -> bytes:
    return b'<snapshot version="%d" valid="%d" chunk_size="%d" cow_sectors="%d" units="%s">\n' % (
        begin.header.version,
        begin.header.valid,
        begin.header.chunk_size_sectors,
        begin.cow_size_bytes // SECTOR_BYTES,
        _UNITS,
    )


def _data(chunk: int, content: bytes) -> bytes:
    return b'  <data cow_chunk="%d">%s</data>\n' % (chunk, content)


def _end(exceptions: int, next_free: int) -> bytes:
    return b'  <end nr_exceptions="%d" next_free="%d"/>\n</snapshot>\n' % (exceptions, next_free)


def _parse(line: bytes) -> Statement | None:
    if found := _DATA.fullmatch(line):
        return Statement("data", {"cow_chunk": int(found[1] or found[2])}, found[3])
    if found := _ELEMENT.fullmatch(line):
        kind = found[1].decode("ascii")
        if kind in ("single_exception", "range_exception", "end", "snapshot") and bool(found[5]) != (
            kind == "snapshot"
        ):
            return Statement(kind, _numbers(kind, found[2]))
    if _NOTHING.fullmatch(line):
        return None
    if _CLOSE.fullmatch(line):
        return Statement("/", {})
    raise ValueError("not one element of a dump")


def _numbers(kind: str, text: bytes) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for name, quoted in _ATTRIBUTES.findall(text):
        if (kind, name) == ("snapshot", b"units"):  # for people
            continue
        word = name.decode("ascii")
        if word in numbers:
            raise ValueError(f"{word} is there twice")
        if not _NUMBER.fullmatch(quoted, 1, len(quoted) - 1):
            raise ValueError(f"{word} is not a number")
        numbers[word] = int(quoted[1:-1])
    return numbers


_FORM = DumpForm(_LINES, _begin, _data, _end, _parse, closed=True)
