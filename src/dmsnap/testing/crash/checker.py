"""Judges what a crash left: does every store load, is everything there that was promised, and nothing else?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.errors import DmsnapError
from dmsnap.store import EmptyStore, Store
from dmsnap.target import SnapshotDevice
from dmsnap.testing.crash.expectation import Expectation, ExpectedSnapshot
from dmsnap.testing.crash.image_device import ImageDevice
from dmsnap.testing.crash.stores import StoreLoader
from dmsnap.testing.crash.volatile_disk import VolatileDisk

__all__ = ["Checker"]

_TOLD_SECTORS = 4


class Checker:
    """Judges images, any number of them."""

    def __init__(self) -> None:
        self._stores = StoreLoader()

    def problems(self, contents: Sequence[bytearray], expected: Expectation) -> list[str]:
        """Returns what is wrong with the devices after a crash: one line each, none if all is well.

        Args:
            contents: Of each device; not changed.
            expected: What was promised until the crash.
        """
        origin = contents[expected.origin_disk]
        merging = [expected.snapshots[expected.merging].disk] if expected.merging else []
        found = list(_wrong_sectors("origin", origin, expected.origin, *merging))
        for name, snapshot in expected.snapshots.items():
            found += [f"{name}: {line}" for line in self._snapshot(origin, contents[snapshot.cow_disk], snapshot)]
        for name, disk in expected.merged.items():
            found += [f"{name}: {line}" for line in self._merged(contents[disk], len(origin))]
        return found

    def _snapshot(self, origin: bytearray, cow: bytearray, expected: ExpectedSnapshot) -> Iterator[str]:
        try:
            store = self._stores.load(cow, len(origin))
        except EmptyStore as error:
            if expected.created:
                yield f"its store is gone: {error}"
            return
        except DmsnapError as error:
            yield f"its store does not load: {error}"
            return
        if not store.valid:
            if not expected.may_be_invalid:
                yield "its store is marked invalid, for no reason"
            return
        yield from _impossible_records(store)
        unrecorded = [chunk for chunk in expected.recorded if store.table.lookup(chunk) is None]
        if unrecorded:
            yield f"no record of chunks {sorted(unrecorded)}, which were to be durable"
        try:
            content = SnapshotDevice(ImageDevice(origin, "origin"), store).read_at(0, len(origin))
        except DmsnapError as error:
            yield f"it cannot be read: {error}"
            return
        yield from _wrong_sectors("snapshot", content, expected.disk)

    def _merged(self, cow: bytearray, origin_bytes: int) -> Iterator[str]:
        try:
            store = self._stores.load(cow, origin_bytes)
        except DmsnapError as error:
            yield f"merged, but its store does not load: {error}"
            return
        if len(store.table):
            yield f"merged, but its store has {len(store.table)} exceptions, which would be merged again"


def _impossible_records(store: Store) -> Iterator[str]:
    """Yields what is wrong with the records, whether or not anything reads through them."""
    for finding in store.findings:
        yield finding.message
    copies: set[int] = set()
    for runs in store.table.batches():
        for cow, length in zip(runs.cow.tolist(), runs.length.tolist(), strict=True):
            copies.update(range(cow, cow + length))
    if len(copies) < len(store.table):
        yield f"{len(store.table) - len(copies)} records share the copy of another one"
    beyond = [chunk for chunk in copies if chunk >= store.next_free]
    if beyond:
        yield f"copies in chunks that are free: {beyond}"


def _wrong_sectors(name: str, content: bytearray, disk: VolatileDisk, *others: VolatileDisk) -> Iterator[str]:
    wrong = disk.impossible(content, *others)
    for sector in wrong[:_TOLD_SECTORS]:
        held = content[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES]
        right = [content for one in (disk, *others) for content in one.contents(sector)]
        yield f"{name}: sector {sector} holds {_told(held)}, not {' or '.join(map(_told, dict.fromkeys(right)))}"
    if len(wrong) > _TOLD_SECTORS:
        yield f"{name}: and {len(wrong) - _TOLD_SECTORS} more sectors"


def _told(content: bytes | bytearray) -> str:
    return "zeros" if not any(content) else f"{content[:16].hex()}…"
