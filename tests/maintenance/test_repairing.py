"""Repairing: every named damage, stores of the kernel that are sound, and any bytes at all."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmsnap.block.contract import BlockDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.open import open_device
from dmsnap.block.wrap.fault import FaultDevice, fail_range
from dmsnap.maintenance.checking import check_store
from dmsnap.maintenance.doubtful_ranges import Trust, judged_ranges
from dmsnap.maintenance.repair_report import RepairReport
from dmsnap.maintenance.repairing import CannotRepair, NotAccepted, Repair
from dmsnap.store import EmptyStore, NotAStore, open_store
from dmsnap.store.finding import Kind, Severity
from dmsnap.testing.fixtures import load, names
from dmsnap.testing.named_damage import NAMED_DAMAGES, ORIGIN_BYTES, NamedDamage, sound_store_with_room
from dmsnap.testing.store_builder import in_allocation_order
from dmsnap.testing.strategies import any_bytes, damaged_stores

CHUNK = 512
SOUND = sound_store_with_room()
LOST_CHUNKS = {
    "truncated": {198, 201, 204, 207},
    "chain-past-the-end": {192, 195, 198, 201, 204, 207},
    "unreadable": set(range(96, 192, 3)),
    "duplicate": {120},  # what was chunk 120 says that it is chunk 9 now
    "early-end": {120},  # its record is zeros
}
"""By damage: what cannot be had, by any means."""


def repaired(device: BlockDevice, *accept: str, origin_bytes: int | None = None) -> tuple[MemoryDevice, Repair]:
    origin = None if origin_bytes is None else MemoryDevice(origin_bytes)
    repair = Repair(device, origin=origin, accept=accept)
    out = MemoryDevice(repair.report.size_bytes)
    assert repair.write(out).written
    return out, repair


def content(device: BlockDevice) -> dict[int, bytes]:
    """What a store holds, by origin chunk, through the loader."""
    store = open_store(device)
    size = store.chunk_size_bytes
    return {
        origin + step: bytes(device.read_at((cow + step) * size, size))
        for runs in store.table.batches()
        for origin, cow, length in zip(runs.origin.tolist(), runs.cow.tolist(), runs.length.tolist(), strict=True)
        for step in range(length)
    }


def damages(device: BlockDevice) -> list[str]:
    return [found.kind.value for found in check_store(device).findings if found.severity is Severity.DAMAGE]


DAMAGED = [named for named in NAMED_DAMAGES.values() if named.severity is Severity.DAMAGE]


@pytest.mark.parametrize("named", DAMAGED, ids=lambda named: named.kind.value)
class TestNamedDamage:
    def test_everything_that_can_be_had_is_there_and_nothing_is_wrong(self, named: NamedDamage) -> None:
        out, repair = repaired(named.device(), named.kind, origin_bytes=named.origin_bytes)
        assert damages(out) == []
        expected = content(MemoryDevice(SOUND))
        lost = LOST_CHUNKS.get(named.kind.value, set())
        assert content(out) == {chunk: data for chunk, data in expected.items() if chunk not in lost}
        assert repair.report.exceptions == len(content(out))

    def test_without_acceptance_nothing_is_written(self, named: NamedDamage) -> None:
        repair = Repair(named.device(), accept=[kind for kind in Kind if kind is not named.kind])
        out = MemoryDevice(repair.report.size_bytes)
        with pytest.raises(NotAccepted) as caught:
            repair.write(out)
        assert caught.value.report.refused == (named.kind,)
        assert f"--accept {named.kind.value}" in caught.value.hint
        assert not any(out.read_at(0, out.size_bytes))

    def test_what_is_lost_or_wrong_is_never_called_certain(self, named: NamedDamage) -> None:
        out, repair = repaired(named.device(), "all", origin_bytes=named.origin_bytes)
        right, got = content(MemoryDevice(SOUND)), content(out)
        position = 0
        for judged in judged_ranges(repair, ORIGIN_BYTES):
            assert judged.offset == position
            assert judged.length > 0
            position += judged.length
            if judged.trust is Trust.CERTAIN:
                for chunk in range(judged.offset // CHUNK, position // CHUNK):
                    assert got.get(chunk) == right.get(chunk)
        assert position == ORIGIN_BYTES


@pytest.mark.parametrize("word", [word for word, named in NAMED_DAMAGES.items() if named not in DAMAGED])
def test_what_is_no_damage_needs_no_acceptance_and_changes_nothing(word: str) -> None:
    named = NAMED_DAMAGES[word]
    out, repair = repaired(named.device(), origin_bytes=named.origin_bytes)
    assert content(out) == content(named.device())
    assert repair.report.fates.numbers.size == 0
    assert [judged.trust for judged in judged_ranges(repair, named.origin_bytes)] == [Trust.CERTAIN]


@pytest.mark.parametrize("name", names())
def test_repair_of_a_sound_store_of_the_kernel_changes_nothing(name: str, tmp_path: Path) -> None:
    fixture = load(name, tmp_path)
    if fixture.status in (None, "Invalid"):
        return
    with open_device(str(fixture.cow)) as device:
        out, _ = repaired(device)
        old, new = bytes(device.read_at(0, device.size_bytes)), bytes(out.read_at(0, out.size_bytes))
        size = open_store(device).chunk_size_bytes
        used = {cow for runs in open_store(device).table.batches() for run in runs_of(runs) for cow in run}
        areas = {1 + (size // 16 + 1) * area for area in range(open_store(device).areas)}
    assert len(new) == len(old)
    for chunk in {0} | used | areas:
        assert new[chunk * size : (chunk + 1) * size] == old[chunk * size : (chunk + 1) * size]


def runs_of(runs) -> list[range]:
    return [range(cow, cow + length) for cow, length in zip(runs.cow.tolist(), runs.length.tolist(), strict=True)]


def fates(named: str) -> list[tuple[int, int | None, int | None, str]]:
    report = Repair(NAMED_DAMAGES[named].device()).report
    return [(fate.number, fate.origin_chunk, fate.cow_chunk, fate.kind.value) for fate in report.records()]


class TestReport:
    def test_a_record_that_is_damaged_gets_the_copy_that_its_neighbours_leave(self) -> None:
        assert fates("top-bits") == [(40, 120, 43, "top-bits")]

    def test_each_lost_chunk_is_listed(self) -> None:
        assert fates("truncated") == [(number, 3 * number, None, "truncated") for number in range(66, 70)]

    def test_a_zeroed_record_says_nothing_of_its_chunk(self) -> None:
        assert fates("early-end") == [(40, None, None, "early-end")]

    def test_both_that_share_a_copy_are_doubtful(self) -> None:
        assert fates("shared-copy") == [(3, 9, 5, "shared-copy"), (40, 120, 43, "shared-copy")]

    def test_of_two_records_for_a_chunk_the_kernels_choice_stays(self) -> None:
        assert fates("duplicate") == [(3, 9, 5, "duplicate"), (40, 9, None, "duplicate")]

    def test_the_moment_of_invalidation_is_told(self) -> None:
        last = Repair(NAMED_DAMAGES["invalid-full"].device()).report.last_record
        assert last is not None
        assert (last.number, last.area, last.index, last.origin_chunk, last.left_chunks) == (69, 2, 5, 207, 0)
        assert last.offset_bytes == (1 + 2 * 33) * 512 + 5 * 16

    def test_copies_around_several_damaged_records_may_lie_further_on(self) -> None:
        records = in_allocation_order(range(25), 1)
        records[:, 1] += 4  # as old kernels left them, after a crash
        records[10:13, 1] = 2**40, 1, 7 | 1 << 60
        report = Repair(stored(records)).report
        assert [fate.cow_chunk for fate in report.records()] == [16, 17, 18]

    def test_where_the_neighbours_leave_more_than_one_chunk_the_copy_is_lost(self) -> None:
        records = in_allocation_order(range(20), 1)
        records[11:, 1] += 1
        records[10, 1] = 2**40
        assert [fate.cow_chunk for fate in Repair(stored(records)).report.records()] == [None]


def stored(records) -> MemoryDevice:
    device = MemoryDevice(120 * CHUNK)
    device.write_at(0, struct.pack("<4I", 0x70416E53, 1, 1, 1).ljust(CHUNK, b"\0"))
    device.write_at(CHUNK, records.astype("<u8").tobytes().ljust(CHUNK, b"\0"))
    return device


def test_copies_that_cannot_be_read_are_lost_one_by_one() -> None:
    device = FaultDevice(MemoryDevice(SOUND), fail_range(20 * CHUNK, 2 * CHUNK, "read"))
    repair = Repair(device)
    with pytest.raises(NotAccepted, match="unreadable"):
        repair.write(MemoryDevice(repair.report.size_bytes))
    out, repair = repaired(device, "unreadable")
    expected = content(MemoryDevice(SOUND))
    assert content(out) == {chunk: data for chunk, data in expected.items() if chunk not in (54, 57)}
    assert [(fate.origin_chunk, fate.cow_chunk) for fate in repair.report.records()] == [(54, None), (57, None)]
    assert damages(out) == []


def test_an_old_store_under_an_empty_one_comes_back_only_by_its_own_word() -> None:
    old = bytearray(16 * 512 * 22)
    old[8192:8512] = in_allocation_order(range(20), 16).astype("<u8").tobytes()
    old[:16] = struct.pack("<4I", 0x70416E53, 1, 1, 1)
    kept, _ = repaired(MemoryDevice(bytes(old)), "all")
    assert content(kept) == {}
    back, _ = repaired(MemoryDevice(bytes(old)), "chunk-size")
    assert sorted(content(back)) == list(range(20))


def test_the_new_store_may_have_more_room() -> None:
    report = Repair(MemoryDevice(SOUND), least_bytes=1 << 20).report
    assert report.size_bytes == 1 << 20


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(EmptyStore):
        Repair(MemoryDevice(1 << 20))
    with pytest.raises(CannotRepair, match="chunk size"):
        Repair(MemoryDevice(struct.pack("<4I", 0x70416E53, 1, 1, 3).ljust(4096, b"\0")))


def assert_sound_after_repair(store: bytes) -> RepairReport | None:
    device = MemoryDevice(store[: len(store) // CHUNK * CHUNK])
    try:
        repair = Repair(device, accept=["all"], origin=MemoryDevice(ORIGIN_BYTES))
    except (NotAStore, CannotRepair):
        return None
    if repair.report.size_bytes > 1 << 26:
        return None
    out = MemoryDevice(repair.report.size_bytes)
    report = repair.write(out)
    assert damages(out) == []
    assert len(open_store(out).table) == report.exceptions
    assert sum(judged.length for judged in judged_ranges(repair, ORIGIN_BYTES)) == ORIGIN_BYTES
    assert set(content(out)) == set(repair.kept_origins().tolist())
    return report


@settings(max_examples=150, deadline=None)
@given(st.one_of(any_bytes(), damaged_stores()))
def test_whatever_is_repaired_is_sound(store: bytes) -> None:
    assert_sound_after_repair(store)


@pytest.mark.parametrize("seed", range(60))
def test_a_store_is_sound_again_after_bits_have_flipped_in_its_metadata(seed: int) -> None:
    dice = random.Random(seed)
    store = bytearray(SOUND)
    for _ in range(dice.randrange(1, 12)):
        chunk = dice.choice([1, 34, 67])
        store[chunk * CHUNK + dice.randrange(CHUNK)] ^= 1 << dice.randrange(8)
    assert assert_sound_after_repair(bytes(store)) is not None
