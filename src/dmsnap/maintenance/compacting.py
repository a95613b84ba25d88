"""The smallest store with the same content: another stream of events, with the numbers that a kernel would give.

Chunks that nothing points at are not in it, nor are records that do not count, nor, if asked, chunks that are equal to
the origin. The order of the records stays, so that a merge goes on as it would have; or it is that of the origin. Any
order is right to a kernel, which merges from the last record to the first and takes those together that descend by one
in both numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.maintenance.distinct import Pairs, in_metadata_order, in_origin_order
from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions
from dmsnap.maintenance.gathering import BATCH_BYTES, Content, Gathered, gather, nonzero, unlike
from dmsnap.maintenance.progress import Progress
from dmsnap.maintenance.rechunking import divided, exceptions_at, joined, joined_in_origin_order
from dmsnap.maintenance.room import copies_in_order, needed_bytes
from dmsnap.store import Kind, Store
from dmsnap.store.format import MAGIC, SECTOR_BYTES, VERSION, Header, check_chunk_size
from dmsnap.target.snapshot import SnapshotDevice

__all__ = ["NeedsOrigin", "NotSound", "compacted", "refuse_unsound"]


class NotSound(DmsnapError):
    """A store that has lost some of its content."""


class NeedsOrigin(DmsnapError, ValueError):
    """Something that cannot be known without the origin."""


def compacted(
    store: Store,
    *,
    origin: BlockDevice | None = None,
    chunk_size_sectors: int | None = None,
    drop_unchanged: bool = False,
    sort: bool = False,
    prefetch: str | int = "auto",
    progress: Progress | None = None,
) -> Events:
    """Returns the stream of a store with the same content; both devices are only read.

    It holds some batches of 8 MiB, or of one chunk where that is larger. Chunks of zeros have no `Data`: what the store
    is written to has to read as zeros.

    Args:
        store: Loaded with the origin's size where there is an origin.
        origin: What the snapshot was taken of.
        chunk_size_sectors: Another chunk size; needs the origin.
        drop_unchanged: Leave out chunks that are equal to the origin, which it needs. The device size in the stream's
            beginning is what would be needed if none were.
        sort: Put the records in the order of the origin.
        prefetch: How the metadata is read, as for `dmsnap.store.open_store`.
        progress: Called after each batch.

    Raises:
        NotSound: The store is invalid, or damaged in a way that lost content.
        NeedsOrigin: There is none.
        BadChunkSize: By the kernel's rules.
        IOFailed: Something cannot be read; while the stream is read.
    """
    refuse_unsound(store)
    sectors = chunk_size_sectors or store.chunk_size_sectors
    if origin is None and (drop_unchanged or sectors != store.chunk_size_sectors):
        what = "to drop unchanged chunks" if drop_unchanged else "for another chunk size"
        raise NeedsOrigin(f"{store.device.name}: {what} the origin is needed", hint="name it with --origin (origin=…)")
    blocks = () if origin is None else (origin.logical_block_size_bytes,)
    check_chunk_size(sectors, store.device.logical_block_size_bytes, *blocks)
    most = exceptions_at(store, sectors, None if origin is None else origin.size_bytes)
    source, pairs = _sources(store, origin, sectors, sort=sort, prefetch=prefetch)
    compared = origin if drop_unchanged else None
    return _stream(source, pairs, sectors, compared, most, progress)


def refuse_unsound(store: Store) -> None:
    """Does nothing for a store whose content is all there; duplicates are no harm.

    Raises:
        NotSound: It is invalid or damaged.
    """
    if not store.valid:
        raise NotSound(
            f"{store.device.name}: the snapshot is marked invalid",
            hint="'dmsnap repair' saves what can be saved",
            device=store.device.name,
        )
    for finding in store.findings:
        if finding.kind is not Kind.DUPLICATE:
            raise NotSound(
                f"{store.device.name}: {finding.message}",
                hint="'dmsnap check' says more, and 'dmsnap repair' saves what can be saved",
                device=store.device.name,
            )


def _sources(
    store: Store, origin: BlockDevice | None, sectors: int, *, sort: bool, prefetch: str | int
) -> tuple[BlockDevice, Iterator[Pairs]]:
    """Returns the exceptions of the result, and the device on which their content lies, both in its chunk size.

    With chunks of the same size or smaller ones that is the COW device, where consecutive copies lie side by side;
    larger ones take parts of the origin, so there it is the snapshot itself.
    """
    own = store.chunk_size_sectors
    if sectors > own:
        assert origin is not None
        parts = sectors // own
        larger = (
            joined_in_origin_order(store.table, parts)
            if sort
            else joined(in_metadata_order(store, prefetch), store.table, parts)
        )
        return SnapshotDevice(origin, store), (Pairs(chunks, chunks) for chunks in larger)
    pairs = in_origin_order(store.table) if sort else in_metadata_order(store, prefetch)
    if sectors < own:
        assert origin is not None
        pairs = divided(pairs, own // sectors, -(-origin.size_bytes // (sectors * SECTOR_BYTES)))
    return store.device, pairs


def _stream(
    source: BlockDevice,
    pairs: Iterator[Pairs],
    sectors: int,
    compared: BlockDevice | None,
    most: int,
    progress: Progress | None,
) -> Events:
    chunk_bytes = sectors * SECTOR_BYTES
    yield Begin(Header(MAGIC, 1, VERSION, sectors), needed_bytes(most, sectors))
    done = count = 0
    for chunks, content, before in _contents(source, pairs, chunk_bytes, compared):
        done += len(chunks.origin)
        origin, new = chunks.origin, content.wait()
        if before is not None:
            assert compared is not None
            changed = _changed(origin, new, before.wait(), compared.size_bytes)
            if not changed.all():
                origin, new = origin[changed], new[changed]
        if len(origin):
            copies = copies_in_order(count, len(origin), sectors)
            yield Exceptions(count, np.column_stack((origin, copies)).astype(np.uint64))
            yield from _data(copies, new)
            count += len(origin)
        if progress is not None:
            progress(done * chunk_bytes, most * chunk_bytes)
    yield End(count)


def _contents(
    source: BlockDevice, pairs: Iterator[Pairs], chunk_bytes: int, compared: BlockDevice | None
) -> Iterator[tuple[Pairs, Gathered, Gathered | None]]:
    """Yields exceptions with their content, and that of the origin if asked; the next ones are read meanwhile."""
    waiting = None
    most = max(1, BATCH_BYTES // chunk_bytes)
    for many in pairs:
        for at in range(0, len(many.origin), most):
            part = Pairs(many.origin[at : at + most], many.source[at : at + most])
            before = None if compared is None else gather(compared, part.origin, chunk_bytes)
            started = part, gather(source, part.source, chunk_bytes), before
            if waiting is not None:
                yield waiting
            waiting = started
    if waiting is not None:
        yield waiting


def _changed(origin: np.ndarray, new: Content, before: Content, origin_bytes: int) -> np.ndarray:
    """Which chunks differ from the origin, as far as that goes: behind its end a copy may hold anything."""
    chunk_bytes = new.shape[1] * 8
    if origin_bytes % chunk_bytes:
        last = np.flatnonzero(origin == origin_bytes // chunk_bytes)
        behind = origin_bytes % chunk_bytes // 8
        before[last, behind:] = new[last, behind:]
    return unlike(new, before)


def _data(copies: np.ndarray, content: Content) -> Iterator[Data]:
    """Yields chunks that are not zeros, those that follow each other together."""
    octets = content.reshape(-1).view(np.uint8).data
    chunk_bytes = content.shape[1] * 8
    rows = np.flatnonzero(nonzero(content))
    breaks = np.flatnonzero(np.diff(copies[rows]) != 1) + 1
    for span in np.split(rows, breaks):
        if len(span):
            first, stop = int(span[0]), int(span[-1]) + 1
            yield Data(int(copies[first]), octets[first * chunk_bytes : stop * chunk_bytes])
