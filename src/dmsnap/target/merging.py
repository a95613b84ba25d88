"""The snapshot-merge target: a snapshot goes back into its origin, which is in use meanwhile as if that were done.

Source: Linux dm-snapshot (target snapshot-merge). Exceptions are merged from the last record to the first. Before a
chunk of the origin is overwritten, the other snapshots get copies of it; before a record is cleared, what was merged is
durable on the origin. So a merge can be stopped anywhere, by a crash too, and begun again, here or in a kernel.

The kernel merges one run of chunks at a time, with two flushes each. Here many records make one step: the copies go in
the kernel's order, and the flushes are shared. Where a copy fails the step ends before it, as the kernel's merge does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.errors import DmsnapError
from dmsnap.store.areas import Records
from dmsnap.store.writable import PersistentStore
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.snapshot import SnapshotDevice, refuse_invalid
from dmsnap.target.status import Status
from dmsnap.target.tracking import ChunkTracker

__all__ = ["DEFAULT_STEP_BYTES", "MergeDevice", "MergeFailed", "MergeStep"]

DEFAULT_STEP_BYTES = 4 << 20
"""What one step merges, unless told otherwise: long enough to share the flushes, short enough to wait for."""

_READ_BYTES = 1 << 20


class MergeFailed(IOFailed):
    """The merge stopped at an error. What was merged is merged; the rest is still in the store."""


class MergeStep(NamedTuple):
    """What one step did.

    Attributes:
        chunks: Exceptions that were merged.
        copied_bytes: What was written to the origin.
    """

    chunks: int
    copied_bytes: int


class _Run(NamedTuple):
    """Consecutive chunks whose records lie one after the other, so that one copy moves them."""

    origin: int
    cow: int
    length: int


class MergeDevice(SnapshotDevice):
    """The merged view of an origin and a snapshot, and the merge itself, step by step.

    Any number of threads may read and write while one calls `step`. Writes to chunks with an exception go to the COW
    device until they are merged, others to the origin.

    Args:
        origin: What the snapshot was taken of; it is written to.
        store: The snapshot's exceptions, persistent.
        others: The other snapshots of the origin that are in use.
        size_bytes: The size; by default the origin's.
        name: For messages.

    Attributes:
        failed: Whether a step failed (the status words ``Merge failed``).
    """

    def __init__(
        self,
        origin: BlockDevice,
        store: PersistentStore,
        *,
        others: OriginSnapshots | None = None,
        size_bytes: int | None = None,
        name: str = "merge",
    ) -> None:
        super().__init__(origin, store, size_bytes=size_bytes, name=name)
        self.read_only = False
        self.failed = False
        self._store = store
        self._others = OriginSnapshots() if others is None else others
        self._origin_bytes = origin.size_bytes
        self._invalid = not store.valid  # then everything is the origin's, as its table is empty
        self._valid = True
        self._merging: frozenset[int] = frozenset()
        self._changed = threading.Condition()
        self._writes = ChunkTracker()

    def status(self) -> Status:
        """Returns what the kernel's status line says."""
        if self._invalid:
            return Status("Invalid")
        if self.failed:
            return Status("Merge failed")
        return Status("", *self._store.usage())

    # -- the merge ----------------------------------------------------------------------------------------------------

    def step(self, most_bytes: int = DEFAULT_STEP_BYTES) -> MergeStep:
        """Merges the last exceptions, and returns when that is durable. For one thread at a time.

        Args:
            most_bytes: About how much to copy; at least one chunk is.

        Returns:
            What was done: nothing where the merge is complete.

        Raises:
            MergeFailed: A device failed; what was copied before counts. The next call tries again.
            SnapshotInvalid: There is nothing to merge in an invalid snapshot.
        """
        if self._invalid:
            refuse_invalid(self._store)
        try:
            areas = self._store.last_records(max(1, most_bytes >> self._shift))
        except IOFailed as error:
            raise self._failure("Read error in exception store", error) from error
        runs = [run for records in areas for run in _runs(records)]
        if not runs:
            return MergeStep(0, 0)
        if len(runs) > 1 and sum(len(records) for records in areas) < len(self._table):
            runs.pop()  # it may go on beyond what was read
        self._begin(runs)
        try:
            merged, copied, failure = self._copy(runs)
            if merged:
                self._clear(merged)
        finally:
            with self._changed:
                self._merging = frozenset()
                self._changed.notify_all()
        if failure is not None:
            raise failure
        return MergeStep(sum(run.length for run in merged), copied)

    def _begin(self, runs: list[_Run]) -> None:
        """Lets other snapshots have the old content, and stops writes to the chunks that are to be merged."""
        shift, end = self._shift, self._origin_bytes
        ranges = [(run.origin << shift, min((run.origin + run.length) << shift, end)) for run in runs]
        if len(self._others):
            self._others.copy_out([(start, stop) for start, stop in ranges if start < stop])
        with self._changed:
            self._merging = frozenset(chunk for run in runs for chunk in range(run.origin, run.origin + run.length))
        self._writes.wait_for(min(run.origin for run in runs), max(run.origin + run.length for run in runs))

    def _copy(self, runs: list[_Run]) -> tuple[list[_Run], int, MergeFailed | None]:
        """Copies runs in their order; returns those that are copied, their bytes, and what stopped it."""
        done: list[_Run] = []
        copied = 0
        for batch in _read_together(runs, _READ_BYTES >> self._shift):
            ahead = self._read_ahead(batch)
            for run in batch:
                skip = (run.cow - batch[-1].cow) << self._shift
                try:
                    copied += self._copy_run(run, None if ahead is None else ahead[skip:])
                except MergeFailed as failure:
                    return done, copied, failure
                done.append(run)
        return done, copied, None

    def _read_ahead(self, batch: list[_Run]) -> memoryview | None:
        """Reads the copies of neighbouring runs at once; None where each has to be read, or has to fail, by itself."""
        first, last = batch[-1], batch[0]
        length = (last.cow + last.length - first.cow) << self._shift
        if length > _READ_BYTES:
            return None
        try:
            return memoryview(self._cow.read_at(first.cow << self._shift, length))
        except DmsnapError:
            return None

    def _copy_run(self, run: _Run, copies: memoryview | None) -> int:
        """Writes the copies of a run to where they came from; says how many bytes."""
        start, at = run.origin << self._shift, run.cow << self._shift
        length = max(0, min(run.length << self._shift, self._origin_bytes - start))
        if copies is not None:
            self._write_back(start, copies[:length])
            return length
        for done in range(0, length, _READ_BYTES):
            try:
                piece = self._cow.read_at(at + done, min(_READ_BYTES, length - done))
            except DmsnapError as error:
                raise self._failure("Read error", error) from error
            self._write_back(start + done, memoryview(piece))
        return length

    def _write_back(self, start: int, data: memoryview) -> None:
        if not data:
            return
        try:
            self.origin.write_at(start, data)
        except DmsnapError as error:
            raise self._failure("Write error", error) from error

    def _clear(self, merged: list[_Run]) -> None:
        """Forgets exceptions whose content is on the origin, once that is durable."""
        try:
            self.origin.flush()
        except IOFailed as error:
            raise self._failure("Flush after merge failed", error) from error
        try:
            self._store.clear_last(sum(run.length for run in merged))
        except IOFailed as error:
            raise self._failure("Write error in exception store", error) from error
        chunks = [np.arange(run.origin, run.origin + run.length, dtype=np.uint64) for run in merged]
        self._store.table.remove_many(np.concatenate(chunks))

    def _failure(self, words: str, error: DmsnapError) -> MergeFailed:
        self.failed = True
        return MergeFailed(
            f"{self.name}: {words}: shutting down merge: {error.message}",
            hint=error.hint or "mend what failed and merge again: nothing is lost",
            device=self.name,
        )

    # -- reading and writing meanwhile --------------------------------------------------------------------------------

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._change(offset, offset + len(view), view)

    def _zero(self, offset: int, length: int) -> None:
        self._change(offset, offset + length, None)

    def _change(self, start: int, end: int, data: memoryview | None) -> None:
        first, stop = start >> self._shift, ((end - 1) >> self._shift) + 1
        number = self._writes.begin(first, stop)
        try:
            while self._is_merging(first, stop):
                self._writes.end(number)
                with self._changed:
                    while self._is_merging(first, stop):
                        self._changed.wait()
                number = self._writes.begin(first, stop)
            for target, at, begin, finish in self._places(first, stop, start, end):
                if data is None:
                    target.zero(at, finish - begin)
                else:
                    target.write_at(at, data[begin - start : finish - start])
        finally:
            self._writes.end(number)

    def _places(self, first: int, stop: int, start: int, end: int) -> Iterator[tuple[BlockDevice, int, int, int]]:
        """Yields where bytes ``start`` to ``end`` lie: device, byte on it, and which of them."""
        shift = self._shift
        runs = self._table.runs_between(first, stop)
        below = OriginDevice(self.origin, self._others)
        for chunk, copy, count in zip(runs.origin.tolist(), runs.cow.tolist(), runs.length.tolist(), strict=True):
            begin, finish = max(start, chunk << shift), min(end, (chunk + count) << shift)
            if start < begin:
                yield below, start, start, begin
            at = (copy << shift) + begin - (chunk << shift)
            self._check_copy(chunk, copy, at, finish - begin)
            yield self._cow, at, begin, finish
            start = finish
        if start < end:
            yield below, start, start, end

    def _is_merging(self, first: int, stop: int) -> bool:
        merging = self._merging
        return bool(merging) and any(chunk in merging for chunk in range(first, stop))

    def _discard(self, offset: int, length: int) -> None:
        """Does nothing, as in Linux."""

    def _flush(self) -> None:
        self.origin.flush()
        self._cow.flush()


def _runs(records: Records) -> Iterator[_Run]:
    """Yields the runs of records that begin with the last one: each goes down by one in both numbers."""
    origin, cow = records[:, 0].astype(np.int64), records[:, 1].astype(np.int64)
    ends = np.flatnonzero((np.diff(origin) != -1) | (np.diff(cow) != -1)) + 1
    edges = np.concatenate(([0], ends, [len(records)]))
    lasts = edges[1:] - 1
    yield from map(_Run, origin[lasts].tolist(), cow[lasts].tolist(), np.diff(edges).tolist())


def _read_together(runs: list[_Run], most_chunks: int) -> Iterator[list[_Run]]:
    """Yields runs in lists whose copies are neighbours, in their order, which is downwards on the COW device."""
    batch: list[_Run] = []
    chunks = 0
    for run in runs:
        if batch and (run.cow + run.length != batch[-1].cow or chunks + run.length > most_chunks):
            yield batch
            batch, chunks = [], 0
        batch.append(run)
        chunks += run.length
    if batch:
        yield batch
