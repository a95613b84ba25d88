"""Runs of segments that differ from the first in nothing but their numbers, read with NumPy: nearly all long ones.

A text is what stands between its numbers, and the numbers. Without its digits such a run is the first segment without
its digits, again and again; and all its numbers are where they belong if between any two as many characters stand as in
the first segment. Then the whole run has been seen to be regular, and its digits can be added up by place.
"""

from __future__ import annotations

import re
import sys
from array import array
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .striped_run import SEGMENT, StripedRun

__all__ = ["BLOCK_CHARACTERS", "read_uniform_run"]

BLOCK_CHARACTERS = 1 << 16
"""How much is read at once: what is made of it stays in the processor's cache, and is bounded for the longest run."""

_DIGITS = b"0123456789"
_NUMBER = re.compile(r"[0-9]++")
_NAME = re.compile(r'"([A-Za-z_.+-]*+)[0-9]++", ')
_MOST_DIGITS = 18  # of fewer than 64 bits, whatever they are
_PLACES = np.arange(_MOST_DIGITS)[:, None]
_WORTH = np.array([10**place for place in range(_MOST_DIGITS)], dtype=np.int64)
_LEAST = np.array([0, 0, *_WORTH[1:]], dtype=np.int64)
"""The least number of so many digits, 0 being one of a single digit."""


def read_uniform_run(text: str) -> StripedRun | None:
    """Reads segments if they are uniform and all areas are named as LVM2 names physical volumes; else returns None."""
    first = SEGMENT.match(text)
    if first is None or first.end() > BLOCK_CHARACTERS or not text.isascii():
        return None
    prefixes = _NAME.findall(first[6])
    stripes, sized = len(prefixes), first[5] is not None
    between = _NUMBER.split(first[0])
    # One number more, in a comment or a name, and it is not known which is which.
    if len(set(prefixes)) != 1 or len(between) - 1 != 4 + sized + 2 * stripes:
        return None
    columns = _columns(text, between, behind=first[0][len(first[0].rstrip()) :])
    if columns is None:
        return None
    count = len(columns[0])
    if columns[0] != _numbers_from_1(count) or columns[3] != array("q", [stripes]) * count:
        return None
    return StripedRun(
        starts=columns[1],
        counts=columns[2],
        stripe_counts=columns[3],
        stripe_sizes=[*columns[4]] if sized else [None] * count,
        area_names=_names(prefixes[0], _in_turn(columns[-2 * stripes :: 2])),
        area_starts=_in_turn(columns[1 - 2 * stripes :: 2]),
    )


def _columns(text: str, between: list[str], *, behind: str) -> list[array[int]] | None:
    """Returns the numbers of all segments, those of one place in each; ``behind`` is what the last one lacks."""
    columns = [array("q") for _ in between[1:]]
    literal = "".join(between).encode()
    gaps = np.array([len(between[-1]) + len(between[0]), *map(len, between[1:-1])])
    cuts = [0]
    while len(text) - cuts[-1] > BLOCK_CHARACTERS:
        cut = text.rfind("segment", cuts[-1] + 1, cuts[-1] + BLOCK_CHARACTERS)
        if cut < 0:
            return None
        cuts.append(cut)
    for begin, end in pairwise([*cuts, len(text)]):
        block = text[begin:end] + (behind if end == len(text) else "")
        numbers = _numbers(block.encode(), literal, gaps, len(between[-1]))
        if numbers is None:
            return None
        for column, those in zip(columns, numbers, strict=True):
            column.frombytes(those.tobytes())
    return columns


def _numbers(
    block: bytes, literal: bytes, gaps: npt.NDArray[np.int64], behind_last: int
) -> npt.NDArray[np.int64] | None:
    """Returns a row for each place in a segment.

    Args:
        block: Segments, as may be.
        literal: All that a segment is but digits; there are some at both of its ends.
        gaps: How many characters stand in front of each number, down to the one before; of the first, to the last one
            of the segment before.
        behind_last: How many characters of a segment stand behind its last number.
    """
    without_digits = block.translate(None, _DIGITS)
    count = len(without_digits) // len(literal)
    if without_digits != literal * count:
        return None
    digits = np.frombuffer(block, dtype=np.uint8) - np.uint8(ord("0"))
    is_digit = digits < 10
    changes = np.flatnonzero(is_digit[1:] != is_digit[:-1])
    if len(changes) != 2 * count * len(gaps):
        return None
    before, last = changes.reshape(-1, 2).T.copy()
    previous = np.concatenate(([-1 - behind_last], last[:-1]))
    if not ((before - previous).reshape(count, -1) == gaps).all():
        return None
    lengths = last - before
    longest = int(lengths.max())
    if longest > _MOST_DIGITS:
        return None
    places = _PLACES[:longest]
    by_place = digits.take(last - places, mode="wrap")  # what is no digit of the number goes away again, wherever from
    by_place *= places < lengths
    numbers = _WORTH[:longest] @ by_place
    if (numbers < _LEAST.take(lengths)).any():  # it begins with a zero
        return None
    return numbers.reshape(count, -1).T


@lru_cache(maxsize=64)
def _numbers_from_1(count: int) -> array[int]:
    return array("q", range(1, count + 1))


def _names(prefix: str, numbers: array[int]) -> list[str]:
    if numbers == numbers[:1] * len(numbers):  # often
        return [sys.intern(f"{prefix}{numbers[0]}")] * len(numbers)
    names = {number: sys.intern(f"{prefix}{number}") for number in set(numbers)}
    return list(map(names.__getitem__, numbers))


def _in_turn(columns: list[array[int]]) -> array[int]:
    """The first of each, then the second of each …"""
    if len(columns) == 1:
        return columns[0]
    merged = columns[0] * len(columns)
    for index, column in enumerate(columns):
        merged[index :: len(columns)] = column
    return merged
