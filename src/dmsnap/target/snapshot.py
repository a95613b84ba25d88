"""The snapshot target, reading: an origin as it was, seen through the exceptions of a COW store.

A chunk with an exception is read from the COW device, any other from the origin (Linux dm-snapshot, all versions). A
request may begin, end and stretch as the caller likes: it is cut at runs of exceptions, what lies together on a device
is read together, and all of it is started at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import NamedTuple
from weakref import WeakSet

import numpy as np

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BadRequest, BlockDevice, Extent, IOFailed, ReadOnlyDevice, ReadRequest
from dmsnap.block.extents import joined
from dmsnap.block.loan import Loan
from dmsnap.store import Store
from dmsnap.store.exception_store import ExceptionStore
from dmsnap.store.format import check_chunk_size
from dmsnap.target.joint_completion import joint
from dmsnap.target.layers import Layers, snapshot_data, snapshot_extents

__all__ = ["DamagedException", "SnapshotDevice", "SnapshotInvalid", "invalid", "refuse_invalid", "wait_for"]


class DamagedException(IOFailed):
    """The store says that a chunk has a copy, but there is none where its record points (the kernel's EIO)."""


class SnapshotInvalid(IOFailed):
    """The store is marked invalid: the snapshot is lost and the kernel answers every read with EIO."""


class _Plan(NamedTuple):
    """The reads that make up a request, or why it cannot be had."""

    origin: Sequence[ReadRequest]
    cow: Sequence[ReadRequest]
    error: DamagedException | None = None


_ONE_OF_COW = _Plan((), ())
"""Stands for a request that is one read of the COW device."""


class SnapshotDevice(BlockDevice):
    """A snapshot of ``origin`` whose old content lies in ``store``; reading only.

    Its size is fixed when it is made, as that of a table line is. Exceptions beyond the size are never read. Closing it
    waits for its reads; the origin, which may have other snapshots, and the store's device stay the caller's to close.

    Args:
        origin: What the snapshot was taken of; opened read-only is enough.
        store: The exceptions; an invalid store makes a snapshot whose every read raises `SnapshotInvalid`.
        size_bytes: The snapshot's size; by default the origin's.
        name: For messages.

    Raises:
        BadRequest: ``size_bytes`` is more than the origin has, or not in whole logical blocks.
        BadChunkSize: The chunk size is no multiple of a device's logical block size.
    """

    read_only = True

    def __init__(
        self,
        origin: BlockDevice,
        store: Store | ExceptionStore,
        *,
        size_bytes: int | None = None,
        name: str = "snapshot",
    ) -> None:
        cow = store.device
        block = max(origin.logical_block_size_bytes, cow.logical_block_size_bytes)
        check_chunk_size(store.chunk_size_sectors, block)
        whole = origin.size_bytes
        size = whole - whole % block if size_bytes is None else size_bytes
        if not 0 <= size <= whole or size % block:
            raise BadRequest(
                f"{name}: a snapshot of {size} bytes does not fit its origin {origin.name} of {whole} bytes",
                hint=f"use at most the origin's size, in multiples of {block} bytes",
                device=name,
                size_bytes=size,
            )
        self.name = name
        self.logical_block_size_bytes = block
        self.origin = origin
        self.store = store
        self._cow = cow
        self._cow_bytes = cow.size_bytes
        self._chunk_zero = store.chunk_zero_bytes
        self._size_bytes = size
        self._valid = store.valid
        self._table = store.table
        self._shift = store.chunk_size_bytes.bit_length() - 1
        self._mask = store.chunk_size_bytes - 1
        self._started: WeakSet[Completion] = WeakSet()  # maybe under way, for `close` to wait for

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_into(self, offset: int, view: memoryview) -> None:
        chunk = offset >> self._shift
        length = len(view)
        if not self._valid:
            raise invalid(self.store)
        if (offset & self._mask) + length <= self._mask + 1:  # in one chunk: the shortest way
            copy = self._table.lookup(chunk)
            if copy is None:
                self.origin.read_into(offset, view)
                return
            at = self._chunk_zero + (copy << self._shift) + (offset & self._mask)
            if not copy or at + length > self._cow_bytes:
                self._check_copy(chunk, copy, at, length)
            self._cow.read_into(at, view)
            return
        self._start_reads(((offset, view),))[0].wait()

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        if not self._valid:
            return super()._start_reads(requests)
        below: list[ReadRequest] = []
        above: list[ReadRequest] = []
        plans: list[_Plan | None] = []  # of each request; None where it is one read of the origin
        lookup, shift, mask = self._table.lookup, self._shift, self._mask
        for request in requests:
            offset, view = request
            if (offset & mask) + len(view) > mask + 1:
                plan = self._plan(offset, view)
                below += plan.origin
                above += plan.cow
                plans.append(plan)
            elif (copy := lookup(offset >> shift)) is None:  # in one chunk, as most are: the shortest way
                below.append(request)
                plans.append(None)
            else:
                at = self._chunk_zero + (copy << shift) + (offset & mask)
                if not copy or at + len(view) > self._cow_bytes:
                    plan = self._plan(offset, view)
                    above += plan.cow
                    plans.append(plan)
                else:
                    above.append((at, view))
                    plans.append(_ONE_OF_COW)
        return self._started_as(plans, below, above)

    def _started_as(
        self, plans: Sequence[_Plan | None], below: Sequence[ReadRequest], above: Sequence[ReadRequest]
    ) -> list[Completion]:
        """Starts the reads of the two devices, and returns a completion for each plan."""
        from_origin = _start_checked(self.origin, below) if below else []
        try:
            from_cow = _start_checked(self._cow, above) if above else []
        except BaseException:  # none was started, the caller is to know: so none may go on
            wait_for(from_origin)
            raise
        at_hand = from_origin.count(COMPLETED) == len(below) and from_cow.count(COMPLETED) == len(above)
        if at_hand and all(plan is None or plan.error is None for plan in plans):
            return [COMPLETED] * len(plans)
        origin, cow = iter(from_origin), iter(from_cow)
        completions = []
        for plan in plans:
            if plan is None:
                completions.append(next(origin))
            elif plan is _ONE_OF_COW:
                completions.append(next(cow))
            elif plan.error is not None:
                completions.append(Completion.failed(plan.error))
            else:
                completions.append(joint([*islice(origin, len(plan.origin)), *islice(cow, len(plan.cow))]))
        for completion in completions:
            if not completion.done:
                self._started.add(completion)
        return completions

    def _plan(self, offset: int, view: memoryview) -> _Plan:
        """Cuts one request into reads of the two devices."""
        try:
            below, above = self._cut(offset, offset + len(view))
        except DamagedException as error:
            return _Plan((), (), error)
        return _Plan(
            [(start, view[start - offset : stop - offset]) for start, stop in below if start < stop],
            [(at, view[start - offset : stop - offset]) for at, start, stop in above],
        )

    def _cut(self, offset: int, end: int) -> tuple[list[tuple[int, int]], list[tuple[int, int, int]]]:
        """Cuts a range at its exceptions; what continues on a device is one piece.

        Returns:
            What lies on the origin, from and to, which may be nothing; and between each of these and the next, on the
            COW device: where there, from and to.

        Raises:
            DamagedException: There is no such copy.
        """
        shift = self._shift
        runs = self._table.runs_between(offset >> shift, ((end - 1) >> shift) + 1)
        start = np.maximum(runs.origin << shift, offset)
        stop = np.minimum((runs.origin + runs.length) << shift, end)
        at = self._chunk_zero + ((runs.cow - runs.origin) << shift) + start
        beyond = (runs.cow == 0) | (at + stop - start > self._cow_bytes)
        for number in np.flatnonzero(beyond).tolist():
            chunk, copy = int(runs.origin[number]), int(runs.cow[number])
            self._check_copy(chunk, copy, int(at[number]), int(stop[number] - start[number]))
        first = np.ones(len(start), np.bool_)  # of what is read from the COW device together
        first[1:] = (start[1:] != stop[:-1]) | (at[1:] - at[:-1] != start[1:] - start[:-1])
        if not first.all():
            start, stop, at = start[first], np.append(stop[:-1][first[1:]], stop[-1:]), at[first]
        starts, stops = start.tolist(), stop.tolist()
        below = list(zip([offset, *stops], [*starts, end], strict=True))
        return below, list(zip(at.tolist(), starts, stops, strict=True))

    # -- lending ------------------------------------------------------------------------------------------------------

    def _lend(self, ranges: Sequence[tuple[int, int]]) -> Loan | None:
        cow_bytes = self._cow_bytes
        below, above = self.origin._as_memory(self._size_bytes), self._cow._as_memory(cow_bytes)
        if below is None or above is None or not self._valid:
            return None
        lent: list[Sequence[memoryview]] = []
        lookup, shift, mask = self._table.lookup, self._shift, self._mask
        for offset, length in ranges:
            if (offset & mask) + length > mask + 1:
                try:
                    lent.append(self._lent(offset, offset + length, below, above))
                except DamagedException:
                    return None
            elif (copy := lookup(offset >> shift)) is None:
                lent.append((below[offset : offset + length],))
            else:
                at = self._chunk_zero + (copy << shift) + (offset & mask)
                if not copy or at + length > self._cow_bytes:
                    return None
                lent.append((above[at : at + length],))
        if self._cow_bytes != cow_bytes:  # it has grown, and some of it may not be in that memory
            return None
        return Loan(lent, self._lent_in_vain)

    def _lent(self, offset: int, end: int, below: memoryview, above: memoryview) -> list[memoryview]:
        """The memory of a range that stretches over chunks."""
        views: list[memoryview] = []
        between, copies = self._cut(offset, end)
        for (start, stop), copy in zip_longest(between, copies):
            if start < stop:
                views.append(below[start:stop])
            if copy is not None:
                at, start, stop = copy
                views.append(above[at : at + stop - start])
        return views

    def _lent_in_vain(self, *, unreadable: bool) -> None:
        self.origin._lent_in_vain(unreadable=unreadable)
        self._cow._lent_in_vain(unreadable=unreadable)

    def _prefetch(self, offset: int, length: int) -> None:
        if not self._valid:
            return
        position, end = offset, offset + length
        runs = self._table.runs_between(offset >> self._shift, ((end - 1) >> self._shift) + 1)
        for chunk, copy, count in zip(runs.origin.tolist(), runs.cow.tolist(), runs.length.tolist(), strict=True):
            start, stop = max(chunk << self._shift, offset), min((chunk + count) << self._shift, end)
            at = self._chunk_zero + (copy << self._shift) + start - (chunk << self._shift)
            self.origin.prefetch(position, start - position)
            if copy and at + stop - start <= self._cow_bytes:
                self._cow.prefetch(at, stop - start)
            position = stop
        self.origin.prefetch(position, end - position)

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        if not self._valid:
            raise invalid(self.store)
        return joined(snapshot_extents(self._layers(), offset, length))

    def data_extents(self, offset: int, length: int) -> Iterator[Extent]:
        """As `extents`, but every depth is 1: for who copies and wants to know only what may be left out."""
        self._check(offset, length)
        if not self._valid:
            raise invalid(self.store)
        return joined(snapshot_data(self._layers(), offset, length))

    def _layers(self) -> Layers:
        return Layers(self.origin, self._cow, self._table, self._shift, self._chunk_zero)

    def _write_at(self, offset: int, view: memoryview) -> None:  # noqa: ARG002
        raise ReadOnlyDevice(f"{self.name}: snapshots are read only", device=self.name, offset_bytes=offset)

    def _flush(self) -> None:
        return

    def _close(self) -> None:
        wait_for(list(self._started))

    # -- errors -------------------------------------------------------------------------------------------------------

    def _check_copy(self, chunk: int, copy: int, at: int, length: int) -> None:
        """Raises `DamagedException` unless the COW device, which may have grown, has these bytes of a chunk's copy."""
        if copy:
            self._cow_bytes = self._cow.size_bytes
            if at + length <= self._cow_bytes:
                return
        raise DamagedException(
            f"{self.name}: origin chunk {chunk} was copied, but its record points at no copy in {self._cow.name}",
            hint="the store is damaged or cut short there; everything else can be read",
            device=self._cow.name,
            origin_chunk=chunk,
            cow_offset_bytes=at,
        )


def _start_checked(device: BlockDevice, requests: Sequence[ReadRequest]) -> list[Completion]:
    """As `BlockDevice.start_reads` of what lies on the device, as parts of a checked request do: not checked again."""
    return device.start_reads(requests) if device.closed else device._start_reads(requests)


def wait_for(reads: Sequence[Completion]) -> None:
    """Waits until all of some started reads are over, well or not."""
    for completion in reads:
        with contextlib.suppress(Exception):  # an error is for whoever waits for the read
            completion.wait()


def refuse_invalid(store: Store | ExceptionStore) -> None:
    """Does nothing for a valid store.

    Raises:
        SnapshotInvalid: The store is marked invalid.
    """
    if not store.valid:
        raise invalid(store)


def invalid(store: Store | ExceptionStore) -> SnapshotInvalid:
    """Returns the error of a snapshot that is lost."""
    return SnapshotInvalid(
        f"{store.device.name}: the snapshot is marked invalid and cannot be read",
        hint="its store was full or failed while in use, so the old content is lost; take a new snapshot",
        device=store.device.name,
    )
