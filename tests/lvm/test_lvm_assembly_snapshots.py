"""Snapshots and origins as devices, merging ones too."""

from __future__ import annotations

import random
from contextlib import ExitStack

import pytest
from small_groups import EXTENT, Disks, area, linear, lv, snapshot

from dmsnap.block import BlockDevice, ReadOnlyDevice
from dmsnap.lvm.assembly import Assembly, NotAssembled
from dmsnap.lvm.model import LogicalVolume
from dmsnap.store import create_store, open_store
from dmsnap.store.persistent import EmptyStore
from dmsnap.store.writable import PersistentStore
from dmsnap.target.snapshot import SnapshotInvalid
from dmsnap.target.writable_snapshot import WritableSnapshot

ORIGIN = lv("origin", linear(area("pv0", 4), 16))
SIZE = 16 * EXTENT


def store_volume(name: str, number: int) -> LogicalVolume:
    """A volume for a store, in two stretches."""
    first, second = linear(area("pv1", 20 * number), 3), linear(area("pv2", 20 * number), 13, start=3)
    return lv(name, first, second)


def change(origin: BlockDevice, cow: BlockDevice, seed: int, *, chunk_sectors: int = 8, lose: bool = False) -> bytes:
    """Makes a store with some changes of a fixed seed, and returns what the snapshot shows."""
    create_store(cow, chunk_sectors)
    with ExitStack() as stack:
        store = PersistentStore(open_store(cow))
        stack.callback(store.close)
        device = stack.enter_context(WritableSnapshot(origin, store))
        dice = random.Random(seed)
        for _ in range(5):
            device.write_at(dice.randrange(SIZE // 512) * 512, dice.randbytes(512))
        device.flush()
        content = bytes(device.read_at(0, SIZE))
        if lose:
            store.drop()
        return content


def with_snapshots(disks: Disks, *, merging: str = "") -> Assembly:
    """An origin with two snapshots."""
    return disks.assembled(
        ORIGIN,
        store_volume("first", 0),
        store_volume("second", 1),
        snapshot("first", "origin", 16, merging=merging == "first"),
        snapshot("second", "origin", 16, merging=merging == "second"),
        lv("other", linear(area("pv0", 30), 4)),
    )


def test_each_snapshot_shows_its_own_content_and_the_origin_its_own() -> None:
    disks = Disks()
    group = with_snapshots(disks)
    before = disks.content("pv0", 4, 16)
    first = change(group.storage("origin"), group.storage("first"), 1)
    second = change(group.storage("origin"), group.storage("second"), 2, chunk_sectors=16)
    assert len({first, second, before}) == 3
    assert group.device("first").read_at(0, SIZE) == first
    assert group.device("second").read_at(0, SIZE) == second
    assert group.device("origin").read_at(0, SIZE) == before


def test_who_is_whose_is_told() -> None:
    group = with_snapshots(Disks(), merging="second")
    assert group.origin_of("first") == "origin"
    assert group.origin_of("origin") is None
    assert group.snapshots_of("origin") == ("first", "second")
    assert group.snapshots_of("other") == ()
    merging = [name for name in ("origin", "first", "second", "other") if group.is_merging(name)]
    assert merging == ["origin", "second"]


def test_an_origin_with_snapshots_is_written_to_by_way_of_its_storage_alone() -> None:
    group = with_snapshots(Disks())
    with pytest.raises(ReadOnlyDevice):
        group.device("origin").write_at(0, bytes(512))
    group.storage("origin").write_at(0, bytes(512))
    group.device("other").write_at(0, bytes(512))


def test_the_parts_of_a_snapshot_are_its_origins_storage_and_its_store() -> None:
    disks = Disks()
    group = with_snapshots(disks)
    parts = group.snapshot_parts("second")
    assert parts is not None
    content = change(*parts, 3)
    assert group.device("second").read_at(0, SIZE) == content
    assert group.snapshot_parts("origin") is None
    with pytest.raises(NotAssembled, match="no such volume"):
        group.snapshot_parts("nobody")


def test_an_origin_that_is_merging_shows_what_it_will_be() -> None:
    disks = Disks()
    group = with_snapshots(disks, merging="first")
    first = change(group.storage("origin"), group.storage("first"), 1)
    second = change(group.storage("origin"), group.storage("second"), 2)
    assert group.device("origin").read_at(0, SIZE) == first
    assert group.device("second").read_at(0, SIZE) == second
    assert group.storage("origin").read_at(0, SIZE) == disks.content("pv0", 4, 16)


def test_a_snapshot_that_is_merging_has_no_content_of_its_own() -> None:
    group = with_snapshots(Disks(), merging="first")
    with pytest.raises(NotAssembled, match="being merged into origin") as error:
        group.device("first")
    assert "vg-a/origin" in error.value.hint
    assert group.storage("first").size_bytes == 16 * EXTENT


def test_merging_an_invalid_snapshot_changes_nothing() -> None:
    disks = Disks()
    group = with_snapshots(disks, merging="first")
    change(group.storage("origin"), group.storage("first"), 1, lose=True)
    device = group.device("origin")
    assert device.read_at(0, SIZE) == disks.content("pv0", 4, 16)
    assert device.read_only


def test_an_invalid_snapshot_reads_as_such() -> None:
    group = with_snapshots(Disks())
    change(group.storage("origin"), group.storage("first"), 1, lose=True)
    with pytest.raises(SnapshotInvalid):
        group.device("first").read_at(0, 512)


def test_a_store_that_was_never_used_is_said_to_be_empty() -> None:
    group = with_snapshots(Disks())
    group.storage("first").zero(0, 4096)
    with pytest.raises(EmptyStore):
        group.device("first")


def test_a_snapshot_is_as_long_as_its_segment() -> None:
    group = Disks().assembled(ORIGIN, store_volume("short", 0), snapshot("short", "origin", 12))
    change(group.storage("origin"), group.storage("short"), 1)
    assert group.device("short").size_bytes == 12 * EXTENT


def test_a_snapshot_that_is_longer_than_its_origin_is_refused() -> None:
    group = Disks().assembled(ORIGIN, store_volume("long", 0), snapshot("long", "origin", 17))
    change(group.storage("origin"), group.storage("long"), 1)
    with pytest.raises(NotAssembled, match="cannot be a snapshot of origin"):
        group.device("long")


def test_the_volume_that_only_says_so_has_no_content() -> None:
    with pytest.raises(NotAssembled, match="says that another volume is a snapshot") as error:
        with_snapshots(Disks()).device("snapshot-first")
    assert error.value.hint == "ask for vg-a/first"


def test_a_snapshot_whose_origin_is_missing_names_the_physical_volume() -> None:
    disks = Disks()
    group = disks.assembled(ORIGIN, store_volume("first", 0), snapshot("first", "origin", 16), without="pv0")
    with pytest.raises(NotAssembled, match="uuid-pv0"):
        group.device("first")
