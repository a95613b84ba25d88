"""Runs of segments that are alike but for their numbers, or of a few such kinds, read with NumPy: nearly all long ones.

A text is what stands between its numbers, and the numbers. What a segment is without its digits, and where they stood
in it, is its shape. A run without its digits is one known shape after another; and all its numbers are where they
belong if between any two as many characters stand as in these shapes. Then the whole run has been seen to be regular,
and what is left to do is arithmetic on digits.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .striped_run import SEGMENT, StripedRun

__all__ = ["BLOCK_CHARACTERS", "MOST_SHAPES", "SegmentShapes"]

BLOCK_CHARACTERS = 1 << 16
"""How much is read at once: what is made of it stays in the processor's cache, and is bounded for the longest run."""
MOST_SHAPES = 256
"""How many shapes a text may have to be read here: to learn one takes longer than to read a segment by a pattern."""

_BEGIN = "segment"
_BETWEEN = b"segment {"  # without its digits
_DIGITS = b"0123456789"
_NUMBER = re.compile(r"[0-9]++")
_NAME = re.compile(r'"([A-Za-z_.+-]*+)[0-9]++", ')
_MOST_DIGITS = 18  # of fewer than 64 bits, whatever they are
_LEAST = np.array([0, 0, *(10**place for place in range(1, _MOST_DIGITS))], dtype=np.int64)
"""The least number of so many digits, 0 being one of a single digit."""
_SMALL = 256
"""Numbers below are looked up in a table."""
_WORD_DIGITS = 8
_BITS_IN_FRONT = np.array([8 * max(_WORD_DIGITS - length, 0) for length in range(_MOST_DIGITS + 1)], dtype=np.uint64)
"""In a word that ends with a number of so many digits."""
_LOW_BITS = np.uint64(0x0F0F0F0F0F0F0F0F)
_STEPS = [
    (np.uint64(8), np.uint64(10), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(16), np.uint64(100), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(32), np.uint64(10000), np.uint64(0x00000000FFFFFFFF)),
]
_HEAD = 4
"""The numbers that each segment has in front of its areas: its own, ``start_extent``, ``extent_count`` and
``stripe_count``. Then there may be a ``stripe_size``, and two for each area: of its name, and where it begins."""

_Numbers = npt.NDArray[np.int64]


