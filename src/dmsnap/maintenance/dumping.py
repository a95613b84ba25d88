"""The three forms of a dump, by name; which of them something is, by its first byte."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from dmsnap.maintenance.dumped_store import BadDump
from dmsnap.maintenance.events import Events
from dmsnap.maintenance.json_lines import read_json_lines, write_json_lines
from dmsnap.maintenance.packed import PACKED_MAGIC, read_packed, write_packed
from dmsnap.maintenance.xml_form import read_xml, write_xml

__all__ = ["FORMATS", "DumpFormat", "read_dump"]


class DumpFormat(NamedTuple):
    """One form of a dump.

    Attributes:
        write: Writes a stream of events; returns the number of exceptions.
        read: Yields the events again.
        text: Whether it is for eyes too.
    """

    write: Callable[[Events, BinaryIO], int]
    read: Callable[[BinaryIO], Events]
    text: bool = True


FORMATS = {
    "xml": DumpFormat(write_xml, read_xml),
    "json": DumpFormat(write_json_lines, read_json_lines),
    "packed": DumpFormat(write_packed, read_packed, text=False),
}

_FIRST = {b"<": "xml", b"{": "json", PACKED_MAGIC[:1]: "packed"}


def read_dump(stream: io.BufferedReader) -> Events:
    """Yields the events of a dump, in whichever form it is; needs no seeking.

    Raises:
        BadDump, IncompleteStream: As the readers of the forms; it is none of them.
    """
    first = stream.peek(1)[:1]
    if first not in _FIRST:
        what = "is neither XML nor JSON nor packed metadata" if first else "is empty"
        raise BadDump(f"the dump {what}", hint="name what dmsnap dump has written")
    yield from FORMATS[_FIRST[first]].read(stream)
