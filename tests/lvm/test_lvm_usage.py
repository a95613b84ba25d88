"""Data% as lvs prints it, from the kernel's status words."""

from __future__ import annotations

import pytest

from dmsnap.lvm.usage import data_percent
from dmsnap.target.status import parse_status


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("24/200 16", "12.00"),  # LVM2's tests: 100 KiB with one chunk of 4 KiB
        ("24/24 16", "100.00"),  # 3 chunks, the smallest, with one copy: full, and well
        ("16/200 16", "0.00"),  # nothing but metadata
        ("16/200", "8.00"),  # an old kernel does not say what is metadata
        ("0/200", "0.00"),
        ("1/100000000 0", "0.01"),  # never 0.00 when something is used
        ("99999999/100000000 16", "99.99"),  # nor 100.00 when something is free
        ("99994/100000 16", "99.99"),
        ("300/200 16", "150.00"),
        ("0/0 0", "0.00"),
        ("24/0 16", "100.00"),
        ("1/3 0", "33.33"),
        ("2/3 0", "66.67"),
        ("12345/100000 0", "12.35"),
        ("Invalid", "100.00"),
        ("Overflow", "100.00"),
        ("Merge failed", ""),
        ("Unknown", ""),
    ],
)
def test_lvs_shows(words: str, shown: str) -> None:
    assert data_percent(parse_status(words)) == shown


def test_a_number_half_way_between_two_is_rounded_in_single_precision() -> None:
    """20.265 is 20.2649993896... in single precision, so that it is rounded down."""
    assert data_percent(parse_status("20265/100000 0")) == "20.26"
