"""Table text is read as dmsetup and the kernel read it, and nothing in it does harm."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmsnap.target.stack import BadTableText
from dmsnap.target.stack.numbers import scanned, strict
from dmsnap.target.stack.table_text import MAX_TABLE_CHARACTERS, TableLine, parse_table
from dmsnap.target.table import table_argument

HUGE = (1 << 64) - 1


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("0 8 zero", [TableLine(0, 8, "zero", ())]),
        (" 0\t8  linear  /dev/a 3 \r\n", [TableLine(0, 8, "linear", ("/dev/a", "3"))]),
        ("\n# words\n0 8 zero\n\n  # more\n8 8 error\n", [TableLine(0, 8, "zero", ()), TableLine(8, 8, "error", ())]),
        ("0 8 linear a#b 3 # words", [TableLine(0, 8, "linear", ("a#b", "3"))]),
        (r"0 8 linear /a\ b\\c\d \#x", [TableLine(0, 8, "linear", ("/a b\\cd", "#x"))]),
        ("0 8 linear a\\", [TableLine(0, 8, "linear", ("a\\",))]),
        ("0 8zero", [TableLine(0, 8, "zero", ())]),
        ("+0 -8 zero", [TableLine(0, HUGE - 7, "zero", ())]),
        (f"0 {'9' * 5000} zero", [TableLine(0, HUGE, "zero", ())]),
        ("0 18446744073709551616 zero", [TableLine(0, HUGE, "zero", ())]),
        ("", []),
        (" \n# nothing\n", []),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_lines(text: str, lines: list[TableLine]) -> None:
    assert parse_table(text) == lines


@pytest.mark.parametrize(
    "text",
    ["nonsense", "0", "0 8", "0x0 8 zero", "0 8 zero\n0 zero", "0 8 \0zero", "0 8 linear a\0b 0", "\u0661 8 zero"],
    ids=ascii,
)
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(BadTableText, match="Invalid format on line") as caught:
        parse_table(text)
    assert caught.value.errno == 22


def test_a_long_type_is_refused() -> None:
    with pytest.raises(BadTableText, match="is too long"):
        parse_table("0 8 sixteenletters__")


def test_a_long_text_is_refused_before_it_is_read() -> None:
    with pytest.raises(BadTableText, match="is too long"):
        parse_table("0 8 zero\n" * (MAX_TABLE_CHARACTERS // 9 + 1))


@pytest.mark.parametrize("filling", ["\\", " ", "#", "1", "a", "\\ ", "\n", "1 "])
def test_the_longest_text_is_read_in_proportion(filling: str) -> None:
    text = "0 8 zero " + filling * ((MAX_TABLE_CHARACTERS - 9) // len(filling))
    began = time.process_time()
    with contextlib.suppress(BadTableText):
        parse_table(text)
    assert time.process_time() - began < 10


@given(st.text(st.sampled_from("0189 \t\n\\#+-linearzero/\0\x85é"), max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_lines_or_refused(text: str) -> None:
    try:
        lines = parse_table(text)
    except BadTableText:
        return
    for line in lines:
        assert 0 <= line.start <= HUGE
        assert 0 <= line.length <= HUGE


@given(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1))
@settings(max_examples=300, deadline=None)
def test_any_path_is_found_again(path: str) -> None:
    [line] = parse_table(f"0 8 linear {table_argument(path)} 0")
    assert line.arguments == (path, "0")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("010", 10), (" 5", 5), ("18446744073709551616", 0),
        ("18446744073709551617" * 50, int("18446744073709551617" * 50) % 2**64),
        ("", None), ("x", None), ("5 ", None), ("5x", None),
        ("-1", None), ("+1", None), ("0x10", None), ("\u0663", None),
    ],
)  # fmt: skip
def test_scanned_numbers(text: str, number: int | None) -> None:
    assert scanned(text, 64) == number


def test_scanned_numbers_wrap_at_their_size() -> None:
    assert scanned("4294967297", 32) == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("+8", 8), ("008", 8), ("0" * 9999 + "8", 8), ("4294967295", 4294967295),
        ("4294967296", None), ("9" * 9999, None), ("", None), ("+", None), ("-8", None),
        (" 8", None), ("8x", None), ("8 ", None),
    ],
)  # fmt: skip
def test_strict_numbers(text: str, number: int | None) -> None:
    assert strict(text, 32) == number