class SegmentShapes:
    """The shapes of one text's segments, learnt where they are met first."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        # Of each shape:
        self._gaps: list[bytes] = []
        """How many characters stand behind each number, up to the next one, which may be the next segment's; 64 bits
        each, to be strung together."""
        self._area_counts: list[int] = []
        self._has_size: list[bool] = []
        self._area_prefixes: list[bytes] = []
        """Which of the prefixes each area's name has; strung together, too."""
        self._prefixes: dict[str, int] = {}

    def read_run(self, text: str) -> StripedRun | None:
        """Reads segments if all areas are named as LVM2 names physical volumes, or returns None."""
        first = SEGMENT.match(text)
        if first is None or not text.isascii():
            return None
        behind = first[0][len(first[0].rstrip()) :]
        texts = _blocks(text + behind)  # what stands behind each, and the last one lacks
        blocks = []
        for block in texts or ():
            found = self._read_block(block)
            if found is None:
                return None
            blocks.append(found)
        if not blocks:
            return None
        numbers, ids = blocks[0] if len(blocks) == 1 else map(np.concatenate, zip(*blocks, strict=True))
        head, sizes, areas_of_each, areas = self._columns(numbers, ids)
        indexes, starts, counts, stripes = map(_array, head)
        if indexes != _numbers_from_1(len(ids)) or stripes != areas_of_each:
            return None
        named = self._names(areas[::2], ids)
        if named is None:
            return None
        return StripedRun(
            starts=starts,
            counts=counts,
            stripe_counts=areas_of_each,
            stripe_sizes=sizes,
            names=named[0],
            area_names=named[1],
            area_starts=_array(areas[1::2]),
            area_counts=counts if len(named[1]) == len(counts) else _shared_out(counts, stripes),
        )

    def _columns(self, numbers: _Numbers, ids: _Numbers) -> tuple[Sequence[_Numbers], array[int], array[int], _Numbers]:
        """Returns what segments have in front, by place; their stripe sizes, or -1; how many areas each has; and the
        two numbers of all areas.

        Args:
            numbers: All that there are.
            ids: The shapes of the segments.
        """
        if len(numbers) == len(ids) * (_HEAD + 2):  # each has one area
            rows = numbers.reshape(len(ids), -1)
            return [*rows.T[:_HEAD]], _same(-1, len(ids)), _same(1, len(ids)), rows[:, _HEAD:].ravel()
        sized, areas = np.array(self._has_size)[ids], np.array(self._area_counts)[ids]
        lengths = _HEAD + sized + 2 * areas
        begins = lengths.cumsum() - lengths
        sizes, of_areas, head = np.full(len(ids), -1), np.ones(len(numbers), dtype=np.bool_), []
        for place in range(_HEAD):
            of_areas[begins + place] = False
            head.append(numbers[begins + place])
        of_areas[begins[sized] + _HEAD] = False
        sizes[sized] = numbers[begins[sized] + _HEAD]
        return head, _array(sizes), _array(areas), numbers[of_areas]

    def _read_block(self, text: str) -> tuple[_Numbers, _Numbers] | None:
        """Returns all numbers of segments, and which shape each segment has."""
        block = text.encode()
        ids = self._shapes_of(block.translate(None, _DIGITS), text)
        if ids is None:
            return None
        if ids.count(ids[0]) == len(ids):
            gaps = self._gaps[ids[0]] * len(ids)
        else:
            gaps = b"".join(map(self._gaps.__getitem__, ids))
        numbers = _numbers(block, np.frombuffer(gaps, dtype=np.int64))
        return None if numbers is None else (numbers, np.array(ids))

    def _shapes_of(self, literal: bytes, text: str) -> list[int] | None:
        """Returns which shape each segment has.

        Args:
            literal: The segments without digits.
            text: The segments.
        """
        first = literal[len(_BETWEEN) : literal.find(_BETWEEN, len(_BETWEEN))]
        count = len(literal) // (len(_BETWEEN) + len(first))
        if first in self._ids and literal == (_BETWEEN + first) * count:  # as often: all are alike
            return [self._ids[first]] * count
        nothing, *literals = literal.split(_BETWEEN)
        if nothing or not literals:
            return None
        if not all(map(self._ids.__contains__, literals)):
            examples = text.split(_BEGIN)[1:]
            if len(examples) != len(literals):
                return None
            for one, example in zip(literals, examples, strict=True):
                if one not in self._ids and not self._learn(one, _BEGIN + example):
                    return None
        return list(map(self._ids.__getitem__, literals))

    def _learn(self, literal: bytes, example: str) -> bool:
        """Adds the shape of a segment; returns whether it is one that can be read."""
        match = SEGMENT.fullmatch(example)
        if match is None or len(self._ids) >= MOST_SHAPES:
            return False
        prefixes, sized = _NAME.findall(match[6]), match[5] is not None
        gaps = list(map(len, _NUMBER.split(example)))[1:]
        if len(gaps) != _HEAD + sized + 2 * len(prefixes):
            return False  # there is a number more, in a comment or a name, and it is not known which is which
        gaps[-1] += len(_BEGIN)
        self._ids[literal] = len(self._ids)
        self._gaps.append(np.array(gaps, dtype=np.int64).tobytes())
        self._area_counts.append(len(prefixes))
        self._has_size.append(sized)
        which = [self._prefixes.setdefault(prefix, len(self._prefixes)) for prefix in prefixes]
        self._area_prefixes.append(np.array(which, dtype=np.int64).tobytes())
        return True

    def _names(self, numbers: _Numbers, ids: _Numbers) -> tuple[tuple[str, ...], array[int]] | None:
        """Returns the names that there are, and for each area which it is; or None if that is hard to say.

        Args:
            numbers: In the name of each area.
            ids: The shapes of the segments.
        """
        keys, known = numbers, list(self._prefixes)
        if len(known) > 1:
            if numbers.max() >= 1 << 32:
                return None
            prefixes = b"".join(map(self._area_prefixes.__getitem__, ids.tolist()))
            keys = np.frombuffer(prefixes, dtype=np.int64) << 32 | numbers
        largest = keys.max()
        if largest == keys.min():  # often
            found, which = keys[:1], _same(0, len(keys))
        elif largest < _SMALL:
            found = np.flatnonzero(np.bincount(keys))
            table = np.zeros(_SMALL, dtype=np.int64)
            table[found] = np.arange(len(found))
            which = _array(table[keys])
        else:
            found, indexes = np.unique(keys, return_inverse=True)
            which = _array(indexes)
        if len(known) == 1:
            return tuple([sys.intern(f"{known[0]}{key}") for key in found.tolist()]), which
        return tuple([sys.intern(f"{known[key >> 32]}{key & 0xFFFFFFFF}") for key in found.tolist()]), which


