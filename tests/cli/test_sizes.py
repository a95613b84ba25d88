"""Sizes on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.cli.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4K", 4096),
        ("4k", 4096),
        ("64M", 64 << 20),
        ("1G", 1 << 30),
        ("1.5G", 3 << 29),
        ("0.5k", 512),
        ("2T", 2 << 40),
        ("1P", 1 << 50),
        ("7E", 7 << 60),
        ("16s", 8192),
        ("16S", 8192),
        ("512b", 512),
        ("512B", 512),
        ("65536", 65536),
        ("16KiB", 16384),
        ("16kib", 16384),
        (" 4K ", 4096),
    ],
)
def test_sizes_are_to_base_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "K", "-1K", "+1K", "1e3", "1 K", "4KB", "4X", "0x10", "1,5G", "\u0661K", "1.K", ".5K", "1" * 21]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


def test_parts_of_a_byte_are_refused() -> None:
    with pytest.raises(ValueError, match="not a whole number of bytes"):
        parse_size("0.3K")


def test_more_than_a_file_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="more than any file can hold"):
        parse_size("8E")


@given(st.text(max_size=30))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError:
        return
    assert 0 <= size < 1 << 63
