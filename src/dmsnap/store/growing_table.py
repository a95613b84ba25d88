"""An exception table that changes: recent changes in a dict, over an immutable table.

The dict answers first. When it has become large it is folded into a new table, so that memory stays in proportion to
the exceptions, and a fold costs so much less than the changes since the last one that each change is cheap on average.

**Threads.** One thread at a time may change the table; the caller sees to that. Any number of others may ask meanwhile,
without a lock. The table below and the dict over it are published as one pair: whoever took the old pair finds in it
all that was true when the new one came, since the old dict is not touched again. A question about one chunk is thus
answered as the table was at some moment of the call. A question about a range sees each change whole or not at all, a
chunk at a time: a change of many chunks that is being made may be seen in part.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import repeat

import numpy as np
import numpy.typing as npt

from dmsnap.store.overlaying import REMOVED, Columns, overlaid
from dmsnap.store.runs import Runs, expand, run_starts
from dmsnap.store.table import ExceptionTable

__all__ = ["GrowingTable"]

_FEWEST_TO_FOLD = 8192
_RUNS_PER_CHANGE = 16
"""Changes are folded when there are more than both the first and a sixteenth of the runs below: a change in the dict
takes some 110 bytes, a run 8, and a fold some 20 ns for each run."""

_LONG = 4096
"""A change of more consecutive chunks does not go through the dict."""

_FEW = 1024
"""A range of so many chunks is always asked for chunk by chunk."""

_BATCH_RUNS = 1 << 16
_UNCHANGED = -2
_BYTES_AN_INTEGER = 32


class GrowingTable:
    """The exceptions of a snapshot that is written to, or merged. See the module for what threads may do.

    Args:
        base: What it begins with; stays as it is.
    """

    def __init__(self, base: ExceptionTable) -> None:
        self._exceptions = len(base)
        self._publish(base)

    def __len__(self) -> int:
        """Number of exceptions (chunks)."""
        return self._exceptions

    @property
    def run_count(self) -> int:
        """Number of runs, at most: each recent change counts as one."""
        base, recent = self._pair
        return base.run_count + len(recent)

    @property
    def nbytes(self) -> int:
        """Memory of the table, about."""
        base, recent = self._pair
        return base.nbytes + sys.getsizeof(recent) + 2 * _BYTES_AN_INTEGER * len(recent)

    # -- asking: by any thread ----------------------------------------------------------------------------------------

    def lookup(self, origin_chunk: int) -> int | None:
        """Returns the COW chunk of an origin chunk (0 or more): None without an exception, 0 for a damaged record."""
        base, recent = self._pair
        cow = recent.get(origin_chunk)
        if cow is None:
            return base.lookup(origin_chunk)
        return cow if cow >= 0 else None

    def runs_between(self, first: int, stop: int) -> Runs:
        """The runs that touch origin chunks ``first`` up to, not including, ``stop``: clipped to them, ascending."""
        base, recent = self._pair
        if not recent or stop <= first:
            return base.runs_between(first, stop)
        if stop - first <= max(_FEW, 4 * len(recent)):  # asking for a key costs about a quarter of sorting one
            return _chunk_by_chunk(base, recent, first, stop)
        return _laid_over(base.runs_between(first, stop), _between(_sorted_changes(recent.copy()), first, stop))

    def batches(self, first: int = 0, stop: int = 1 << 63) -> Iterator[Runs]:
        """As `runs_between`, by default of all chunks, in batches of bounded size; none is empty.

        What is yielded is the table as it was when the first batch was asked for.
        """
        if stop - first <= _FEW:
            yield from (runs for runs in (self.runs_between(first, stop),) if len(runs.origin))
            return
        base, recent = self._pair
        changes = _between(_sorted_changes(recent.copy()), first, stop)
        done, total = 0, len(changes.origin)
        for runs in base.batches(first, stop):
            end = int(np.searchsorted(changes.origin, runs.origin[-1] + runs.length[-1]))
            yield from _cut_to_batches(_laid_over(runs, Runs(*(column[done:end] for column in changes))))
            done = end
        if done < total:
            yield from _cut_to_batches(_laid_over(_NOTHING, Runs(*(column[done:] for column in changes))))

    def missing(self, first: int, stop: int) -> list[tuple[int, int]]:
        """The ranges of chunks without an exception from ``first`` up to, not including, ``stop``.

        Returns:
            Pairs *(first, stop)*: ascending, none touching the next.
        """
        if stop - first == 1:
            return [(first, stop)] if self.lookup(first) is None else []
        gaps = []
        runs = self.runs_between(first, stop)
        for origin, length in zip(runs.origin.tolist(), runs.length.tolist(), strict=True):
            if origin > first:
                gaps.append((first, origin))
            first = origin + length
        if first < stop:
            gaps.append((first, stop))
        return gaps

    # -- changing: by one thread at a time ----------------------------------------------------------------------------

    def add(self, origin: int, cow: int, length: int = 1) -> None:
        """Adds exceptions for chunks that have none.

        Args:
            origin: First chunk on the origin.
            cow: First chunk on the COW device, 1 or more.
            length: Number of chunks.
        """
        recent = self._pair[1]
        if length == 1:
            recent[origin] = cow
        elif length <= _LONG:
            recent.update(zip(range(origin, origin + length), range(cow, cow + length), strict=True))
        else:
            self._change_at_once(_one_run(origin, cow, length))
            recent = self._pair[1]
        self._exceptions += length
        if len(recent) > self._most:
            self._fold()

    def remove(self, origin: int, length: int = 1) -> None:
        """Forgets the exceptions of chunks that all have one."""
        recent = self._pair[1]
        if length == 1:
            recent[origin] = REMOVED
        elif length <= _LONG:
            recent.update(dict.fromkeys(range(origin, origin + length), REMOVED))
        else:
            self._change_at_once(_one_run(origin, REMOVED, length))
            recent = self._pair[1]
        self._exceptions -= length
        if len(recent) > self._most:
            self._fold()

    def remove_many(self, chunks: npt.NDArray[np.uint64]) -> None:
        """Forgets the exceptions of many chunks, in any order, none twice, that all have one."""
        recent = self._pair[1]
        if len(chunks) + len(recent) <= self._most:
            recent.update(dict.fromkeys(chunks.tolist(), REMOVED))
        else:
            origin = np.sort(chunks).astype(np.int64)
            self._change_at_once(Runs(origin, np.full(len(origin), REMOVED, np.int64), np.ones(len(origin), np.int64)))
        self._exceptions -= len(chunks)

    def _change_at_once(self, changes: Runs) -> None:
        """Makes a change that is too large for the dict."""
        self._fold()
        self._publish(ExceptionTable(*overlaid(Columns(*self._pair[0].columns), changes)))

    def _fold(self) -> None:
        base, recent = self._pair
        if recent:
            self._publish(ExceptionTable(*overlaid(Columns(*base.columns), _sorted_changes(recent))))

    def _publish(self, base: ExceptionTable) -> None:
        recent: dict[int, int] = {}
        self._most = max(_FEWEST_TO_FOLD, base.run_count // _RUNS_PER_CHANGE)
        self._pair = base, recent


_NOTHING = Runs(*(np.empty(0, np.int64) for _ in range(3)))


def _chunk_by_chunk(base: ExceptionTable, recent: dict[int, int], first: int, stop: int) -> Runs:
    """The runs of a short range; the dict, which may change meanwhile, is asked key by key."""
    first = max(first, 0)
    count = stop - first
    cow = np.fromiter(map(recent.get, range(first, stop), repeat(_UNCHANGED)), np.int64, count)
    unchanged = cow == _UNCHANGED
    if unchanged.any():
        runs = base.runs_between(first, stop)
        if unchanged.all():
            return runs
        below = np.full(count, REMOVED, np.int64)
        below[expand(runs.origin - first, runs.length)] = _copies(runs)
        cow = np.where(unchanged, below, cow)
    chunks = np.flatnonzero(cow >= 0).astype(np.int64, copy=False)
    cow = cow[chunks]
    chunks += first
    starts = run_starts(chunks, cow)
    if starts is None:
        return Runs(chunks, cow, np.ones(len(chunks), np.int64))
    return Runs(chunks[starts], cow[starts], np.diff(starts, append=len(chunks)))


def _copies(runs: Runs) -> npt.NDArray[np.int64]:
    """The COW chunk of every chunk of every run."""
    copies = expand(runs.cow, runs.length)
    if not runs.cow.all():
        copies[np.repeat(runs.cow == 0, runs.length)] = 0
    return copies


def _between(changes: Runs, first: int, stop: int) -> Runs:
    begin, end = np.searchsorted(changes.origin, (first, min(stop, (1 << 63) - 1))).tolist()
    return Runs(*(column[begin:end] for column in changes))


def _sorted_changes(recent: dict[int, int]) -> Runs:
    origin = np.fromiter(recent.keys(), np.int64, len(recent))
    cow = np.fromiter(recent.values(), np.int64, len(recent))
    order = np.argsort(origin)
    return Runs(origin[order], cow[order], np.ones(len(order), np.int64))


def _one_run(origin: int, cow: int, length: int) -> Runs:
    return Runs(*(np.array([number], np.int64) for number in (origin, cow, length)))


def _laid_over(runs: Runs, changes: Runs) -> Runs:
    """`overlaid`, in the types of answers."""
    if not len(changes.origin):
        return runs
    unsigned = Columns(*(column.view(np.uint64) for column in runs))
    origin, cow, length = overlaid(unsigned, changes)
    if length is None:
        length = np.ones(len(origin), np.uint64)
    return Runs(origin.view(np.int64), cow.view(np.int64), length.astype(np.int64))


def _cut_to_batches(runs: Runs) -> Iterator[Runs]:
    for at in range(0, len(runs.origin), _BATCH_RUNS):
        yield Runs(*(column[at : at + _BATCH_RUNS] for column in runs))
