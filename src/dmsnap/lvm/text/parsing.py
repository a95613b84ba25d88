"""From text to sections: one pass, no recursion, and bounds on what hostile text can make of memory and time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .bad_text import BadText
from .lexing import ITEM, MOST_IN_ARRAY, number_of, read_array, read_name, read_value, skip
from .section import Scalar, Section, Value
from .striped_run import StripedRun, read_run, run_end

if TYPE_CHECKING:
    from .segment_shapes import SegmentShapes

__all__ = ["LONG_TEXT", "MOST_BYTES", "MOST_NESTED", "MOST_VALUES", "SHORT_RUN", "decode_text", "parse_text"]

MOST_BYTES = 256 << 20
"""The longest text: LVM2's own metadata areas are a mebibyte unless someone asks for more."""
MOST_NESTED = 32
"""How deep sections may lie in each other; LVM2's are five deep."""
MOST_VALUES = 4_000_000
"""How many values and sections a text may have, apart from segments that were read in bulk."""
LONG_TEXT = 8 << 20
"""From so many characters on, NumPy saves more time than it takes to load."""
SHORT_RUN = 1 << 13
"""Up to so many characters, a pattern takes less time than NumPy."""

_SIMPLE_STRINGS = re.compile(r'"([^"\\]*+)"[ \t\n\v\f\r]*+(,?+)')
_VOLUME_DEPTH = 3  # group, logical_volumes, volume
_SHORT_DIGITS = 18  # of fewer than 64 bits, whatever they are


def parse_text(data: bytes | bytearray, *, runs: bool = False) -> Section:
    """Reads a text.

    A name must not come twice in a section (LVM2's own never do): LVM2 itself would take the first or the last,
    depending on who asks.

    Args:
        data: The text; it ends before its first NUL, as LVM2's does.
        runs: Whether runs of regular segments may be read in bulk, into `Section.run`, and not as sections each.

    Raises:
        BadText: It breaks the grammar or a bound.
    """
    return _Parser(decode_text(data), runs=runs).parse()


def decode_text(data: bytes | bytearray) -> str:
    """Returns the characters of a text up to its first NUL; bytes that are not UTF-8 become lone surrogates.

    Raises:
        BadText: It is too long.
    """
    end = data.find(0)
    if (len(data) if end < 0 else end) > MOST_BYTES:
        raise BadText(f"more than {MOST_BYTES >> 20} MiB of text", "", 0)
    return (data if end < 0 else data[:end]).decode("utf-8", "surrogateescape")


class _Parser:
    """One text while it is read."""

    def __init__(self, text: str, *, runs: bool) -> None:
        self._text = text
        self._runs = runs
        self._shapes: SegmentShapes | None = None
        self._count = 0
        self._irregular_until = 0
        self._section = Section()
        self._outer: list[Section] = []

    def parse(self) -> Section:
        text, position, match_item = self._text, 0, ITEM.match
        while True:
            match = match_item(text, position)
            if match is None:
                position = skip(text, position)
                if position == len(text):
                    break
                position = self._read_item(position)
                continue
            position = match.end()
            closing, name, opening, integer, string, strings = match.groups()
            if closing:
                self._close(position - 1)
            elif opening:
                position = self._open(name, match.start("name"), position)
            elif string is not None:
                self._add(name, string, match.start("name"))
            elif integer is not None:
                at = match.start("integer")
                number = int(integer) if len(integer) <= _SHORT_DIGITS else number_of(integer, text, at)
                self._add(name, number, match.start("name"))
            else:
                position = self._add_array(name, match, strings)
        if self._outer:
            raise BadText("the end where a } belongs", text, position)
        return self._section

    def _read_item(self, position: int) -> int:
        """Reads a value or the beginning of a section word by word; returns where that ends."""
        text = self._text
        name, at = read_name(text, position)
        at = skip(text, at)
        if text.startswith("{", at):
            return self._open(name, position, at + 1)
        if not text.startswith("=", at):
            raise BadText("a name without a value", text, position)
        at = skip(text, at + 1)
        value: Value
        if text.startswith("[", at):
            value, at = read_array(text, at + 1)
            self._count += len(value)
        else:
            value, at = read_value(text, at)
        self._add(name, value, position)
        return at

    def _add_array(self, name: str, match: re.Match[str], strings: str) -> int:
        """Adds an array of strings without backslashes; returns where it ends."""
        if strings.count('"') > 2 * MOST_IN_ARRAY:  # seen before all of them are in memory
            read_array(self._text, match.start("strings"))  # says where
        found = _SIMPLE_STRINGS.findall(strings)
        values: tuple[Scalar, ...] = tuple([value for value, _ in found])
        if not all(comma for _, comma in found[:-1]):
            read_array(self._text, match.start("strings"))  # says where
        self._count += len(values)
        self._add(name, values, match.start("name"))
        return match.end()

    def _add(self, name: str, value: Value, position: int) -> None:
        section = self._section
        if name in section or (section.run is not None and section.run.has(name)):
            raise BadText(f"{name!a} for the second time", self._text, position)
        self._count += 1
        if self._count > MOST_VALUES:
            raise BadText(f"more than {MOST_VALUES} values", self._text, position)
        section[name] = value

    def _open(self, name: str, start: int, position: int) -> int:
        """Begins a section; returns where to read on: behind its brace, or behind a whole run of segments."""
        if self._runs and name.startswith("segment"):
            end = self._read_run(name, start)
            if end is not None:
                return end
        if len(self._outer) >= MOST_NESTED:
            raise BadText(f"sections in each other more than {MOST_NESTED} deep", self._text, start)
        section = Section()
        self._add(name, section, start)
        self._outer.append(self._section)
        self._section = section
        return position

    def _read_run(self, name: str, start: int) -> int | None:
        """Reads a run of segments in bulk if one begins here; returns where it ends."""
        section = self._section
        if section.run is not None or start < self._irregular_until:
            return None
        if name != "segment1" or len(self._outer) != _VOLUME_DEPTH:
            return None
        end = run_end(self._text, start)
        if end is None:
            return None
        run = self._run_of(self._text[start:end])
        if run is None or any(isinstance(value, Section) or run.has(key) for key, value in section.items()):
            self._irregular_until = end  # trying again in there could take quadratic time
            return None
        section.run = run
        return end

    def _run_of(self, text: str) -> StripedRun | None:
        if len(self._text) >= LONG_TEXT and len(text) > SHORT_RUN:
            if self._shapes is None:
                from .segment_shapes import SegmentShapes

                self._shapes = SegmentShapes()
            run = self._shapes.read_run(text)
            if run is not None:
                return run
        return read_run(text)

    def _close(self, position: int) -> None:
        if not self._outer:
            raise BadText("'}' without a section", self._text, position)
        self._section = self._outer.pop()
