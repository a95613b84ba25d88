"""The snapshot target, writing: what is written goes to the COW device, the origin stays as it is.

Source: Linux dm-snapshot. A chunk without an exception gets one: a write of the whole chunk goes straight to its place
on the COW device, of a smaller one the rest is copied from the origin. A chunk with an exception is written in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BlockDevice, IOFailed, ReadRequest, WriteRequest
from dmsnap.block.loan import Loan
from dmsnap.errors import DmsnapError
from dmsnap.store.exception_store import ExceptionStore, NewRun
from dmsnap.target.copying import copy_range
from dmsnap.target.exceptions import Exceptions, Pending, SyncMode, is_out_of_room
from dmsnap.target.snapshot import SnapshotDevice, invalid
from dmsnap.target.status import Status

__all__ = ["SnapshotOverflowed", "WritableSnapshot"]

_ALL_CHUNKS = 1 << 63

_ASSEMBLED_BYTES = 1 << 20
"""A chunk that is written in part is put together in memory and written at once, up to this size."""


class SnapshotOverflowed(IOFailed):
    """The store of type ``PO`` ran full: the snapshot can be read, and no more be written."""


class WritableSnapshot(SnapshotDevice):
    """A snapshot that can be written to; any number of threads may use it.

    It behaves as a disk with a volatile write cache: what was flushed survives any crash. The origin and the COW device
    stay the caller's to close, after the snapshot.

    Args:
        origin: What the snapshot was taken of. It is only read; whoever writes to it does so through an
            `OriginDevice` that this snapshot was added to.
        store: The exceptions.
        size_bytes: The snapshot's size; by default the origin's.
        name: For messages.
        sync: ``"flush"`` or ``"commit"``; see `dmsnap.target.exceptions`.
        refuse_when_full: See there too.
        discard_zeroes_cow: A discarded chunk with an exception reads as zeros from then on (since Linux 5.3).
        discard_passdown_origin: Discards go to the origin too, unprotected; needs the former.

    Attributes:
        exceptions: What an `OriginDevice` works with.
    """

    def __init__(
        self,
        origin: BlockDevice,
        store: ExceptionStore,
        *,
        size_bytes: int | None = None,
        name: str = "snapshot",
        sync: SyncMode = "flush",
        refuse_when_full: bool = False,
        discard_zeroes_cow: bool = False,
        discard_passdown_origin: bool = False,
    ) -> None:
        super().__init__(origin, store, size_bytes=size_bytes, name=name)
        self.read_only = False
        self.exceptions = Exceptions(origin, store, sync, refuse_when_full=refuse_when_full)
        self.exceptions.on_invalid.append(self._hear_invalid)
        self.discard_zeroes_cow = discard_zeroes_cow
        self.discard_passdown_origin = discard_passdown_origin
        self._exception_store = store
        self._chunk_bytes = store.chunk_size_bytes
        self._origin_bytes = origin.size_bytes

    def status(self) -> Status:
        """Returns what the kernel's status line says."""
        if not self.exceptions.valid:
            return Status("Invalid")
        if self.exceptions.overflowed:
            return Status("Overflow")
        return Status("", *self._exception_store.usage())

    # -- reading: as without writes, but one who overwrites the origin waits for reads of it ---------------------------

    def _read_into(self, offset: int, view: memoryview) -> None:
        reads = self.exceptions.reads
        number = reads.begin(offset >> self._shift, ((offset + len(view) - 1) >> self._shift) + 1)
        try:
            super()._read_into(offset, view)
        finally:
            reads.end(number)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        reads, shift = self.exceptions.reads, self._shift
        starting = reads.begin(0, _ALL_CHUNKS)  # cheaper than each by itself, and over soon
        try:
            completions = super()._start_reads(requests)
            if completions.count(COMPLETED) != len(completions):
                for (offset, view), completion in zip(requests, completions, strict=True):
                    if not completion.done:
                        reads.started(offset >> shift, ((offset + len(view) - 1) >> shift) + 1, completion)
        finally:
            reads.end(starting)
        return completions

    def _lend(self, ranges: Sequence[tuple[int, int]]) -> Loan | None:
        reads = self.exceptions.reads
        number = reads.begin(0, _ALL_CHUNKS)
        loan = None
        try:
            loan = super()._lend(ranges)
        finally:
            if loan is None:
                reads.end(number)
        if loan is not None:
            loan.on_end = partial(reads.end, number)
        return loan

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._change(offset, offset + len(view), view)

    def _write_many(self, requests: Sequence[WriteRequest]) -> None:
        self._refuse_writes()
        lookup, shift, mask = self._table.lookup, self._shift, self._mask
        in_place: list[WriteRequest] = []
        new: dict[int, WriteRequest] = {}  # by chunk
        most_new = _ASSEMBLED_BYTES >> shift
        for request in requests:
            offset, view = request
            if not view:
                continue
            if (offset & mask) + len(view) <= mask + 1:
                chunk = offset >> shift
                copy = lookup(chunk)
                if copy is None and chunk not in new and len(new) < most_new:
                    new[chunk] = request
                    continue
                if copy and chunk not in new:
                    at = self._chunk_zero + (copy << shift) + (offset & mask)
                    if at + len(view) <= self._cow_bytes:
                        in_place.append((at, view))
                        continue
            self._write_gathered(in_place, new)
            in_place, new = [], {}
            self._write_at(offset, view)
        self._write_gathered(in_place, new)

    def _write_gathered(self, in_place: list[WriteRequest], new: dict[int, WriteRequest]) -> None:
        """Writes to the COW device what has its place there, and to chunks that had no exception, once to each."""
        if in_place:
            self._cow.write_many(in_place)
        if not new:
            return
        try:
            self._write_new(new)
        except BaseException:
            self.exceptions.end_what_was_interrupted()
            raise

    def _write_new(self, writes: dict[int, WriteRequest]) -> None:
        exceptions = self.exceptions
        pending = exceptions.reserve_each(writes)
        made = () if pending is None else [run.origin for run in pending.runs]
        rest = writes.keys() - made if len(made) < len(writes) else ()
        if pending is not None:
            self._make(pending, lambda: self._cow.write_many(self._copies(pending.runs, writes)))
        try:
            for chunk in rest:  # others have made their exceptions meanwhile, or there was no room for them
                if (copy := self._table.lookup(chunk)) is not None:
                    offset, view = writes[chunk]
                    self._put(chunk, copy, offset, offset + len(view), view, offset)
        finally:
            if pending is not None:
                self._end(pending)
        self._made(pending)

    def _copies(self, runs: Sequence[NewRun], writes: dict[int, WriteRequest]) -> list[WriteRequest]:
        """The copies of single chunks, where they go: what is written over each of them, else the origin."""
        copies: list[WriteRequest] = []
        below: list[ReadRequest] = []
        for chunk, cow, _ in runs:
            offset, view = writes[chunk]
            at = self._chunk_zero + (cow << self._shift)
            start = chunk << self._shift
            length = min(self._chunk_bytes, self._origin_bytes - start)
            if len(view) == length:
                copies.append((at, view))
                continue
            whole = memoryview(bytearray(length))
            begin, finish = offset - start, offset - start + len(view)
            below += ((start, whole[:begin]), (start + finish, whole[finish:]))
            whole[begin:finish] = view
            copies.append((at, whole))
        for read in self.origin.start_reads(below):
            read.wait()
        return copies

    def _zero(self, offset: int, length: int) -> None:
        self._change(offset, offset + length, None)

    def _change(self, start: int, end: int, data: memoryview | None) -> None:
        """Writes bytes ``start`` to ``end``; zeros where there is no data."""
        exceptions, shift = self.exceptions, self._shift
        self._refuse_writes()
        first, stop = start >> shift, ((end - 1) >> shift) + 1
        if stop - first == 1 and (copy := self._table.lookup(first)) is not None:
            self._put(first, copy, start, end, data, start)
            return
        try:
            self._change_chunks(first, stop, start, end, data)
        except BaseException:
            exceptions.end_what_was_interrupted()
            raise

    def _change_chunks(self, first: int, stop: int, start: int, end: int, data: memoryview | None) -> None:
        """Does the same where some of the chunks may have no exception."""
        exceptions = self.exceptions
        pending = exceptions.reserve(first, stop)
        if pending is None:
            self._change_in_place(first, stop, start, end, data)
            return
        self._make(pending, lambda: self._fill_all(pending.runs, start, end, data))
        try:
            reached = stop if pending.full_at is None else pending.full_at
            if sum(run.length for run in pending.runs) < reached - first:
                self._change_in_place(first, reached, start, end, data)
        finally:  # what has its copy is complete, whatever becomes of the rest
            self._end(pending)
        self._made(pending)

    def _make(self, pending: Pending, write_copies: Callable[[], None]) -> None:
        """Has the copies of new exceptions written, or gives the exceptions up."""
        exceptions = self.exceptions
        try:
            if pending.full_at is not None and exceptions.refuse_when_full:
                raise exceptions.full()
            write_copies()
        except BaseException as error:
            exceptions.give_up(pending)
            if isinstance(error, DmsnapError) and not is_out_of_room(error):
                exceptions.invalidate(error)
            raise

    def _made(self, pending: Pending | None) -> None:
        """What comes after new exceptions: they are durable where that is wanted; it is told if not all had room."""
        if pending is None:
            return
        if self.exceptions.sync == "commit":
            self.exceptions.commit()
        if not self._valid or pending.full_at is not None:
            self._refuse_writes()

    def _end(self, pending: Pending) -> None:
        """Ends what was written. If not all had room a ``PO`` snapshot can be written no more, another is lost."""
        exceptions = self.exceptions
        if pending.full_at is None:
            exceptions.complete(pending)
        elif self._exception_store.kind == "PO":
            exceptions.overflowed = True
            exceptions.complete(pending)
        else:
            exceptions.give_up(pending)
            exceptions.invalidate(exceptions.full())

    def _change_in_place(self, first: int, stop: int, start: int, end: int, data: memoryview | None) -> None:
        """Writes to the chunks of a range that have exceptions already."""
        runs = self._table.runs_between(first, stop)
        for chunk, copy, count in zip(runs.origin.tolist(), runs.cow.tolist(), runs.length.tolist(), strict=True):
            begin, finish = max(start, chunk << self._shift), min(end, (chunk + count) << self._shift)
            self._put(chunk, copy, begin, finish, data, start)

    def _put(self, chunk: int, copy: int, begin: int, finish: int, data: memoryview | None, start: int) -> None:
        """Writes bytes ``begin`` to ``finish``, which lie in a run, to the COW device; ``data`` begins at ``start``."""
        at = self._chunk_zero + (copy << self._shift) + begin - (chunk << self._shift)
        if not copy or at + finish - begin > self._cow_bytes:
            self._check_copy(chunk, copy, at, finish - begin)
        if data is None:
            self._cow.zero(at, finish - begin)
        else:
            self._cow.write_at(at, data[begin - start : finish - start])

    def _fill_all(self, runs: Sequence[NewRun], start: int, end: int, data: memoryview | None) -> None:
        for run in runs:
            self._fill(run, start, end, data)

    def _fill(self, run: NewRun, start: int, end: int, data: memoryview | None) -> None:
        """Writes the copies of a new run: what is written over them by bytes ``start`` to ``end``, else the origin."""
        chunk_start = run.origin << self._shift
        chunk_end = min((run.origin + run.length) << self._shift, self._origin_bytes)
        begin, finish = max(start, chunk_start), min(end, chunk_end)
        shift = self._chunk_zero + (run.cow << self._shift) - chunk_start
        if chunk_end - chunk_start <= _ASSEMBLED_BYTES and (begin > chunk_start or finish < chunk_end):
            whole = memoryview(bytearray(chunk_end - chunk_start))
            if begin > chunk_start:
                self.origin.read_into(chunk_start, whole[: begin - chunk_start])
            if finish < chunk_end:
                self.origin.read_into(finish, whole[finish - chunk_start :])
            if data is not None:
                whole[begin - chunk_start : finish - chunk_start] = data[begin - start : finish - start]
            self._cow.write_at(chunk_start + shift, whole)
            return
        copy_range(self.origin, chunk_start, self._cow, chunk_start + shift, begin - chunk_start)
        if data is None:
            self._cow.zero(begin + shift, finish - begin)
        else:
            self._cow.write_at(begin + shift, data[begin - start : finish - start])
        copy_range(self.origin, finish, self._cow, finish + shift, chunk_end - finish)

    def _flush(self) -> None:
        # Linux sends a flush to the COW device alone, be the snapshot valid or not.
        if not self._valid or not self.exceptions.commit():
            self._cow.flush()

    # -- discards -----------------------------------------------------------------------------------------------------

    def _discard(self, offset: int, length: int) -> None:
        if not self.discard_zeroes_cow:
            return
        self._refuse_writes()
        end = offset + length
        runs = self._table.runs_between(offset >> self._shift, ((end - 1) >> self._shift) + 1)
        for chunk, copy, count in zip(runs.origin.tolist(), runs.cow.tolist(), runs.length.tolist(), strict=True):
            for each in range(count):
                self._discard_chunk(chunk + each, copy + each if copy else 0, offset, end)
        if self.discard_passdown_origin:
            self.origin.discard(offset, length)

    def _discard_chunk(self, chunk: int, copy: int, offset: int, end: int) -> None:
        """Zeroes a chunk that is discarded wholly; of a part the COW device is told."""
        start = chunk << self._shift
        begin, finish = max(start, offset), min(start + self._chunk_bytes, end)
        at = self._chunk_zero + (copy << self._shift) + begin - start
        if not copy or at + finish - begin > self._cow_bytes:
            self._check_copy(chunk, copy, at, finish - begin)
        if finish - begin == self._chunk_bytes:
            self._cow.zero(at, finish - begin)
        else:
            self._cow.discard(at, finish - begin)

    # -- the rest -----------------------------------------------------------------------------------------------------

    @property
    def failed_flushes(self) -> int:
        return self._cow.failed_flushes  # a commit that failed for want of room has lost nothing

    @property
    def zeroes_quickly(self) -> bool:
        return self._cow.zeroes_quickly

    def _close(self) -> None:
        super()._close()
        try:
            if self.exceptions.valid:
                self.exceptions.commit()
            elif self.exceptions.invalid_because:
                self._exception_store.drop()  # if that could not be written before, it is tried a last time
        finally:
            self._exception_store.close()

    def _hear_invalid(self) -> None:
        self._valid = False

    def _refuse_writes(self) -> None:
        """Does nothing where writes are possible, else raises what stands in the way."""
        if not self._valid:
            raise invalid(self._exception_store)
        if self.exceptions.overflowed:
            raise SnapshotOverflowed(
                f"{self.name}: overflowed: its COW store {self._cow.name} is full",
                hint="it can be read; merge or export it, or make a snapshot with a larger COW store",
                device=self._cow.name,
            )