def _shared_out(counts: array[int], stripes: array[int]) -> array[int]:
    """The extents of each stripe."""
    by_segment = np.asarray(counts) // np.asarray(stripes)
    return _array(by_segment.repeat(np.asarray(stripes)))


@lru_cache(maxsize=64)
def _numbers_from_1(count: int) -> array[int]:
    return array("q", range(1, count + 1))


@lru_cache(maxsize=64)
def _same(number: int, count: int) -> array[int]:
    """The same number again and again; it is shared by all runs that need it."""
    return array("q", [number]) * count


def _blocks(text: str) -> list[str] | None:
    """Returns segments, some at a time, or None if one is longer than a block."""
    begins = [0]
    while len(text) - begins[-1] > BLOCK_CHARACTERS:
        end = text.rfind(_BEGIN, begins[-1] + 1, begins[-1] + BLOCK_CHARACTERS)
        if end < 0:
            return None
        begins.append(end)
    return [text[begin:end] for begin, end in pairwise([*begins, len(text)])]


def _numbers(block: bytes, gaps: _Numbers) -> _Numbers | None:
    """Returns all numbers of segments if they stand where they should.

    Args:
        block: The segments.
        gaps: How many characters stand behind each number, as far as the number of a segment that might follow.
    """
    is_digit = np.frombuffer(block, dtype=np.uint8) - np.uint8(ord("0")) < 10
    changes = np.flatnonzero(is_digit[1:] != is_digit[:-1])
    if len(changes) != 2 * len(gaps) or changes[0] != len(_BEGIN) - 1:
        return None
    before, last = changes[::2], changes[1::2]
    if np.count_nonzero(before[1:] - last[:-1] != gaps[:-1]):  # behind the last one is what the others leave
        return None
    lengths = last - before
    longest = int(lengths.max())
    if longest > _MOST_DIGITS:
        return None
    numbers = _last_digits(block, last, lengths)
    for done in range(_WORD_DIGITS, longest, _WORD_DIGITS):
        longer = lengths > done
        numbers[longer] += _last_digits(block, last[longer] - done, lengths[longer] - done) * 10**done
    return None if np.count_nonzero(numbers < _LEAST.take(lengths)) else numbers  # one begins with a zero


def _last_digits(block: bytes, last: _Numbers, lengths: _Numbers) -> _Numbers:
    """Returns what the last 8 digits of numbers say, or all if they are fewer, by arithmetic on all 8 at once.

    Args:
        block: Characters; no number ends within the first seven.
        last: Where the last digits stand.
        lengths: How many digits the numbers have, which is 1 at least.
    """
    words = np.ndarray(len(block) - _WORD_DIGITS + 1, dtype="<u8", buffer=block, strides=1)
    others = _BITS_IN_FRONT.take(lengths)
    digits = words[last - (_WORD_DIGITS - 1)] & _LOW_BITS
    digits >>= others
    digits <<= others
    for bits, worth, mask in _STEPS:  # two digits are one number, then two of these
        upper = digits >> bits
        digits *= worth
        digits += upper
        digits &= mask
    return digits.view(np.int64)


def _array(numbers: npt.NDArray[np.integer[Any]]) -> array[int]:
    return array("q", numbers.tobytes())
