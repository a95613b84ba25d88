"""Mistakes in the real targets are found, each by a program that is looked at in every test run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.store.areas import MetadataAreas
from dmsnap.store.writable import PersistentStore
from dmsnap.target import merging
from dmsnap.target.exceptions import Exceptions
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.writable_snapshot import WritableSnapshot
from dmsnap.testing.crash import running
from dmsnap.testing.crash.campaign import tally

Patch = pytest.MonkeyPatch


@contextmanager
def unflushed(device: BlockDevice) -> Iterator[None]:
    """Flushes of a device do nothing meanwhile."""
    device.flush = lambda: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        del device.flush


def copies_unflushed(patch: Patch) -> None:
    patch.setattr(MetadataAreas, "_flush_copies", lambda self, flushes_failed: None)


def area_before_its_successor(patch: Patch) -> None:
    right = MetadataAreas.append

    def append(self: Any, records: Any, flushes_failed: int) -> None:
        room = self.per_area - self.committed
        if len(records) >= room:
            self._flush_copies(flushes_failed)
            self._put(self.area, self.committed, records[:room])
            self._client.write_dirty()
        right(self, records, flushes_failed)

    patch.setattr(MetadataAreas, "append", append)


def successor_not_zeroed(patch: Patch) -> None:
    def begin(self: Any, area: int, records: Any) -> None:
        self._put(area, 0, records)

    patch.setattr(MetadataAreas, "_begin", begin)


def stale_records_left(patch: Patch) -> None:
    patch.setattr(MetadataAreas, "_clear_behind", lambda self: None)


def cleared_unflushed(patch: Patch) -> None:
    right = MetadataAreas.clear_last

    def clear_last(self: Any, count: int) -> None:
        with unflushed(self._device):
            right(self, count)

    patch.setattr(MetadataAreas, "clear_last", clear_last)


def dropped_unflushed(patch: Patch) -> None:
    right = PersistentStore._mark_invalid

    def mark(self: Any) -> None:
        write = self.device.write_at
        self.device.write_at = lambda offset, data, fua=False: write(offset, data)
        try:
            right(self)
        finally:
            del self.device.write_at

    patch.setattr(PersistentStore, "_mark_invalid", mark)


def created_unflushed(patch: Patch) -> None:
    right = running.create_store

    def create(device: BlockDevice, chunk_sectors: int) -> None:
        with unflushed(device):
            right(device, chunk_sectors)
        device.flush()

    patch.setattr(running, "create_store", create)


def copied_out_uncommitted(patch: Patch) -> None:
    def copy_out(self: Any, ranges: list[tuple[int, int]]) -> None:
        try:
            for first, stop in ranges:
                if self.valid:
                    self._copy_out(first, stop)
        except DmsnapError as error:
            self.invalidate(error)

    patch.setattr(Exceptions, "copy_out", copy_out)


def volatile_ignored(patch: Patch) -> None:
    patch.setattr(Exceptions, "_volatile", property(lambda self: {}, lambda self, value: None), raising=False)


def lazy_commits(patch: Patch) -> None:
    right = Exceptions.__init__

    def init(self: Any, origin: Any, store: Any, *rest: Any, **named: Any) -> None:
        right(self, origin, store, "flush")

    patch.setattr(Exceptions, "__init__", init)


def flushed_uncommitted(patch: Patch) -> None:
    patch.setattr(WritableSnapshot, "_flush", lambda self: self._cow.flush())


def forced_write_not_copied_out(patch: Patch) -> None:
    patch.delattr(OriginDevice, "_write_durably")


def rest_of_chunk_not_copied(patch: Patch) -> None:
    def fill(self: Any, run: Any, start: int, end: int, data: Any) -> None:
        begin = max(start, run.origin << self._shift)
        finish = min(end, (run.origin + run.length) << self._shift)
        self._put(run.origin, run.cow, begin, finish, data, start)

    patch.setattr(WritableSnapshot, "_fill", fill)


def cleared_before_the_origin_is_flushed(patch: Patch) -> None:
    right = MergeDevice._clear

    def clear(self: Any, merged: Any) -> None:
        with unflushed(self.origin):
            right(self, merged)

    patch.setattr(MergeDevice, "_clear", clear)


def cleared_before_copied(patch: Patch) -> None:
    merge, clear = MergeDevice._merge, MergeDevice._clear

    def cleared(self: Any, runs: Any, *rest: Any) -> Any:
        clear(self, runs)
        return merge(self, runs, *rest)

    patch.setattr(MergeDevice, "_merge", cleared)
    patch.setattr(MergeDevice, "_clear", lambda self, merged: self.origin.flush())


def merged_over_others(patch: Patch) -> None:
    right = MergeDevice._begin

    def begin(self: Any, runs: Any) -> None:
        others, self._others = self._others, OriginSnapshots()
        try:
            right(self, runs)
        finally:
            self._others = others

    patch.setattr(MergeDevice, "_begin", begin)


def written_over_others_in_a_merge(patch: Patch) -> None:
    patch.setattr(merging, "OriginDevice", lambda origin, others: origin)


def merge_flushes_no_copies(patch: Patch) -> None:
    patch.setattr(MergeDevice, "_flush", lambda self: self.origin.flush())


def merge_flushes_no_origin(patch: Patch) -> None:
    patch.setattr(MergeDevice, "_flush", lambda self: self._cow.flush())


def chunk_used_again(patch: Patch) -> None:
    right = PersistentStore.__init__

    def init(self: Any, store: Any, **named: Any) -> None:
        right(self, store, **named)
        self._allocator.next_free = max(2, self._allocator.next_free - 1)

    patch.setattr(PersistentStore, "__init__", init)


MUTANTS: dict[Callable[[Patch], None], str] = {
    copies_unflushed: "writes/flush/short/0",
    area_before_its_successor: "turnover/flush/short/2",
    successor_not_zeroed: "turnover/flush/short/1",
    stale_records_left: "refill/flush/short/0",
    cleared_unflushed: "merge/flush/short/5",
    dropped_unflushed: "invalidation/flush/short/1",
    created_unflushed: "creation/flush/short/0",
    copied_out_uncommitted: "copy-out/flush/short/0",
    volatile_ignored: "uncommitted/flush/short/0",
    lazy_commits: "writes/commit/short/0",
    flushed_uncommitted: "writes/flush/short/0",
    forced_write_not_copied_out: "copy-out/flush/short/1",
    rest_of_chunk_not_copied: "writes/flush/short/1",
    cleared_before_the_origin_is_flushed: "merge/flush/short/0",
    cleared_before_copied: "merge/flush/short/0",
    merged_over_others: "merge/flush/short/1",
    written_over_others_in_a_merge: "merge/flush/short/2",
    merge_flushes_no_copies: "merge/flush/short/1",
    merge_flushes_no_origin: "merge/flush/short/7",
    chunk_used_again: "writes/flush/short/3",
}
"""What is done wrong, and where that shows."""


@pytest.mark.parametrize("mistake", MUTANTS, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_found(mistake: Callable[[Patch], None], monkeypatch: Patch) -> None:
    mistake(monkeypatch)
    assert tally(MUTANTS[mistake]).failure is not None


@pytest.mark.parametrize("program", sorted(set(MUTANTS.values())))
def test_without_a_mistake_nothing_is_found(program: str) -> None:
    assert tally(program).failure is None
