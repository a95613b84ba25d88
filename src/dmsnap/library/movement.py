"""Content on its way out: ``map`` and ``export``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO

from dmsnap.library.opening import open_origin_and_store, open_store_of
from dmsnap.library.origin_doubts import Warn, judge_origin
from dmsnap.library.snapshot_file import open_snapshot
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.library.volumes.sources import described_sources, plain_volume, snapshot_sources
from dmsnap.target.snapshot import refuse_invalid
from dmsnap.transfer.changes import ChangedRange, changed_ranges
from dmsnap.transfer.raw import ExportResult, Progress, export_raw

__all__ = ["export", "map_changes"]


def map_changes(
    cow: Source,
    *,
    origin: Source | None = None,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    warn: Warn | None = None,
) -> Iterator[ChangedRange]:
    """Returns the byte ranges of the origin that changed: ascending, none touching the next, one at a time.

    ``ChangedRange(offset, length, exists)``; ``range.to_json()`` is the object of ``map --json``. With an origin the
    ranges end where it does, and ``warn`` is called with a line if it does not look like the right one.

    Raises:
        DmsnapError: As `open_snapshot` (by the call, not by the first step); the store is invalid, so that nobody
            knows what changed.
    """
    with ExitStack() as stack:  # the table is in memory: nothing stays open
        volumes = OpenVolumes(stack)
        cow, origin = described_sources(cow, origin, volumes)
        volumes.tell_doubts(warn)
        if origin is None:
            size, store = None, open_store_of(cow, stack, prefetch=prefetch, trace=trace)
        else:
            below, store = open_origin_and_store(cow, origin, stack, prefetch=prefetch, trace=trace)
            size = below.size_bytes
            judge_origin(below, store, refuse=False, warn=warn)
        refuse_invalid(store)
        return changed_ranges(store, size)


def export(
    cow: Source,
    origin: Source | None,
    out: str | os.PathLike[str] | BinaryIO,
    *,
    overwrite: bool = False,
    any_origin: bool = False,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
    sync: bool = True,
) -> ExportResult:
    """Writes the snapshot's content as a raw image.

    Args:
        cow: The COW store, as `open_snapshot` takes it; or, without an origin, any logical volume in images, which need
            not be a snapshot.
        origin: The device that the snapshot was taken of; None where LVM2 knows it.
        out: A path (a new sparse file takes that name once it is whole; a block device is written in place), or an
            open binary file such as ``sys.stdout.buffer``, which gets everything in order, zeros too.
        overwrite: Write to a file or block device that is there already. What the snapshot is made of, and whatever
            is itself a COW store, is never overwritten.
        any_origin: Export also with an origin that cannot be the right one: the store has content beyond its end, or
            it begins as a store itself.
        prefetch: How the store's areas are read; as `open_snapshot`.
        trace: Records the loading of the store.
        progress: Called as ``progress(done_bytes, total_bytes)`` now and then and at the end, in the calling thread.
        warn: Called with a line for what is doubtful about the origin, or about mirrors in LVM, and yet no error.
        sync: Make a file durable before it takes its name.

    Raises:
        DmsnapError: As `open_snapshot`; a wrong origin; a chunk cannot be read; ``out`` is in the way, cannot be
            written, is one of the inputs or below them, or (`ReaderGone`, also a BrokenPipeError) nobody reads it any
            more.
    """
    with ExitStack() as stack:
        volumes = OpenVolumes(stack)
        if origin is None and (volume := plain_volume(cow, volumes)) is not None:
            volumes.tell_doubts(warn)
            return export_raw(volume, out, overwrite=overwrite, progress=progress, sync=sync)
        cow, origin, _ = snapshot_sources(cow, origin, volumes)
        snapshot = stack.enter_context(open_snapshot(cow, origin, prefetch=prefetch, trace=trace))
        refuse_invalid(snapshot.store)
        judge_origin(snapshot.origin, snapshot.store, refuse=not any_origin, warn=warn)
        volumes.tell_doubts(warn)
        return export_raw(snapshot, out, overwrite=overwrite, progress=progress, sync=sync)
