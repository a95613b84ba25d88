"""``compact``: the smallest store with the same content."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.library.opening import open_origin_and_store, open_store_of
from dmsnap.library.origin_doubts import Warn, judge_origin
from dmsnap.library.output_file import check_output_file
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.library.volumes.sources import described_sources
from dmsnap.maintenance.compacting import compacted
from dmsnap.maintenance.events import Begin, Events
from dmsnap.maintenance.room import needed_bytes, without_trap
from dmsnap.maintenance.writing import write_events
from dmsnap.store import BadChunkSize
from dmsnap.transfer.copying import Progress
from dmsnap.transfer.raw import OutputInTheWay
from dmsnap.transfer.whole_file import whole_file

__all__ = ["CompactResult", "compact"]


@dataclass(frozen=True, slots=True)
class CompactResult:
    """What a store became.

    Attributes:
        chunk_size_bytes: The chunk size of the new store.
        exceptions_before: How many chunks the old store keeps.
        exceptions: How many chunks the new one keeps.
        size_before_bytes: The size of the old store's device.
        size_bytes: The size of the new store.
    """

    chunk_size_bytes: int
    exceptions_before: int
    exceptions: int
    size_before_bytes: int
    size_bytes: int

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        return asdict(self)


def compact(
    cow: Source,
    out: str | os.PathLike[str],
    *,
    origin: Source | None = None,
    drop_unchanged: bool = False,
    chunk_size_bytes: int | None = None,
    sort: bool = False,
    size_bytes: int = 0,
    extra_bytes: int = 0,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
    sync: bool = True,
) -> CompactResult:
    """Writes a new store with the same content, without what is lost, superfluous or free in the old one.

    Args:
        cow: The COW store; only read.
        out: A new file, which takes that name once it is whole.
        origin: The device that the snapshot was taken of, for the next two.
        drop_unchanged: Leave out chunks that are equal to the origin.
        chunk_size_bytes: Another chunk size.
        sort: Put the chunks in the order of the origin; else they stay in the order in which they were written.
        size_bytes: Make the file at least that large, so that the snapshot can grow.
        extra_bytes: Make it larger than what is needed by that.
        prefetch: How the store's areas are read; as `open_snapshot`.
        trace: Records the loading of the store.
        progress: Called as ``progress(done_bytes, total_bytes)`` now and then, in the calling thread.
        warn: Called with a line for what is doubtful about the origin and yet no error.
        sync: Make the file durable before it takes its name.

    Raises:
        DmsnapError: As `open_snapshot`; the store is invalid or damaged (`NotSound`); a wrong origin, or none where it
            is needed (`NeedsOrigin`); a chunk size that kernels refuse; ``out`` exists or cannot be written.
    """
    if chunk_size_bytes is not None and (chunk_size_bytes <= 0 or chunk_size_bytes % SECTOR_BYTES):
        raise BadChunkSize(
            f"invalid chunk size of {chunk_size_bytes} bytes: not in whole sectors",
            hint="chunk sizes are powers of two from 512 bytes to 1 GiB",
        )
    named = [source for source in (cow, origin) if source is not None]
    with ExitStack() as stack:
        cow, origin = described_sources(cow, origin, OpenVolumes(stack))
        if origin is None:
            below, store = None, open_store_of(cow, stack, prefetch=prefetch, trace=trace)
        else:
            below, store = open_origin_and_store(cow, origin, stack, prefetch=prefetch, trace=trace)
            judge_origin(below, store, refuse=True, warn=warn, way_out="name the one that it was taken of")
        events = compacted(
            store,
            origin=below,
            chunk_size_sectors=None if chunk_size_bytes is None else chunk_size_bytes // SECTOR_BYTES,
            drop_unchanged=drop_unchanged,
            sort=sort,
            prefetch=prefetch,
            progress=progress,
        )
        begin = next(events)
        assert isinstance(begin, Begin)
        path = os.fspath(out)
        check_output_file(path, named, what="the new store")
        if os.path.lexists(path):
            raise OutputInTheWay(f"{path} exists", hint="name a new file, or remove this one first", path=path)
        exceptions, size = _write(events, begin, path, size_bytes, extra_bytes, sync=sync)
        return CompactResult(begin.chunk_bytes, len(store.table), exceptions, store.device.size_bytes, size)


def _write(
    events: Events, begin: Begin, path: str, size_bytes: int, extra_bytes: int, *, sync: bool
) -> tuple[int, int]:
    """Writes a file as large as may be needed, and cuts off what was not before it takes its name."""
    sectors = begin.header.chunk_size_sectors

    def wanted(needed: int) -> int:
        return without_trap(max(size_bytes, needed + extra_bytes), sectors)

    with whole_file(path, wanted(begin.cow_size_bytes), sync=sync) as device:
        exceptions = write_events(_again(begin, events), device)
        size = wanted(needed_bytes(exceptions, sectors))
        os.truncate(device.path, size)
    return exceptions, size


def _again(begin: Begin, events: Events) -> Events:
    yield begin
    yield from events
