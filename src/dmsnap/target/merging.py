"""The snapshot-merge target: a snapshot goes back into its origin, which is in use meanwhile as if that were done.

Source: Linux dm-snapshot (target snapshot-merge). Exceptions are merged from the last record to the first. Before a
chunk of the origin is overwritten, the other snapshots get copies of it; before a record is cleared, what was merged is
durable on the origin. So a merge can be stopped anywhere, by a crash too, and begun again, here or in a kernel.

The kernel merges one run of chunks at a time, with two flushes each. Here many records make one step, and share its
flushes. Where a copy fails the step ends before it, as the kernel's merge does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.store.areas import Records
from dmsnap.store.finding import Kind
from dmsnap.store.format import exceptions_per_area
from dmsnap.store.runs import Runs, expand
from dmsnap.store.writable import PersistentStore
from dmsnap.target.merge_copying import Copies, CopyProgress, MergeFailed, RunCopier
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.snapshot import SnapshotDevice, refuse_invalid
from dmsnap.target.status import Status
from dmsnap.target.tracking import ChunkTracker

__all__ = ["DEFAULT_STEP_BYTES", "MergeDevice", "MergeFailed", "MergeStep"]

DEFAULT_STEP_BYTES = 4 << 20
"""What one step merges, unless told otherwise: long enough to share the flushes, short enough to wait for."""


class MergeStep(NamedTuple):
    """What one step did.

    Attributes:
        chunks: Exceptions that were merged.
        copied_bytes: What was written to the origin.
    """

    chunks: int
    copied_bytes: int


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
        self._below = OriginDevice(origin, self._others)  # for writes to what has no exception
        self._origin_bytes = origin.size_bytes
        self._invalid = not store.valid  # then everything is the origin's, as its table is empty
        self._valid = True
        self._merging: frozenset[int] = frozenset()
        self._changed = threading.Condition()
        self._writes = ChunkTracker()
        self._flushes_failed = 0
        self._copier = RunCopier(self._cow, origin, name)
        self._doubles = any(finding.kind is Kind.DUPLICATE for finding in store.findings)

    def status(self) -> Status:
        """Returns what the kernel's status line says."""
        if self._invalid:
            return Status("Invalid")
        if self.failed:
            return Status("Merge failed")
        return Status("", *self._store.usage())

    # -- the merge ----------------------------------------------------------------------------------------------------

    def step(
        self,
        most_bytes: int = DEFAULT_STEP_BYTES,
        *,
        in_order: bool = True,
        progress: CopyProgress | None = None,
    ) -> MergeStep:
        """Merges the last exceptions, and returns when that is durable. For one thread at a time.

        Args:
            most_bytes: About how much to copy; at least one chunk is.
            in_order: Copy from the last record to the first, as the kernel does. Otherwise the order is that of the
                origin, which is faster; then, if a copy fails, copies that come before it in the store may be on the
                origin already, where they do no harm, as they stay in the store too.
            progress: Called now and then with how many bytes of chunks this step has copied.

        Returns:
            What was done: nothing where the merge is complete.

        Raises:
            MergeFailed: A device failed; what was copied before counts. The next call tries again.
            SnapshotInvalid: There is nothing to merge in an invalid snapshot.
        """
        if self._invalid:
            refuse_invalid(self._store)
        runs = self._last_runs(most_bytes, in_order)
        if not len(runs.origin):
            return MergeStep(0, 0)
        try:
            self._begin(runs)
            return self._merge(runs, in_order, progress)
        except MergeFailed:
            self.failed = True
            raise
        finally:
            with self._changed:
                self._merging = frozenset()
                self._changed.notify_all()

    def _merge(self, runs: Runs, in_order: bool, progress: CopyProgress | None) -> MergeStep:
        shift, to_copy = self._shift, self._bytes_of(runs)
        copies = Copies(runs.origin << shift, runs.cow << shift, runs.length << shift, to_copy)
        self._flushes_failed = self.origin.failed_flushes
        count, failure = len(runs.origin), None
        if in_order or not self._copier.upwards(copies, progress):
            count, failure = self._copier.in_order(copies, progress)
        merged = Runs(*(column[:count] for column in runs))
        if count:
            self._clear(merged)
        if failure is not None:
            raise failure
        return MergeStep(int(merged.length.sum()), int(to_copy[:count].sum()))

    def _last_runs(self, most_bytes: int, in_order: bool) -> Runs:
        """The runs that the next step is to merge, the last one first.

        In order a run is never cut; and where copies for other snapshots come before it there is only one, so that they
        have none for a run that the merge, if it fails, does not come to.
        """
        most = max(1, most_bytes >> self._shift)
        wanted = max(most, exceptions_per_area(self._store.chunk_size_sectors)) if in_order else most
        try:
            areas = self._store.last_records(wanted)
        except IOFailed as error:
            self.failed = True
            raise self._copier.failure("Read error in exception store", error) from error
        runs = _runs_downwards(areas, single=self._doubles)
        if not in_order:
            return runs
        whole = 1 if len(self._others) else max(1, int(np.searchsorted(np.cumsum(runs.length), most, side="right")))
        return Runs(*(column[:whole] for column in runs))

    def _begin(self, runs: Runs) -> None:
        """Lets other snapshots have the old content, and stops writes to the chunks that are to be merged."""
        if len(self._others):
            starts = runs.origin << self._shift
            stops = starts + self._bytes_of(runs)
            self._others.copy_out(
                [(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True) if start < stop]
            )
        with self._changed:
            self._merging = frozenset(expand(runs.origin, runs.length).tolist())
        self._writes.wait_for(int(runs.origin.min()), int((runs.origin + runs.length).max()))

    def _bytes_of(self, runs: Runs) -> npt.NDArray[np.int64]:
        """How many bytes of each run go to the origin, whose last chunk may be cut."""
        left: npt.NDArray[np.int64] = self._origin_bytes - (runs.origin << self._shift)
        return left.clip(0, runs.length << self._shift) * self._counts(runs)

    def _counts(self, runs: Runs) -> npt.NDArray[np.bool_]:
        """Which runs the snapshot reads: all, but where a chunk has two records, as old kernels could write them.

        There the kernel's merge copies both, the wrong one first, and then fails.
        """
        if not self._doubles:
            return np.ones(len(runs.origin), np.bool_)
        copies = [self._table.lookup(chunk) for chunk in runs.origin.tolist()]
        return np.array([copy == cow for copy, cow in zip(copies, runs.cow.tolist(), strict=True)], np.bool_)

    def _clear(self, merged: Runs) -> None:
        """Forgets exceptions whose content is on the origin, once that is durable."""
        self._copier.flush_origin()
        if self.origin.failed_flushes != self._flushes_failed:  # of a client, say, who was told instead
            raise self._copier.failure("Flush after merge failed", IOFailed("another flush of the origin has failed"))
        counted = self._counts(merged)
        try:
            self._store.clear_last(int(merged.length.sum()))
        except IOFailed as error:
            raise self._copier.failure("Write error in exception store", error) from error
        merged = Runs(*(column[counted] for column in merged))
        chunks = expand(merged.origin, merged.length).astype(np.uint64)
        self._store.table.remove_many(np.unique(chunks) if self._doubles else chunks)

    # -- reading and writing meanwhile --------------------------------------------------------------------------------

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._change(offset, offset + len(view), view)

    def _zero(self, offset: int, length: int) -> None:
        self._change(offset, offset + length, None)

    def _change(self, start: int, end: int, data: memoryview | None) -> None:
        first, stop = start >> self._shift, ((end - 1) >> self._shift) + 1
        while True:
            number = self._writes.begin(first, stop)
            try:
                if not self._is_merging(first, stop):
                    self._change_parts(first, stop, start, end, data)
                    return
            finally:
                self._writes.end(number)
            with self._changed:
                while self._is_merging(first, stop):
                    self._changed.wait()

    def _change_parts(self, first: int, stop: int, start: int, end: int, data: memoryview | None) -> None:
        """Changes each part of a range where it lies, those too that come after one that fails (Linux dm)."""
        errors = []
        for target, at, begin, finish in self._places(first, stop, start, end):
            try:
                if data is None:
                    target.zero(at, finish - begin)
                else:
                    target.write_at(at, data[begin - start : finish - start])
            except IOFailed as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _places(self, first: int, stop: int, start: int, end: int) -> Iterator[tuple[BlockDevice, int, int, int]]:
        """Yields where bytes ``start`` to ``end`` lie: device, byte on it, and which of them."""
        shift = self._shift
        runs = self._table.runs_between(first, stop)
        for chunk, copy, count in zip(runs.origin.tolist(), runs.cow.tolist(), runs.length.tolist(), strict=True):
            begin, finish = max(start, chunk << shift), min(end, (chunk + count) << shift)
            if start < begin:
                yield self._below, start, start, begin
            at = (copy << shift) + begin - (chunk << shift)
            if not copy or at + finish - begin > self._cow_bytes:
                self._check_copy(chunk, copy, at, finish - begin)
            yield self._cow, at, begin, finish
            start = finish
        if start < end:
            yield self._below, start, start, end

    def _is_merging(self, first: int, stop: int) -> bool:
        merging = self._merging
        return bool(merging) and any(chunk in merging for chunk in range(first, stop))

    def _discard(self, offset: int, length: int) -> None:
        """Does nothing, as in Linux."""

    def _flush(self) -> None:
        self.origin.flush()
        self._cow.flush()


def _runs_downwards(areas: list[Records], *, single: bool) -> Runs:
    """The runs of records that begin with the last one of a store, in this order.

    In a run each record has both numbers one lower than the one after it in the store. Like the kernel's a run does not
    go beyond an area. Where they are to be ``single``, each is of one record.
    """
    if not areas:
        return Runs(*(np.empty(0, np.int64) for _ in range(3)))
    records = np.concatenate(areas).astype(np.int64)
    origin, cow = records[:, 0], records[:, 1]
    begins = (np.diff(origin, prepend=-1) != -1) | (np.diff(cow, prepend=-1) != -1) | single
    begins[np.cumsum([0, *(len(area) for area in areas[:-1])])] = True
    firsts = np.flatnonzero(begins)
    length = np.diff(firsts, append=len(records))
    lasts = firsts + length - 1
    return Runs(origin[lasts], cow[lasts], length)
