"""Other snapshots of an origin that is about to be written to: each gets copies of what is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.opening import open_store_of, refuse_same
from dmsnap.library.origin_doubts import too_small
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.store import Store
from dmsnap.store.format import exceptions_per_area
from dmsnap.store.writable import PersistentStore, refuse_damaged
from dmsnap.target.exceptions import Exceptions
from dmsnap.target.origin import OriginSnapshots
from dmsnap.target.snapshot import refuse_invalid

__all__ = ["OtherSnapshotLost", "OtherSnapshots", "OtherTooFull"]

_Int64Array = npt.NDArray[np.int64]


class OtherTooFull(DmsnapError):
    """The store of another snapshot has no room for what it would have to keep."""


class OtherSnapshotLost(DmsnapError):
    """Another snapshot was invalidated by an error of its store while it was given copies."""


class OtherSnapshots:
    """The other snapshots of an origin that a store is about to be merged into.

    Args:
        origin: The origin.
        merging: The store.
        stack: Takes over what is opened here.
        writable: Whether copies will be made; else it is only looked at what they would be.
        prefetch: How the stores' areas are read.
        trace: Records how they are.

    Attributes:
        copied_bytes: What they get copies of, in all.
    """

    def __init__(
        self,
        origin: BlockDevice,
        merging: Store,
        stack: ExitStack,
        *,
        writable: bool,
        prefetch: str | int,
        trace: Trace | None,
    ) -> None:
        self.copied_bytes = 0
        self._origin = origin
        self._merging = merging
        self._stack = stack
        self._writable = writable
        self._prefetch = prefetch
        self._trace = trace
        self._stores: list[tuple[Store, int]] = []
        self._exceptions: list[Exceptions] = []

    def open(self, sources: Sequence[tuple[Source, int | None]]) -> None:
        """Opens their stores and makes sure that each can keep what it has to.

        Args:
            sources: Each store, and the size in bytes of its snapshot: the origin may have grown since it was taken,
                and what lies beyond is none of its concern. None for that of the origin.

        Raises:
            DmsnapError: One cannot be opened, is invalid, damaged, named twice or too full; or the origin is too small.
        """
        for source, size in sources:
            refuse_same(source, self._origin, "is the origin", "name the stores of other snapshots", parts=True)
            for taken in (self._merging, *(store for store, _ in self._stores)):
                refuse_same(source, taken.device, "named twice", "name each store once", parts=True)
            store = open_store_of(
                source,
                self._stack,
                prefetch=self._prefetch,
                trace=self._trace,
                origin=self._origin,
                writable=self._writable,
            )
            refuse_invalid(store)
            refuse_damaged(store)
            if (doubt := too_small(self._origin, store, "nothing was changed")) is not None:
                raise doubt
            covered = self._origin.size_bytes if size is None else min(size, self._origin.size_bytes)
            self.copied_bytes += self._need_room(store, covered) * store.chunk_size_bytes
            self._stores.append((store, covered))

    def in_use(self) -> OriginSnapshots:
        """Returns them as what a writer to the origin has to know."""
        snapshots = OriginSnapshots()
        for store, covered in self._stores:
            writable = PersistentStore(store)
            self._stack.callback(writable.close)
            exceptions = Exceptions(self._origin, writable)
            snapshots.add(exceptions, covered)
            self._exceptions.append(exceptions)
        return snapshots

    def refuse_losses(self) -> None:
        """Does nothing if all are as valid as they were.

        Raises:
            OtherSnapshotLost: One is not.
        """
        for exceptions in self._exceptions:
            if not exceptions.valid:
                name = exceptions.store.device.name
                raise OtherSnapshotLost(
                    f"{name}: this other snapshot was lost: {exceptions.invalid_because}",
                    hint="the merge itself is complete",
                    device=name,
                )

    def _need_room(self, store: Store, covered_bytes: int) -> int:
        """Returns how many chunks the store of a snapshot of ``covered_bytes`` has to get copies of."""
        needed = _chunks_without_copy(self._merging, store, covered_bytes)
        room = _room_chunks(store)
        if needed and needed >= room:  # the last one may be the one that Linux invalidates a snapshot for
            name = store.device.name
            raise OtherTooFull(
                f"{name}: has room for {max(0, room - 1)} chunks more, and would have to keep {needed}",
                hint="make it larger, or leave it out and delete it: its content will be wrong",
                device=name,
            )
        return needed


def _room_chunks(store: Store) -> int:
    """How many chunks a store can still give to exceptions."""
    stride = exceptions_per_area(store.chunk_size_sectors) + 1
    first, end = store.next_free, store.device.size_bytes // store.chunk_size_bytes
    areas = _multiples(end - 1, stride) - _multiples(first - 1, stride)
    return max(0, end - first - areas)


def _multiples(stop: int, stride: int) -> int:
    """How many multiples of ``stride`` from 0 there are below ``stop``."""
    return max(0, -(-stop // stride))


def _chunks_without_copy(merging: Store, other: Store, covered_bytes: int) -> int:
    """How many chunks of another snapshot are touched where a store is merged, and have no exception there."""
    starts, stops = _touched(merging, other.chunk_size_bytes, covered_bytes)
    before = np.concatenate(([0], np.cumsum(stops - starts)))  # touched chunks in the ranges before each

    def touched_below(chunks: _Int64Array) -> _Int64Array:
        at = np.searchsorted(starts, chunks, side="right") - 1
        inside = np.minimum(chunks, stops[at]) - starts[at]
        return np.where(at >= 0, before[at] + inside, 0)

    needed = int(before[-1])
    if needed:
        for runs in other.table.batches():
            needed -= int((touched_below(runs.origin + runs.length) - touched_below(runs.origin)).sum())
    return needed


def _touched(merging: Store, chunk_bytes: int, covered_bytes: int) -> tuple[_Int64Array, _Int64Array]:
    """The ranges of chunks of another size that a store's exceptions touch below an end: ascending, disjoint."""
    size = merging.chunk_size_bytes
    begins, ends = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for runs in merging.table.batches():
        first_byte = runs.origin * size
        inside = first_byte < covered_bytes
        begins.append(first_byte[inside] // chunk_bytes)
        last_byte = np.minimum((runs.origin + runs.length)[inside] * size, covered_bytes) - 1
        ends.append(last_byte // chunk_bytes + 1)
    start, stop = np.concatenate(begins), np.concatenate(ends)
    if len(start):
        start[1:] = np.maximum(start[1:], stop[:-1])  # both ascend; of large chunks two ranges may share one
    return start, stop
