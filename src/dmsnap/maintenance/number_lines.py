"""Lines that hold numbers, formatted and parsed by the ten thousand: what makes dumps as fast as they are.

A run of exceptions is one line, in one of two forms: a single exception has two numbers, a range three. Formatting
fills an array of bytes, one row a line: four digits come by one look-up, and the zero bytes that stand for leading
zeros are taken out at the end. Parsing is strict by working backwards: all numbers are taken out of a block of lines,
whatever stands between them, and the block is what it should be if these numbers, formatted again, give it back.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["NumberLines", "RunRows"]

RunRows: TypeAlias = npt.NDArray[np.uint64]
"""Shape (n, 3): first origin chunk, first COW chunk, how many chunks."""

_GROUP = 4
_BASE = 10**_GROUP
_ROWS = 1 << 13  # whose bytes stay in the processor's cache


def _four_digits() -> npt.NDArray[np.uint32]:
    padded = (np.arange(_BASE)[:, None] // (1000, 100, 10, 1) % 10 + ord("0")).astype(np.uint8)
    bare = np.where(np.arange(_BASE)[:, None] < (1000, 100, 10, 1), 0, padded).astype(np.uint8)
    last = bare.copy()
    last[0, -1] = ord("0")
    return np.concatenate((padded, bare, last)).view(np.uint32)[:, 0]


_DIGITS = _four_digits()
"""Four digits: with leading zeros; without them; without them, but for a zero itself."""

_BLANKED = bytes(octet if octet in b"0123456789" else ord(" ") for octet in range(256))
_BETWEEN = bytes(octet for octet in range(256) if octet not in b'0123456789":,')
"""What is left out of a block before its numbers are parsed: all but digits and what is always beside one."""


class NumberLines(NamedTuple):
    """The two forms of a line, as what stands around its numbers.

    Attributes:
        single: Before the origin chunk, between it and the COW chunk, and behind that; each of three bytes at least,
            and with a quote, colon or comma beside every number.
        range: The same, with a third number, how many chunks, before the last part. Its first parts are not those of
            a single one; ``mark`` tells them apart.
        mark: A place in the first part at which both differ.
    """

    single: tuple[bytes, bytes, bytes]
    range: tuple[bytes, bytes, bytes, bytes]
    mark: int

    def format(self, runs: RunRows) -> bytes:
        """Returns the lines of some runs, in their order; a run of one chunk is a single exception."""
        return b"".join(self._block(runs[first : first + _ROWS]) for first in range(0, len(runs), _ROWS))

    def parse(self, block: bytes) -> RunRows | None:
        """Returns the runs of a block of whole lines; None unless each line is just as `format` gives it."""
        if not block.startswith((self.single[0], self.range[0])):
            return None
        numbers = _numbers(block)
        if self.range[0] in block:
            runs = self._mixed(block, numbers)
        elif len(numbers) % 2:
            return None
        else:
            runs = np.ones((len(numbers) // 2, 3), np.uint64)
            runs[:, :2] = numbers.reshape(-1, 2)
        if runs is None or self.format(runs) != block:
            return None
        return runs

    def _block(self, runs: RunRows) -> bytes:
        ranges = runs[:, 2] != 1
        if ranges.all():
            rows = _rows(self.range, runs)
        elif not ranges.any():
            rows = _rows(self.single, runs)
        else:
            parts = _rows(self.single, runs[~ranges]), _rows(self.range, runs[ranges])
            rows = np.zeros((len(runs), max(part.shape[1] for part in parts)), np.uint8)
            rows[~ranges, : parts[0].shape[1]] = parts[0]
            rows[ranges, : parts[1].shape[1]] = parts[1]
        return rows.tobytes().replace(b"\0", b"")

    def _mixed(self, block: bytes, numbers: npt.NDArray[np.uint64]) -> RunRows | None:
        octets = np.frombuffer(block, np.uint8)
        marks = np.append(0, np.flatnonzero(octets == ord("\n"))[:-1] + 1) + self.mark
        if marks[-1] >= len(octets):
            return None
        ranges = octets[marks] == self.range[0][self.mark]
        behind = np.cumsum(2 + ranges)
        if behind[-1] != len(numbers):
            return None
        first = behind - 2 - ranges
        return np.stack((numbers[first], numbers[first + 1], np.where(ranges, numbers[behind - 1], 1)), axis=1)


def _numbers(block: bytes) -> npt.NDArray[np.uint64]:
    """All numbers; whatever comes of a block without any, or of larger ones, does not give the block back."""
    return np.fromstring(block.translate(_BLANKED, _BETWEEN), np.uint64, sep=" ")


def _rows(parts: tuple[bytes, ...], runs: RunRows) -> npt.NDArray[np.uint8]:
    """One row a line, as long as the longest; zero bytes belong to no line."""
    columns = [runs[:, place] for place in range(len(parts) - 1)]
    widths = [len(str(column.max())) for column in columns]
    line = b"".join(part + bytes(width) for part, width in zip(parts, [*widths, 0], strict=True))
    rows = np.empty((len(runs), len(line)), np.uint8)
    rows[:] = np.frombuffer(line, np.uint8)
    place = 0
    for part, column, width in zip(parts, columns, widths, strict=False):
        place += len(part) + width
        _put(rows[:, :place], column, width)
        over = -width % _GROUP
        rows[:, place - width - over : place - width] = np.frombuffer(part[len(part) - over :], np.uint8)
    return rows


def _put(rows: npt.NDArray[np.uint8], values: npt.NDArray[np.uint64], width: int) -> None:
    """Writes numbers to the end of rows, in whole groups of digits: up to three bytes more than the width."""
    rest, end, base = values, rows.shape[1], np.uint64(_BASE)
    for place in range(end, end - width, -_GROUP):
        above = rest // base
        group = rest - above * base
        group += (above == 0) * np.uint64(_BASE if place < end else 2 * _BASE)
        rows[:, place - _GROUP : place].view(np.uint32)[:, 0] = _DIGITS.take(group.view(np.int64))
        rest = above
