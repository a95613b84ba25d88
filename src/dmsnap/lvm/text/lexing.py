r"""The words of the text: patterns, and reading one value.

White space is that of C; ``#`` begins a comment up to the end of the line. A value is an integer (decimal, or octal
after a 0), a number with a decimal point, a word, or a string in quotes: in double ones a backslash takes the meaning
from a quote or backslash behind it and stays itself in front of anything else, in single ones it is a character like
any other. Source: lvm.conf(5), and how lvmconfig(8) of LVM 2.03 reads what that page leaves open.
"""

from __future__ import annotations

import re

from .bad_text import BadText
from .section import Scalar

__all__ = ["ITEM", "MOST_DIGITS", "MOST_IN_ARRAY", "number_of", "read_array", "read_name", "read_value", "skip"]

SPACE = r"[ \t\n\v\f\r]"
SKIP = rf"(?:{SPACE}++|\#[^\n]*+)*+"
NAME = r"""[^ \t\n\v\f\r\#={}"'\[\],/]++"""
SIMPLE_STRING = r'"[^"\\]*+"'

ITEM = re.compile(
    rf"""{SKIP}(?:
        (?P<closing>\}})
        | (?P<name>{NAME}) {SKIP} (?:
            (?P<opening>\{{)
            | = {SKIP} (?:
                (?P<integer>0(?![0-9])|[1-9][0-9]*+) (?!\.)
                | "(?P<string>[^"\\]*+)"
                | \[ (?P<strings>(?:{SPACE}*+ {SIMPLE_STRING} {SPACE}*+ ,?+)*+) {SPACE}*+ \]
            )
        )
    )""",
    re.VERBOSE,
)
"""What nearly all text consists of, in one match; whatever it does not match is read word by word."""

MOST_DIGITS = 30
MOST_IN_ARRAY = 1 << 16
"""How many values an array may have; those of LVM2 hold two for each stripe, or the tags."""
LARGEST = (1 << 63) - 1

_SKIP = re.compile(SKIP)
_NAME = re.compile(NAME)
_NUMBER = re.compile(r"[-+]?+[0-9.]++")
_STRING = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_RAW_STRING = re.compile(r"'([^']*+)'")
_ESCAPED = re.compile(r'\\(["\\])')
_WORD = re.compile(r"""[A-Za-z@][^ \t\n\v\f\r\#={}"'\[\],]*+""")


def skip(text: str, position: int) -> int:
    """Returns where the next word begins, behind white space and comments."""
    match = _SKIP.match(text, position)
    assert match is not None, "it matches nothing, too"
    return match.end()


def read_name(text: str, position: int) -> tuple[str, int]:
    """Reads the name of a value or section, with or without quotes; returns it and where it ends.

    Raises:
        BadText: There is none.
    """
    quote = text[position : position + 1]
    if quote in ('"', "'"):
        name, end = _read_string(text, position)
        if not name:
            raise BadText("an empty name", text, position)
        return name, end
    match = _NAME.match(text, position)
    if match is None:
        raise BadText(f"{_shown(text, position)} where a name belongs", text, position)
    if text.startswith("/", match.end()):
        raise BadText("a path where a name belongs", text, position)
    return match[0], match.end()


def read_value(text: str, position: int) -> tuple[Scalar, int]:
    """Reads a value that is no array; returns it and where it ends.

    Raises:
        BadText: There is none, or an integer of more than 64 bits.
    """
    first = text[position : position + 1]
    if first in ('"', "'") and first:
        return _read_string(text, position)
    if match := _NUMBER.match(text, position):
        return number_of(match[0], text, position), match.end()
    if match := _WORD.match(text, position):
        return match[0], match.end()
    raise BadText(f"{_shown(text, position)} where a value belongs", text, position)


def read_array(text: str, position: int) -> tuple[tuple[Scalar, ...], int]:
    """Reads an array from behind its bracket on; a comma may follow the last value. Returns it and where it ends.

    Raises:
        BadText: It is none, or has more than `MOST_IN_ARRAY` values; arrays do not nest.
    """
    values: list[Scalar] = []
    position = skip(text, position)
    while not text.startswith("]", position):
        if len(values) == MOST_IN_ARRAY:
            raise BadText(f"an array of more than {MOST_IN_ARRAY} values", text, position)
        value, position = read_value(text, position)
        values.append(value)
        position = skip(text, position)
        if text.startswith(",", position):
            position = skip(text, position + 1)
        elif not text.startswith("]", position):
            raise BadText(f"{_shown(text, position)} where a comma or ] belongs", text, position)
    return tuple(values), position + 1


def number_of(digits: str, text: str, position: int) -> int | float:
    """Returns the number that stands at ``position``.

    Raises:
        BadText: It is none, or an integer of more than 64 bits.
    """
    if len(digits) > MOST_DIGITS:
        raise BadText("a number that is too large", text, position)
    try:
        if "." in digits:
            return float(digits)
        unsigned = digits.lstrip("+-")
        number = int(digits, 8 if unsigned.startswith("0") else 10)
    except ValueError:
        raise BadText(f"{digits!r} is no number", text, position) from None
    if not -LARGEST - 1 <= number <= LARGEST:
        raise BadText("a number that is too large", text, position)
    return number


def _read_string(text: str, position: int) -> tuple[str, int]:
    double = text[position] == '"'
    match = (_STRING if double else _RAW_STRING).match(text, position)
    if match is None:
        raise BadText("a string that does not end", text, position)
    return _ESCAPED.sub(r"\1", match[1]) if double else match[1], match.end()


def _shown(text: str, position: int) -> str:
    """What stands there, for people."""
    return ascii(text[position]) if position < len(text) else "the end"
