"""From the text of a table to its lines: ``<start> <length> <type> <arguments>``, as in ``dmsetup create --table``.

The first three words are read by ``dmsetup`` (libdm), the arguments are split by the kernel: at blanks, with a
backslash before a character that stands for itself. (What ``dmsetup`` reads it hands on with every backslash doubled,
so there a blank in a path cannot be written; here it can.) Lines that are empty or begin with ``#`` do not count, and
an argument that begins with ``#`` begins a comment.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dmsnap.target.stack.refusals import BadTableText

__all__ = ["MAX_TABLE_CHARACTERS", "TableLine", "parse_table"]

MAX_TABLE_CHARACTERS = 1 << 20
"""Longer text is refused before it is looked at: it would be many thousands of targets."""

_MAX_TYPE = 15  # DM_MAX_TYPE_NAME less its final zero byte
_MAX_SECTOR = (1 << 64) - 1

_LINE = re.compile(r"\s*+([+-]?)([0-9]++)\s*+([+-]?)([0-9]++)\s*+(\S++)(.*)", re.ASCII | re.DOTALL)
_NOTHING = re.compile(r"\s*(#.*)?", re.ASCII | re.DOTALL)
_ARGUMENT = re.compile(r"(?:\\.|\S)+", re.ASCII | re.DOTALL)
_QUOTED = re.compile(r"\\(.)", re.DOTALL)


class TableLine(NamedTuple):
    """One target.

    Attributes:
        start: First sector of the mapped device.
        length: Sectors.
        type: Its name.
        arguments: Without the backslashes.
    """

    start: int
    length: int
    type: str
    arguments: tuple[str, ...]


def parse_table(text: str) -> list[TableLine]:
    """Reads a table; what its lines say is not judged.

    Raises:
        BadTableText: The text is too long, or a line is no table line.
    """
    if len(text) > MAX_TABLE_CHARACTERS:
        raise BadTableText(
            f"a table of {len(text)} characters is too long", hint=f"use at most {MAX_TABLE_CHARACTERS} characters"
        )
    lines = enumerate(text.split("\n"), 1)
    return [_parse_line(number, line) for number, line in lines if not _NOTHING.fullmatch(line)]


def _parse_line(number: int, line: str) -> TableLine:
    match = _LINE.fullmatch(line)
    if match is None or "\0" in line:
        raise BadTableText(
            f"Invalid format on line {number} of table: {line[:80]!r}",
            hint="write: <start> <length> <type> <arguments>",
        )
    start_sign, start, length_sign, length, kind, rest = match.groups()
    if len(kind) > _MAX_TYPE:
        raise BadTableText(f"Target type name {kind[:80]!r} is too long.", hint=f"on line {number} of the table")
    return TableLine(_number(start_sign, start), _number(length_sign, length), kind, tuple(_arguments(rest)))


def _number(sign: str, digits: str) -> int:
    """A number as the C library reads it: what is too large becomes the largest, what is negative wraps around."""
    value = int(digits) if len(digits) <= 20 else _MAX_SECTOR
    if value > _MAX_SECTOR:
        return _MAX_SECTOR
    return -value & _MAX_SECTOR if sign == "-" else value


def _arguments(rest: str) -> list[str]:
    words = []
    for match in _ARGUMENT.finditer(rest):
        if match[0].startswith("#"):
            break
        words.append(_QUOTED.sub(r"\1", match[0]))
    return words
