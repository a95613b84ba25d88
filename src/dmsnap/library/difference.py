"""``diff``: two snapshots of one origin side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from dmsnap.block.contract import BlockDevice
from dmsnap.library.opening import open_origin_and_store, open_store_of, refuse_same
from dmsnap.library.origin_doubts import Warn, judge_origin
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.library.volumes.sources import described_sources
from dmsnap.maintenance.comparing import DiffRange, compared, joined, side_by_side
from dmsnap.store import Store
from dmsnap.target.snapshot import SnapshotDevice, refuse_invalid
from dmsnap.target.zero import ZeroDevice
from dmsnap.transfer.changes import changed_ranges
from dmsnap.transfer.copying import Progress

__all__ = ["diff"]

_MOST_UNIT_BYTES = 1 << 20


def diff(
    a: Source,
    b: Source,
    *,
    origin: Source | None = None,
    compare: bool = False,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Iterator[DiffRange]:
    """Returns the byte ranges for which two stores of one origin keep content, ascending, one at a time.

    ``DiffRange(offset, length, where, differs)``; ``range.to_json()`` is the object of ``diff --json``. Chunk sizes may
    differ. Where neither store has content, both snapshots read as the origin does.

    Args:
        a: A COW store.
        b: Another one.
        origin: The device that both snapshots were taken of; ranges end where it does.
        compare: Read both snapshots, and say of each range whether they differ there. What only one store has is
            compared with the origin, so without one it is not.
        prefetch: How the stores' areas are read; as `open_snapshot`.
        trace: Records the loading of the stores.
        progress: With ``compare``, called now and then with how far through the snapshots this has come, and their
            size, in bytes.
        warn: Called with a line if the origin does not look like the right one.

    Raises:
        DmsnapError: By the call: as `open_snapshot`; both are one; a store is invalid. By a step, with ``compare``: a
            chunk cannot be read.
    """
    with ExitStack() as stack:
        a, origin = described_sources(a, origin, OpenVolumes(stack))
        if origin is None:
            below, one = None, open_store_of(a, stack, prefetch=prefetch, trace=trace)
        else:
            below, one = open_origin_and_store(a, origin, stack, prefetch=prefetch, trace=trace)
            refuse_same(b, below, "COW device cannot be the same as origin device", "name two stores", parts=False)
        refuse_same(b, one.device, "is named twice", "name two stores", parts=False)
        other = open_store_of(b, stack, prefetch=prefetch, trace=trace, origin=below)
        for store in (one, other):
            refuse_invalid(store)
            if below is not None:
                judge_origin(below, store, refuse=False, warn=warn)
        size = None if below is None else below.size_bytes
        ranges = side_by_side(*(_ranges(store, size) for store in (one, other)))
        if not compare:
            return ranges  # the tables are in memory: nothing stays open
        steps = _compared(ranges, one, other, below, stack.pop_all(), progress)
    next(steps)  # so that it closes what is open, however it ends
    return (each for each in steps if each is not None)


def _ranges(store: Store, size: int | None) -> Iterator[tuple[int, int]]:
    return ((each.offset, each.offset + each.length) for each in changed_ranges(store, size))


def _compared(
    ranges: Iterator[DiffRange],
    one: Store,
    other: Store,
    below: BlockDevice | None,
    opened: ExitStack,
    progress: Progress | None,
) -> Iterator[DiffRange | None]:
    """Yields None once, and then the ranges."""
    with opened:
        origin = ZeroDevice(max(_end(one), _end(other))) if below is None else below
        a, b = SnapshotDevice(origin, one, name=one.device.name), SnapshotDevice(origin, other, name=other.device.name)
        unit = min(one.chunk_size_bytes, other.chunk_size_bytes, _MOST_UNIT_BYTES)
        yield None
        yield from joined(compared(ranges, a, b, unit, origin_known=below is not None, progress=progress))


def _end(store: Store) -> int:
    """Where the last chunk ends that a store has an exception for."""
    last = 0
    for runs in store.table.batches():
        last = int(runs.origin[-1] + runs.length[-1])
    return last * store.chunk_size_bytes
