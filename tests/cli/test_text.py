"""Text for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.cli.text import printable, readable_size


@pytest.mark.parametrize("harmless", ["snap.cow", "Ärger übermäßig.cow", "日本.img", "a b", "'\"\\"])
def test_harmless_text_stays(harmless: str) -> None:
    assert printable(harmless) == harmless


@pytest.mark.parametrize(
    ("harmful", "escaped"),
    [("\x1b[2J", "\\x1b[2J"), ("a\nb\r", "a\\nb\\r"), ("\x9b", "\\x9b"), ("\u202e", "\\u202e"), ("\udcff", "\\udcff")],
)
def test_what_steers_a_terminal_is_escaped(harmful: str, escaped: str) -> None:
    assert printable(harmful) == escaped


@given(st.text(st.characters(exclude_categories=())))
def test_the_result_is_always_printable(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1024 KiB"),
        (1 << 20, "1 MiB"),
        (16 << 40, "16 TiB"),
        ((1 << 64) - 1, "16 EiB"),
    ],
)
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert readable_size(size_bytes) == text
