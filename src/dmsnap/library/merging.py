"""``merge``: a snapshot goes back into its origin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from dmsnap.block.contract import BlockDevice
from dmsnap.library.opening import SameDevice, open_origin_and_store
from dmsnap.library.origin_doubts import Warn, judge_origin
from dmsnap.library.other_snapshots import OtherSnapshots
from dmsnap.library.pace import Pace
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.merged import refuse_other_merge, siblings, still_to_run
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.library.volumes.sources import snapshot_sources, store_source
from dmsnap.store import Store
from dmsnap.store.writable import DamagedStore, PersistentStore
from dmsnap.target.merging import MergeDevice
from dmsnap.target.snapshot import refuse_invalid
from dmsnap.target.status import store_status
from dmsnap.transfer.raw import Progress

__all__ = ["MergeResult", "merge"]

_MOST_STEP_BYTES = 1 << 30
"""What shares a flush: the medium takes scattered chunks far faster when it gets all of them at once."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a merge did, or would do.

    Attributes:
        dry_run: Whether nothing was done.
        chunks: Chunks of the snapshot that went into the origin: all that the store still held.
        runs: How many stretches of consecutive chunks they formed.
        written_bytes: What they came to on the origin.
        kept_bytes: What other snapshots got copies of before.
        status: The kernel's status words for the store, as it is now.
        still_to_run: Of a logical volume: the commands that tell LVM of it, in order; its metadata is as it was.
    """

    dry_run: bool
    chunks: int
    runs: int
    written_bytes: int
    kept_bytes: int
    status: str
    still_to_run: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        return asdict(self)


def merge(
    cow: Source,
    origin: Source | None = None,
    *,
    others: Source | Sequence[Source] = (),
    dry_run: bool = False,
    max_rate_bytes: int | None = None,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> MergeResult:
    """Writes the content of a snapshot back into its origin; afterwards the store is empty and may be deleted.

    It goes as in Linux, from the last change to the first, and what is merged is durable on the origin before the store
    forgets it. So it may end at any moment, by an exception, a ``kill -9`` or a power failure: another call goes on
    from there, and so can a kernel. What is merged already and what is not yet make up the snapshot's content together,
    in between also: `open_snapshot` reads the same at any stage.

    Every *other* store of the same origin is made wrong by that, unless it is among ``others``. Of a snapshot that is a
    logical volume (``lvm:VG/LV@…``) all others in the group are among them. LVM2's metadata is left as it is: what is
    to be run so that LVM lets go of the empty snapshot is ``still_to_run`` in the result.

    Args:
        cow: The COW store.
        origin: The device that the snapshot was taken of; None where LVM2 knows it.
        others: A store, or stores, of other snapshots of the same origin. They get copies of what is overwritten, so
            that their content stays.
        dry_run: Only look, open nothing for writing and say what would be done.
        max_rate_bytes: The most bytes a second to write to the origin.
        prefetch: How the stores' areas are read; as `open_snapshot`.
        trace: Records the loading of the stores, ``cow`` first.
        progress: Called as ``progress(done_bytes, total_bytes)`` now and then, in the calling thread.
        warn: Called with a line for what is doubtful about the origin and yet no error.

    Raises:
        DmsnapError: Before anything is written: a path cannot be opened (for writing), is in use (`InUse`) or named
            twice; a store is none, invalid or damaged; the origin cannot be the right one; an other store has no room
            for its copies. Later: `MergeFailed`, where a device failed or its disk is full: nothing is lost, and the
            same call goes on; `OtherSnapshotLost`, with everything merged.
    """
    with ExitStack() as stack:
        pace = Pace(max_rate_bytes, _step_bytes())
        volumes, write = OpenVolumes(stack), not dry_run
        cow, origin, volume = snapshot_sources(cow, origin, volumes, write_cow=write, write_origin=write)
        if volume is not None:
            refuse_other_merge(volume)
        below, store = open_origin_and_store(
            cow, origin, stack, prefetch=prefetch, trace=trace, write_cow=not dry_run, write_origin=not dry_run
        )
        _refuse(below, store, warn)
        kept = OtherSnapshots(below, store, stack, writable=not dry_run, prefetch=prefetch, trace=trace)
        named = [others] if isinstance(others, str | os.PathLike | BlockDevice) else others
        stores = [store_source(other, volumes, writable=write) for other in named]
        found = [volumes.find(other) for other in named]
        if volume is not None and any(map(volume.is_same, found)):
            raise SameDevice(f"{volume.name}: named twice", hint="name the stores of other snapshots")
        sizes = [None if other is None else other.snapshot_bytes for other in found]
        if volume is not None:
            for sibling in siblings(volume, {store.name for store in stores if isinstance(store, BlockDevice)}):
                stores.append(sibling.storage(writable=write))
                sizes.append(sibling.snapshot_bytes)
        kept.open(list(zip(stores, sizes, strict=True)))
        planned = MergeResult(
            dry_run=dry_run,
            chunks=len(store.table),
            runs=store.table.run_count,
            written_bytes=_written_bytes(below, store),
            kept_bytes=kept.copied_bytes,
            status=str(store_status(store)),
            still_to_run=() if volume is None else still_to_run(volume),
        )
        if dry_run:
            return planned
        writable = PersistentStore(store)
        stack.callback(writable.close)
        device = stack.enter_context(MergeDevice(below, writable, others=kept.in_use()))
        done, total = 0, planned.chunks * store.chunk_size_bytes

        def copied(step_bytes: int) -> None:
            if progress is not None:
                progress(done + step_bytes, total)

        while (step := device.step(pace.step_bytes, in_order=False, progress=copied)).chunks:
            done += step.chunks * store.chunk_size_bytes
            if done < total:
                pace.copied(step.copied_bytes)
        kept.refuse_losses()
        return replace(planned, status=str(device.status()))


def _step_bytes() -> int:
    """What to merge in one step; the page cache is to hold all of it, so that the COW device is read in its order."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on this system
        return _MOST_STEP_BYTES
    return min(_MOST_STEP_BYTES, memory // 4)


def _refuse(origin: BlockDevice, store: Store, warn: Warn | None) -> None:
    """Raises what stands in the way of merging a store into an origin."""
    refuse_invalid(store)
    judge_origin(origin, store, refuse=True, warn=warn, way_out="nothing was changed")
    for finding in store.findings:
        raise DamagedStore(
            f"{store.device.name}: damaged, so that it is not merged: {finding.message}",
            hint="nothing was changed; 'dmsnap export' writes what can still be read to a new image",
            device=store.device.name,
        )


def _written_bytes(origin: BlockDevice, store: Store) -> int:
    """The size of all copies, without what lies past the origin's end."""
    size, chunk = origin.size_bytes, store.chunk_size_bytes
    last = size // chunk
    past = chunk - size % chunk if size % chunk and store.table.lookup(last) is not None else 0
    return len(store.table) * chunk - past
