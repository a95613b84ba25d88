"""The persistent store, writing: what Linux dm-snap-persistent does, with commits that may wait for a flush."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np

from dmsnap.block.contract import SECTOR_BYTES, IOFailed, OutOfRoom, ReadOnlyDevice
from dmsnap.errors import DmsnapError
from dmsnap.store.allocation import ChunkAllocator
from dmsnap.store.areas import MetadataAreas, Records
from dmsnap.store.exception_store import AreaBeyondDevice, ExceptionStore, NewRun, Usage
from dmsnap.store.finding import Kind
from dmsnap.store.format import (
    FIRST_DATA_CHUNK,
    Header,
    area_chunk,
    exceptions_per_area,
    is_metadata_chunk,
    pack_header,
)
from dmsnap.store.growing_table import GrowingTable
from dmsnap.store.persistent import Store

__all__ = ["DamagedStore", "PersistentStore", "refuse_damaged"]

_SOUND = {Kind.DUPLICATE, Kind.OUTSIDE_ORIGIN}
"""Findings that do not stand in the way of writing."""


class DamagedStore(DmsnapError):
    """A store whose records cannot be right must not be added to."""


def refuse_damaged(store: Store) -> None:
    """Does nothing if a store can be added to.

    Raises:
        DamagedStore: Records point into metadata, outside the device or are otherwise impossible.
    """
    for finding in store.findings:
        if finding.kind not in _SOUND:
            raise DamagedStore(
                f"{store.device.name}: damaged, so that nothing must be added: {finding.message}",
                hint="read what is there: every intact chunk can be exported",
                device=store.device.name,
            )


class PersistentStore(ExceptionStore):
    """A loaded store that goes on.

    Args:
        store: From `open_store`; its device must be writable. Nobody else may write to it.
        overflow: Whether this is type ``PO``.
        spare_last_slot: Linux invalidates a snapshot when the last slot of an area is used and the next area would lie
            past the end of the device, though all data fitted (with 4 KiB chunks: a COW device of 256 MiB). With this
            the store says that it is full one exception earlier instead.

    Raises:
        DamagedStore: Records point into metadata, outside the device or are otherwise impossible.
        ReadOnlyDevice: The device was opened to look.
    """

    def __init__(self, store: Store, *, overflow: bool = False, spare_last_slot: bool = False) -> None:
        refuse_damaged(store)
        if store.device.read_only:
            raise ReadOnlyDevice(
                f"{store.device.name}: opened read-only", hint="open it for writing", device=store.device.name
            )
        self.device = store.device
        self.chunk_size_sectors = store.chunk_size_sectors
        self.kind = "PO" if overflow else "P"
        self.valid = store.valid
        self.findings = store.findings
        self.table = GrowingTable(store.table)
        self._header = store.header
        self._per_area = exceptions_per_area(store.chunk_size_sectors)
        self._allocator = ChunkAllocator(self._per_area, store.next_free)
        self._areas = MetadataAreas(store.device, store.chunk_size_sectors, store.areas - 1, store.committed)
        self._device_chunks = self._chunks_now()
        self._spare_last_slot = spare_last_slot
        self._outstanding = 0  # chunks allocated and not yet recorded or given back
        self._records = (store.areas - 1) * self._per_area + store.committed  # those that wait are counted
        self._waiting: list[NewRun] = []
        self._lock = threading.Lock()  # of what waits
        self._writing = threading.Lock()  # of the areas
        self._flushes_failed = store.device.failed_flushes  # before the first of the copies that are not recorded
        self._merged = False  # whether `next_free` is an estimate
        self._doubtful = False  # whether copies may be lost, so that nothing more must be recorded
        self._marked = not store.valid  # whether the header says that the snapshot is invalid

    # -- exceptions ---------------------------------------------------------------------------------------------------

    def allocate(self, first: int, count: int) -> list[NewRun]:
        runs: list[NewRun] = []
        if not self._outstanding and not self._waiting:  # no copies are at stake: what was lost before is not ours
            self._flushes_failed = self.device.failed_flushes
        if self._merged:
            self._allocator.next_free = self._behind_the_last_copy()
            self._merged = False
        while count:
            most = self._before_last_slot(count) if self._spare_last_slot else count
            cow, got = self._allocator.take(most, self._device_chunks) if most else (0, 0)
            if not got:
                if (chunks := self._chunks_now()) > self._device_chunks:
                    self._device_chunks = chunks
                    continue
                break
            runs.append(NewRun(first, cow, got))
            self._outstanding += got
            first += got
            count -= got
        return runs

    def give_back(self, runs: list[NewRun]) -> None:
        for _, cow, length in reversed(runs):
            self._allocator.give_back(cow, length)
            self._outstanding -= length

    def record(self, runs: list[NewRun]) -> None:
        count = sum(run.length for run in runs)
        with self._lock:
            if self._waiting[-1:] == runs[-1:]:
                return
            if not self._fits(self._records + count):
                self._outstanding -= count
                raise AreaBeyondDevice(
                    f"{self.device.name}: the next metadata area would lie past the end of the COW device",
                    hint="make the COW device a chunk larger or smaller; Linux invalidates the snapshot here",
                    device=self.device.name,
                )
            self._waiting += runs  # no calls from here on, so that Ctrl-C comes before or behind all three
            self._records += count
            self._outstanding -= count

    def commit(self) -> bool:
        with self._writing:
            return self.valid and self._commit()

    def _commit(self) -> bool:
        with self._lock:
            batch, self._waiting = self._waiting, []
            flushes_failed = self._flushes_failed
        if not batch:
            return False
        try:
            self._areas.append(_as_records(batch), flushes_failed)
        except BaseException as error:
            with self._lock:
                self._waiting[:0] = batch
            self._doubtful = self._doubtful or not isinstance(error, OutOfRoom)
            raise
        return True

    def drop(self) -> None:
        with self._writing:
            if self.valid and not self._doubtful:
                with suppress(IOFailed):  # what is complete is on the device before, as it is in a kernel
                    self._commit()
            self.valid = False
            if not self._marked:
                with suppress(IOFailed):
                    self._mark_invalid()

    def _mark_invalid(self) -> None:
        """Writes the header anew.

        The kernel writes the whole chunk. Here the block with the header goes first, so that no crash can leave a chunk
        of zeros, which would be a new and empty store.
        """
        header = pack_header(Header(self._header.magic, 0, self._header.version, self.chunk_size_sectors))
        block = max(SECTOR_BYTES, self.device.logical_block_size_bytes)
        self.device.write_at(0, header.ljust(block, b"\0"), fua=True)
        self._marked = True
        if self.chunk_size_bytes > block:
            self.device.zero(block, self.chunk_size_bytes - block)

    # -- merging ------------------------------------------------------------------------------------------------------

    def last_records(self, most: int) -> list[Records]:
        """Returns up to ``most`` of the last records, the last one first, each area's by itself.

        Like the kernel it steps back from an area without records, which `usage` shows.

        Raises:
            IOFailed: A metadata area could not be read.
        """
        with self._writing:
            self._areas.step_back()
            return [records[::-1] for records in self._areas.last(most)]

    def clear_last(self, count: int) -> None:
        """Removes the last ``count`` records from the device, durably; the table is not touched.

        Raises:
            IOFailed: The device failed.
        """
        with self._writing:
            self._areas.clear_last(count)
            self._records -= count
            # What the kernel takes from now on for the chunk behind the last one in use: right where every chunk was
            # recorded in its turn, so good enough for `usage` alone.
            self._allocator.next_free = area_chunk(self._areas.area, self._per_area) + self._areas.committed + 1
            self._merged = True

    # -- the rest -----------------------------------------------------------------------------------------------------

    def usage(self) -> Usage:
        with self._lock:
            area = self._records // self._per_area if self._waiting else self._areas.area
        chunk = self.chunk_size_sectors
        total = self.device.size_bytes // SECTOR_BYTES
        return Usage(self._allocator.next_free * chunk & (1 << 64) - 1, total, (area + 2) * chunk)

    def close(self) -> None:
        self._areas.close()

    def _chunks_now(self) -> int:
        return self.device.size_bytes // self.chunk_size_bytes

    def _fits(self, records: int) -> bool:
        """Whether the area that the end marker of so many records is in lies on the device.

        Linux fails, and invalidates the snapshot, where it does not: with as many chunks on the device as 1 + a
        multiple of (records in an area + 1), the last data chunk fills the last area (dm-snapshot, all versions).
        """
        chunk = area_chunk(records // self._per_area, self._per_area)
        if chunk >= self._device_chunks:
            self._device_chunks = self._chunks_now()
        return chunk < self._device_chunks

    def _before_last_slot(self, count: int) -> int:
        """How many of ``count`` records more may come without an area filling up that has no successor."""
        with self._lock:
            taken = self._records + self._outstanding
        while count and not self._fits(taken + count):
            count = max(0, count - 1 - (taken + count) % self._per_area)
        return count

    def _behind_the_last_copy(self) -> int:
        """The chunk that a kernel would take next if it loaded the store now."""
        copies = (int((runs.cow + runs.length).max()) for runs in self.table.batches())
        chunk = max(copies, default=FIRST_DATA_CHUNK)
        return chunk + is_metadata_chunk(chunk, self._per_area)


def _as_records(runs: list[NewRun]) -> Records:
    records = np.empty((sum(run.length for run in runs), 2), "<u8")
    at = 0
    for origin, cow, length in runs:
        if length == 1:
            records[at] = origin, cow
        else:
            steps = np.arange(length, dtype=np.uint64)
            records[at : at + length, 0] = steps + np.uint64(origin)
            records[at : at + length, 1] = steps + np.uint64(cow)
        at += length
    return records
