"""Which of a snapshot's two devices holds what: its extents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dmsnap.block.contract import BlockDevice, Extent, ExtentKind
from dmsnap.store.growing_table import GrowingTable
from dmsnap.store.table import ExceptionTable

__all__ = ["Layers", "snapshot_data", "snapshot_extents"]

EXCEPTION_DEPTH = 1
ORIGIN_DEPTH = 2

_LOOKAHEAD_BYTES = 64 << 20  # how far one question about the COW device goes, to answer for later runs too


class Layers(NamedTuple):
    """What a snapshot is made of.

    Attributes:
        origin: Where chunks without an exception are.
        cow: Where the others are.
        table: Which have one.
        chunk_shift: The chunk size is 2 to the power of it.
        chunk_zero: Byte of the COW device where its chunk 0 begins.
    """

    origin: BlockDevice
    cow: BlockDevice
    table: ExceptionTable | GrowingTable
    chunk_shift: int
    chunk_zero: int


def snapshot_extents(layers: Layers, offset: int, length: int) -> Iterator[Extent]:
    """Yields what a range of a snapshot holds, without gaps; neighbours may be alike.

    Depth 1 is an exception, data or hole as the COW device has it; depth 2 is the origin, as the origin has it. An
    exception whose copy cannot be had counts as data: only a read says more.
    """
    origin, cow, table, chunk_shift, chunk_zero = layers
    position, end = offset, offset + length
    below, above = _Forward(origin, offset, end), _Anywhere(cow)
    for runs in table.batches(offset >> chunk_shift, ((end - 1) >> chunk_shift) + 1):
        for chunk, copy, count in zip(runs.origin.tolist(), runs.cow.tolist(), runs.length.tolist(), strict=True):
            start = max(chunk << chunk_shift, offset)
            stop = min((chunk + count) << chunk_shift, end)
            if start > position:
                yield from below.extents(position, start)
            into = start & ((1 << chunk_shift) - 1)
            at = chunk_zero + (copy << chunk_shift) if copy else -end  # nowhere
            yield from above.extents(at + into, start, stop)
            position = stop
    if position < end:
        yield from below.extents(position, end)


def snapshot_data(layers: Layers, offset: int, length: int) -> Iterator[Extent]:
    """Yields the same without telling the layers apart: far fewer extents where the devices have no holes."""
    origin, cow, table, chunk_shift, chunk_zero = layers
    position, end = offset, offset + length
    for runs in table.batches(offset >> chunk_shift, ((end - 1) >> chunk_shift) + 1):
        stop = min(int(runs.origin[-1] + runs.length[-1]) << chunk_shift, end)
        first, last = int(runs.cow.min()), int((runs.cow + runs.length).max())
        copies = chunk_zero + (first << chunk_shift), chunk_zero + (last << chunk_shift)
        if _all_data(origin, position, stop) and _all_data(cow, *copies):
            yield Extent(position, stop - position, ExtentKind.DATA, EXCEPTION_DEPTH)
        else:
            for extent in snapshot_extents(layers, position, stop - position):
                yield extent._replace(depth=EXCEPTION_DEPTH)
        position = stop
    if position < end:
        for extent in origin.extents(position, end - position):
            yield extent._replace(depth=EXCEPTION_DEPTH)


def _all_data(device: BlockDevice, start: int, stop: int) -> bool:
    """Whether a range is known to have no hole; what lies past the end is no hole either."""
    stop = min(stop, device.size_bytes)
    if start >= stop:
        return True
    first = next(device.extents(start, stop - start))
    return first.kind is ExtentKind.DATA and first.length == stop - start


class _Forward:
    """The origin's extents, asked for once and walked along."""

    def __init__(self, origin: BlockDevice, offset: int, end: int) -> None:
        self._extents = origin.extents(offset, end - offset)
        self._stop = offset
        self._kind = ExtentKind.DATA

    def extents(self, position: int, end: int) -> Iterator[Extent]:
        while position < end:
            while self._stop <= position:
                at, length, self._kind, _ = next(self._extents)
                self._stop = at + length
            stop = min(end, self._stop)
            yield Extent(position, stop - position, self._kind, ORIGIN_DEPTH)
            position = stop


class _Anywhere:
    """The COW device's extents, asked for in any order; the last answer is kept, as runs often share it."""

    def __init__(self, cow: BlockDevice) -> None:
        self._cow = cow
        self._size = cow.size_bytes
        self._start = self._stop = 0
        self._kind = ExtentKind.DATA

    def extents(self, at: int, position: int, end: int) -> Iterator[Extent]:
        """Yields the extents of COW bytes from ``at`` as the snapshot's, from ``position`` to ``end``."""
        shift = position - at
        while position < end:
            at = position - shift
            if not self._start <= at < self._stop:
                self._ask(at, end - position)
            stop = min(end, self._stop + shift)
            yield Extent(position, stop - position, self._kind, EXCEPTION_DEPTH)
            position = stop

    def _ask(self, at: int, length: int) -> None:
        known = min(self._size - at, max(length, _LOOKAHEAD_BYTES))
        if at < 0 or known <= 0:  # a damaged record: it points nowhere
            self._start, self._stop, self._kind = at, at + length, ExtentKind.DATA
            return
        first = next(self._cow.extents(at, known))
        self._start, self._stop, self._kind = first.offset, first.offset + first.length, first.kind
