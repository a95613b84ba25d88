"""The exceptions of one snapshot in use: complete or pending, in the order of their allocation, durable or not yet.

After Linux dm-snapshot: an exception is pending from the allocation of its chunk until its copy is written; copies may
finish in any order, records are taken in the order of allocation. Here a request takes all chunks it needs in one step,
and records may stay in memory until something needs them durable:

- ``sync="commit"``: every exception is durable before the write that made it returns, as in the kernel.
- ``sync="flush"``: exceptions are made durable when the snapshot is flushed, and before an origin block they protect is
  overwritten.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from dmsnap.block.contract import BlockDevice, IOFailed, OutOfRoom
from dmsnap.errors import DmsnapError
from dmsnap.store.exception_store import AreaBeyondDevice, ExceptionStore, NewRun, StoreFull
from dmsnap.target.copying import copy_chunks
from dmsnap.target.tracking import ChunkTracker

__all__ = ["Exceptions", "Pending", "SyncMode", "is_out_of_room"]

SyncMode = Literal["flush", "commit"]

_MOST_WAITING = 1 << 16
"""Exceptions that are kept in memory before they are committed unasked."""


@dataclass(slots=True, eq=False)
class Pending:
    """Exceptions that were allocated together, until their copies are written.

    Attributes:
        runs: Where the copies go.
        number: In the order of allocation.
        full_at: The first origin chunk that the store had no room for; None where there was room for all.
        thread: Which makes them.
        written: Whether the copies are written.
        finished: Whether that is so and they are found, or they were given up.
        failed: Whether they were given up.
    """

    runs: list[NewRun]
    number: int
    full_at: int | None
    thread: int = field(default_factory=threading.get_ident)
    written: bool = False
    finished: bool = False
    failed: bool = False


class Exceptions:
    """Makes exceptions, for any number of threads.

    Args:
        origin: What the snapshot was taken of; only read.
        store: Where the exceptions go.
        sync: When they are made durable.
        refuse_when_full: What the store has no room for is refused (`OutOfRoom`), be it a write to the snapshot or one
            to the origin, and all stays as it is; else Linux's rules end the snapshot, or the writing to it.

    Attributes:
        origin: As given.
        store: As given.
        sync: As given.
        refuse_when_full: As given.
        overflowed: Whether a store of type ``PO`` ran full by a write to the snapshot (the status word ``Overflow``).
        invalid_because: What ended the snapshot; empty while it is valid, or was invalid from the start.
        on_invalid: Called once when the snapshot is invalidated (the kernel's device-mapper event), with a lock taken,
            before the store is marked.
        reads: Reads of the origin on the snapshot's behalf.
    """

    def __init__(
        self,
        origin: BlockDevice,
        store: ExceptionStore,
        sync: SyncMode = "flush",
        *,
        refuse_when_full: bool = False,
    ) -> None:
        self.origin = origin
        self.store = store
        self.sync = sync
        self.refuse_when_full = refuse_when_full
        self.overflowed = False
        self.invalid_because = ""
        self.on_invalid: list[Callable[[], object]] = []
        self.reads = ChunkTracker()
        self._table = store.table
        self._chunk_bytes = store.chunk_size_bytes
        self._lock = threading.Lock()  # a `Condition` takes longer to enter, and Ctrl-C may keep it locked
        self._changed = threading.Condition(self._lock)
        self._pending: dict[int, Pending] = {}  # by origin chunk
        self._in_order: deque[Pending] = deque()
        self._allocated = self._recorded = 0  # numbers of `Pending`
        self._volatile: dict[int, int] = {}  # complete chunks that may not be durable, and their number

    @property
    def valid(self) -> bool:
        """Whether the snapshot can be had."""
        return self.store.valid and not self.invalid_because

    # -- making exceptions --------------------------------------------------------------------------------------------

    def reserve(self, first: int, stop: int) -> Pending | None:
        """Allocates exceptions for all chunks of a range that have none, after those pending there are complete.

        Returns:
            What the caller now has to `complete` or `give_up`; None where every chunk has its exception.
        """
        with self._lock:
            while self._pending and self._any_pending(first, stop):
                self._changed.wait()
            return self._allocate(self._table.missing(first, stop))

    def reserve_each(self, chunks: Collection[int]) -> Pending | None:
        """As `reserve`, for chunks that need not follow each other, in their order; each becomes a run of one."""
        with self._lock:
            while self._pending and not self._pending.keys().isdisjoint(chunks):
                self._changed.wait()
            lookup = self._table.lookup
            return self._allocate([(chunk, chunk + 1) for chunk in chunks if lookup(chunk) is None])

    def _allocate(self, missing: list[tuple[int, int]]) -> Pending | None:
        """Allocates exceptions for ranges of chunks. Lock: taken."""
        if not missing:
            return None
        runs: list[NewRun] = []
        full_at = None
        for begin, end in missing:
            given = self.store.allocate(begin, end - begin)
            runs += given
            if (got := sum([run.length for run in given])) < end - begin:
                full_at = begin + got
                break
        self._allocated += 1
        pending = Pending(runs, self._allocated, full_at)
        self._in_order.append(pending)
        for run in runs:
            if run.length == 1:
                self._pending[run.origin] = pending
            else:
                self._pending.update(dict.fromkeys(range(run.origin, run.origin + run.length), pending))
        return pending

    def complete(self, pending: Pending) -> None:
        """Takes exceptions whose copies are written; they are found from now on.

        Raises:
            AreaBeyondDevice: The metadata has no room, and the snapshot was invalidated.
        """
        pending.written = True
        with self._lock:
            failure = self._finish(pending)
        if failure is not None:
            self.invalidate(failure)
            raise failure
        if len(self._volatile) > _MOST_WAITING:
            self.commit()

    def give_up(self, pending: Pending) -> None:
        """Takes back exceptions whose copies could not be written."""
        pending.failed = True
        with self._lock:
            self.store.give_back(pending.runs)
            self._finish(pending)

    def end_what_was_interrupted(self) -> None:
        """Ends what this thread has left pending, if an exception such as Ctrl-C came in the middle of it.

        To be called when an exception leaves what began with `reserve`: others would wait for it for ever.
        """
        thread = threading.get_ident()
        failure = None
        with self._lock:
            for pending in [each for each in self._in_order if each.thread == thread and not each.finished]:
                pending.failed = not pending.written
                failure = self._finish(pending)
            failure = self._record_in_turn() or failure
        if failure is not None:
            self.invalidate(failure)

    def _finish(self, pending: Pending) -> AreaBeyondDevice | None:
        """Ends a pending exception, and records all whose turn has come; can be called again. Lock: taken."""
        for run in pending.runs:
            chunks = range(run.origin, run.origin + run.length)
            if not pending.failed:  # volatile before it is found, for who looks without the lock
                self._volatile.update(dict.fromkeys(chunks, pending.number))
                for first, stop in self._table.missing(chunks.start, chunks.stop):
                    self._table.add(first, run.cow + first - run.origin, stop - first)
            for chunk in chunks:
                if self._pending.get(chunk) is pending:
                    del self._pending[chunk]
        pending.finished = True
        return self._record_in_turn()

    def _record_in_turn(self) -> AreaBeyondDevice | None:
        """Records what is finished, up to the first that is not; returns why some of it could not be. Lock: taken."""
        failure = None
        while self._in_order and self._in_order[0].finished:
            head = self._in_order[0]
            if not head.failed and head.number > self._recorded:
                try:
                    self.store.record(head.runs)
                except AreaBeyondDevice as error:
                    failure = error
            self._recorded = head.number
            self._in_order.popleft()
        self._changed.notify_all()
        return failure

    def _any_pending(self, first: int, stop: int) -> bool:
        if stop - first == 1:
            return first in self._pending
        return any(first <= chunk < stop for chunk in self._pending)

    # -- durability ---------------------------------------------------------------------------------------------------

    def commit(self) -> bool:
        """Makes every complete exception durable, and the copies and all writes to the COW device before.

        Returns:
            Whether the COW device was flushed: not where there was nothing to be committed.

        Raises:
            IOFailed: The device failed, and the snapshot was invalidated; or the host is out of room, and it was not.
        """
        with self._lock:
            complete = max((pending.number for pending in self._in_order if pending.finished), default=0)
            while self._recorded < complete:  # their turn has not come; those that come later need not be waited for
                self._changed.wait()
            number = self._recorded
        try:
            flushed = self.store.commit()
        except IOFailed as error:
            if not is_out_of_room(error):
                self.invalidate(error)
            raise
        if self._volatile:
            with self._lock:
                self._volatile = {chunk: its for chunk, its in self._volatile.items() if its > number}
        return flushed

    def copy_out(self, ranges: list[tuple[int, int]]) -> None:
        """Makes sure that chunks of the origin have durable exceptions, and that nobody reads them from the origin.

        To be called before they are overwritten, by whoever writes to the origin. A failure invalidates the snapshot
        and is not the writer's concern, but for a host that is out of room.

        Args:
            ranges: First chunk, and the chunk behind the last, of each.

        Raises:
            IOFailed: The host is out of room for the copies; the snapshot is as it was.
        """
        try:
            volatile = False
            for first, stop in ranges:
                volatile = (self.valid and self._copy_out(first, stop)) or volatile
            if volatile:
                self.commit()
        except DmsnapError as error:
            if is_out_of_room(error):
                raise
            self.invalidate(error)
        if self.invalid_because:
            self.store.drop()  # who overwrites the origin waits for it, whoever began it
        for first, stop in ranges:
            self.reads.wait_for(first, stop)

    def _copy_out(self, first: int, stop: int) -> bool:
        """Completes exceptions for all chunks of a range; says whether there is one that may not be durable."""
        try:
            return self._copy_out_missing(first, stop)
        except BaseException:
            self.end_what_was_interrupted()
            raise

    def _copy_out_missing(self, first: int, stop: int) -> bool:
        pending = self.reserve(first, stop) if self._table.missing(first, stop) else None
        if pending is None:
            return bool(self._volatile) and any(chunk in self._volatile for chunk in range(first, stop))
        try:
            if pending.full_at is not None:
                raise self.full()
            for run in pending.runs:
                copy_chunks(self.origin, self.store, run)
        except BaseException:
            self.give_up(pending)
            raise
        self.complete(pending)
        return True

    # -- the end ------------------------------------------------------------------------------------------------------

    def full(self) -> StoreFull | OutOfRoom:
        """Returns the error of a store that has no room."""
        name = self.store.device.name
        if self.refuse_when_full:
            error = OutOfRoom(f"{name}: the COW store is full", hint="make it larger: it goes on at once", device=name)
            error.errno = errno.ENOSPC
            return error
        return StoreFull(
            f"{name}: the COW store is full: unable to allocate exception",
            hint="make a snapshot with a larger COW store",
            device=name,
        )

    def invalidate(self, error: DmsnapError) -> None:
        """Ends the snapshot, in memory and on the device; a second call only waits for the first."""
        with self._lock:
            if self.valid:
                self.invalid_because = error.message or "unknown"
                for hear in self.on_invalid:
                    hear()
                self._changed.notify_all()
        if self.invalid_because:
            self.store.drop()


def is_out_of_room(error: DmsnapError) -> bool:
    """Whether it is the host that has no room for what a sparse file should hold: that can be mended."""
    return isinstance(error, OutOfRoom)
