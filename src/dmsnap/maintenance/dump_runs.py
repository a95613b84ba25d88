"""Records as runs, and back: what makes dumps short, with no loss of order.

A run is a stretch of records in which both numbers rise by one, within one metadata area.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dmsnap.maintenance.events import BATCH_RECORDS, Exceptions
from dmsnap.maintenance.number_lines import RunRows

__all__ = ["BadRuns", "RunFinder", "records_of"]

_NO_RUNS: RunRows = np.empty((0, 3), np.uint64)


class BadRuns(ValueError):
    """Runs that no store can have; the words say why.

    Attributes:
        row: The first of them.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


class RunFinder:
    """Finds the runs of a store's records, whatever batches they come in.

    Args:
        per_area: How many records an area has.
    """

    def __init__(self, per_area: int) -> None:
        self._per_area = per_area
        self._open = _NO_RUNS  # the last run, which may go on

    def add(self, event: Exceptions) -> RunRows:
        """Takes records that follow those before; returns the runs that have ended."""
        if not len(event.records):
            return _NO_RUNS
        runs = _runs(event, self._per_area)
        if len(self._open):
            origin, cow, length = self._open[0].tolist()
            if event.first % self._per_area and [origin + length, cow + length] == runs[0, :2].tolist():
                runs[0] = origin, cow, length + int(runs[0, 2])
            else:
                runs = np.concatenate((self._open, runs))
        self._open = runs[-1:]
        return runs[:-1]

    def rest(self) -> RunRows:
        """Returns the last run, if there is one, and takes it for ended."""
        runs, self._open = self._open, _NO_RUNS
        return runs


def _runs(event: Exceptions, per_area: int) -> RunRows:
    origin, cow = event.records[:, 0], event.records[:, 1]
    joined = np.zeros(len(origin), np.bool_)
    np.equal(origin[1:] - origin[:-1], 1, out=joined[1:])
    if joined.any():  # scattered ones are known by that
        joined[1:] &= cow[1:] - cow[:-1] == 1
        joined &= (origin != 0) & (cow != 0)  # the difference to the largest number of all is 1, too
        joined[-event.first % per_area :: per_area] = False
    runs = np.empty((len(origin) - int(np.count_nonzero(joined)), 3), np.uint64)
    if len(runs) == len(origin):
        runs[:, :2], runs[:, 2] = event.records, 1
    else:
        starts = np.flatnonzero(~joined)
        runs[:, :2], runs[:, 2] = event.records[starts], np.diff(np.append(starts, len(origin)))
    return runs


def records_of(runs: RunRows, *, longest: int, room: int) -> Iterator[npt.NDArray[np.uint64]]:
    """Yields the records of some runs, `BATCH_RECORDS` at most at a time; nothing is spread out before it is judged.

    Args:
        runs: As somebody wrote them down.
        longest: How many records a run has at most: those of an area.
        room: For how many records there is room.

    Raises:
        BadRuns: A run is empty or too long, has a number past 64 bits or points at chunk 0, or all together are more
            than there is room for.
    """
    origin, cow, length = runs[:, 0], runs[:, 1], runs[:, 2]
    if not len(runs):
        return
    _refuse((length == 0) | (length > longest), f"a range has 1 to {longest} chunks: those of a metadata area")
    more = length - np.uint64(1)
    _refuse((origin + more < origin) | (cow + more < cow), "a range goes past the largest number, 2^64 - 1")
    _refuse(cow == 0, "COW chunk 0 is the header: no record can point there")
    ends = np.cumsum(length)  # at most 2^26 chunks each
    total = int(ends[-1])
    _refuse(ends > room, "more exceptions than the metadata areas of such a store have room for")
    if total == len(runs):
        for first in range(0, total, BATCH_RECORDS):
            yield runs[first : first + BATCH_RECORDS, :2]
        return
    for begin in range(0, total, BATCH_RECORDS):
        yield _part(runs, ends, begin, min(total, begin + BATCH_RECORDS))


def _refuse(bad: npt.NDArray[np.bool_], why: str) -> None:
    if bad.any():
        raise BadRuns(why, int(bad.argmax()))


def _part(runs: RunRows, ends: npt.NDArray[np.uint64], begin: int, end: int) -> npt.NDArray[np.uint64]:
    """Some records of runs, by their numbers."""
    first = int(np.searchsorted(ends, np.uint64(begin), "right"))
    last = int(np.searchsorted(ends, np.uint64(end - 1), "right"))
    part = runs[first : last + 1].copy()
    part[-1, 2] -= ends[last] - np.uint64(end)
    skipped = np.uint64(begin) - (ends[first] - runs[first, 2])
    part[0] += np.array([skipped, skipped, np.uint64(0) - skipped])
    lengths = part[:, 2].astype(np.int64)
    steps = np.arange(end - begin) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    records: npt.NDArray[np.uint64] = np.repeat(part[:, :2], lengths, axis=0) + steps.astype(np.uint64)[:, None]
    return records
