"""A check finds each damage and names it rightly, and finds nothing where there is none."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest

from dmsnap.block import MemoryDevice
from dmsnap.block.contract import IOFailed
from dmsnap.block.open import open_device
from dmsnap.maintenance.checking import check_store
from dmsnap.store import EmptyStore, NotAStore
from dmsnap.store.finding import Kind, Severity
from dmsnap.testing.damage import DAMAGES, Damage
from dmsnap.testing.fixtures import load, names
from dmsnap.testing.named_damage import NAMED_DAMAGES, ORIGIN_BYTES, NamedDamage, sound_store_with_room
from dmsnap.testing.programs.generate import generate
from dmsnap.testing.programs.ours import run_in_ours
from dmsnap.testing.store_builder import build_store, data_chunks, fill_chunk, in_allocation_order

FIXTURES = {
    "full": "full",
    "overflow-origin": "invalid-full",
    "overflow-po": "full",
    "overflow-po-origin": "invalid-full",
    "overflow-snapshot": "invalid-full",
    "trap-258": "invalid-full",
    "trap-258-before": "next-area",
    "trap-259": "full",
    "trap-260": "full",
}
"""What is found in stores of a real kernel; in all others nothing is."""


def stored(records: object, **options: object) -> MemoryDevice:
    out = io.BytesIO()
    sectors = options.setdefault("chunk_size_sectors", 1)
    build_store(out, records, data=fill_chunk(sectors), **options)
    return MemoryDevice(out.getvalue())


def kinds(device: MemoryDevice, **options: object) -> list[str]:
    return [finding.kind.value for finding in check_store(device, **options).findings]


def test_there_is_a_damage_of_every_kind() -> None:
    assert list(NAMED_DAMAGES) == [kind.value for kind in Kind]


def test_the_store_that_is_damaged_is_sound() -> None:
    report = check_store(MemoryDevice(sound_store_with_room()), origin=MemoryDevice(ORIGIN_BYTES))
    assert report.findings == ()
    assert (report.exceptions, report.areas, report.used_chunks, report.chunk_size_bytes) == (70, 3, 70, 512)
    assert (report.leaked_chunks, report.left_chunks, report.valid, report.damaged) == (0, 45, True, False)


@pytest.mark.parametrize("named", NAMED_DAMAGES.values(), ids=NAMED_DAMAGES)
@pytest.mark.parametrize("prefetch", ["auto", 0])
def test_each_damage_is_found_and_nothing_else(named: NamedDamage, prefetch: str | int) -> None:
    report = check_store(named.device(), origin=MemoryDevice(named.origin_bytes), prefetch=prefetch)
    (found,) = report.findings
    assert (found.kind, found.severity, found.count) == (named.kind, named.severity, named.count)
    assert report.damaged == (named.severity is Severity.DAMAGE)
    if named.place is not None:
        area, index = named.place
        assert (found.area, found.index, found.offset_bytes) == (area, index, (1 + 33 * area) * 512 + 16 * index)
    assert found.message
    assert found.advice
    assert "\n" not in found.message + found.advice


@pytest.mark.parametrize("name", names())
def test_stores_of_the_kernel_are_sound(name: str, tmp_path: Path) -> None:
    fixture = load(name, tmp_path)
    with open_device(str(fixture.cow)) as device, open_device(str(fixture.origin)) as origin:
        if fixture.status is None:
            with pytest.raises(NotAStore):
                check_store(device, origin=origin)
            return
        report = check_store(device, origin=origin)
    assert [finding.kind.value for finding in report.findings] == ([FIXTURES[name]] if name in FIXTURES else [])
    assert report.damaged == (fixture.status == "Invalid")


@pytest.mark.parametrize("damage", [each for each in DAMAGES.values() if not each.huge], ids=lambda each: each.name)
def test_what_loading_refuses_or_tells_is_found_as_well(damage: Damage) -> None:
    content = damage.content()
    device = MemoryDevice(content[: len(content) // 512 * 512])
    if damage.refusal in ("NotAStore", "EmptyStore") and "magic" not in damage.name:
        with pytest.raises(NotAStore):
            check_store(device)
    elif damage.name == "outside-the-origin":  # which is not given here
        assert not check_store(device).damaged
    else:
        assert check_store(device).damaged


class TestMistakesOfOtherTools:
    """Stores that other programs were seen to misread."""

    def test_more_than_a_thousand_areas(self) -> None:
        report = check_store(stored(in_allocation_order(range(0, 70_000, 2), 1)))
        assert (report.exceptions, report.areas) == (35_000, 1094)

    def test_areas_lie_a_stride_apart_and_not_in_a_row(self) -> None:
        device = stored(in_allocation_order(range(40), 1), size_chunks=110)
        assert (check_store(device).exceptions, kinds(device)) == (40, [])

    def test_origin_chunk_0_does_not_end_the_records(self) -> None:
        device = stored([(5, 2), (0, 3), (7, 4)], size_chunks=10)
        assert (check_store(device).exceptions, kinds(device)) == (3, [])

    def test_only_the_copy_of_the_end_marker_must_be_0(self) -> None:
        device = stored([(5, 2), (6, 0)], size_chunks=10)
        assert (check_store(device).exceptions, kinds(device)) == (1, [])

    def test_the_chunk_size_is_in_sectors_and_any_number_but_0_is_valid(self) -> None:
        report = check_store(stored([(5, 2)], chunk_size_sectors=32, size_chunks=10, valid=7))
        assert (report.chunk_size_bytes, report.valid, report.findings) == (16384, True, ())


def test_an_empty_store_is_sound() -> None:
    assert kinds(stored([], size_chunks=10)) == []


def test_what_is_no_store_is_refused() -> None:
    with pytest.raises(EmptyStore):
        check_store(MemoryDevice(1 << 20))
    with pytest.raises(NotAStore):
        check_store(MemoryDevice(random.Random(1).randbytes(1 << 20)))


def test_areas_behind_a_lost_header_are_enough() -> None:
    content = sound_store_with_room()
    report = check_store(MemoryDevice(bytes(512) + content[512:]))
    assert [finding.kind.value for finding in report.findings] == ["magic", "version", "chunk-size"]
    assert report.exceptions == 70


def test_an_old_store_under_a_new_and_empty_one_is_no_damage() -> None:
    old = bytearray(stored(in_allocation_order(range(20), 16), chunk_size_sectors=16).read_at(0, 16 * 512 * 22))
    old[: 2 * 512] = stored([], size_chunks=2).read_at(0, 1024)
    report = check_store(MemoryDevice(bytes(old)))
    assert [finding.kind.value for finding in report.findings] == ["chunk-size"]
    assert not report.damaged


def test_stale_areas_behind_the_end_are_as_kernels_leave_them() -> None:
    content = bytearray(sound_store_with_room())
    for at in range(34 * 512, 35 * 512):  # area 1 is zeroed before area 0 is written full; area 2 is stale
        content[at] = 0
    assert kinds(MemoryDevice(bytes(content))) == []


def test_a_full_area_at_the_very_end_has_no_room_for_a_successor() -> None:
    device = stored(in_allocation_order(range(32), 1), size_chunks=34)
    assert kinds(device) == ["chain-past-the-end"]


def test_the_next_area_is_no_trap_if_the_origin_cannot_fill_the_store() -> None:
    device = stored(in_allocation_order(range(10), 1), size_chunks=34)
    assert kinds(device) == ["next-area"]
    assert kinds(device, origin=MemoryDevice(31 * 512)) == []
    assert kinds(device, origin=MemoryDevice(32 * 512)) == ["next-area"]


def test_a_full_store_is_no_worry_if_every_chunk_of_the_origin_is_there() -> None:
    device = stored(in_allocation_order(range(10), 1))
    assert kinds(device, origin=MemoryDevice(11 * 512)) == ["full"]
    assert kinds(device, origin=MemoryDevice(10 * 512)) == []


@pytest.mark.parametrize("part", [1, 7, 1 << 20])
@pytest.mark.parametrize("seed", range(20))
def test_stores_of_old_kernels_are_told_as_what_they_are(seed: int, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmsnap.maintenance.judging_records._PART", part)
    dice = random.Random(seed)
    cow = data_chunks(300, 1).tolist()
    leaked = sorted(dice.sample(range(250), dice.randrange(5)), reverse=True)
    for index in leaked:
        del cow[index]
    for _ in range(dice.randrange(30)):
        at = dice.randrange(250)
        cow[at], cow[at + 1] = cow[at + 1], cow[at]
    records = np.column_stack((np.array(dice.sample(range(5000), len(cow))), cow)).astype(np.uint64)
    report = check_store(stored(records, size_chunks=400))
    found = {finding.kind.value: finding for finding in report.findings}
    falls = int(np.count_nonzero(np.diff(np.array(cow)) < 0))
    assert {kind: finding.count for kind, finding in found.items()} == {
        kind: count for kind, count in (("leaked", len(leaked)), ("out-of-order", falls)) if count
    }
    if falls:
        area, index = divmod(int(np.argmax(np.diff(np.array(cow)) < 0)) + 1, 32)
        assert (found["out-of-order"].area, found["out-of-order"].index) == (area, index)
    assert (report.used_chunks, report.leaked_chunks) == (300 - len(leaked), len(leaked))


def test_a_wrong_chunk_size_is_seen_though_only_few_records_speak_against_it() -> None:
    records = [(5, 2), (6, 3), (9, 4)]
    text = b"two records' worth of a letter, no more.".ljust(16 * 512, b"\0")  # what is in the place of the first area
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=16, header_chunk_size_sectors=32, data=lambda origin, cow: text)
    report = check_store(MemoryDevice(out.getvalue()))
    assert [finding.kind for finding in report.findings] == [Kind.CHUNK_SIZE, Kind.FULL]
    assert (report.exceptions, report.chunk_size_bytes) == (3, 8192)


@pytest.mark.parametrize(
    ("copy", "kind"), [(2 | 5 << 56, "top-bits"), (1, "into-metadata"), (1000, "outside-cow")], ids=str
)
def test_data_that_begins_as_a_record_is_no_reason_to_doubt_the_chunk_size(copy: int, kind: str) -> None:
    out = io.BytesIO()
    build_store(out, [(3, copy)], size_chunks=40)
    content = bytearray(out.getvalue())
    content[2 * 4096 : 2 * 4096 + 32] = struct.pack("<QQQQ", 7, 2, 0, 0)  # where chunks of 8 KiB had their first area
    report = check_store(MemoryDevice(bytes(content)))
    assert report.chunk_size_bytes == 4096
    assert kind in [finding.kind for finding in report.findings]


@pytest.mark.parametrize(("records", "kind", "reads"), [(1800, "invalid-full", 0), (40, "invalid-error", 4)])
def test_data_is_looked_at_only_where_that_decides_and_a_failing_disk_not_for_long(
    records: int, kind: str, reads: int
) -> None:
    class Failing(MemoryDevice):
        failed = 0

        def read_at(self, offset: int, length: int) -> bytearray:
            if offset >= 1900 * 512:
                self.failed += 1  # each may take half a minute
                raise IOFailed("broken")
            return super().read_at(offset, length)

    out = io.BytesIO()
    build_store(out, in_allocation_order(range(records), 1), chunk_size_sectors=1, size_chunks=2000, valid=0)
    device = Failing(out.getvalue())
    assert [finding.kind.value for finding in check_store(device).findings] == [kind]
    assert device.failed == reads


@pytest.mark.parametrize(
    ("first_written", "last_written", "kind"),
    [
        (None, None, "invalid-error"),
        (71, 74, "invalid-error"),  # copies that were under way
        (71, 99, "invalid-full"),  # behind them, copies of zeros: a journal before its first use
        (71, 115, "invalid-full"),
    ],
)
def test_an_overflow_is_known_by_the_copies_near_the_end(
    first_written: int | None, last_written: int | None, kind: str
) -> None:
    store = bytearray(NAMED_DAMAGES["invalid-error"].content())
    if first_written is not None and last_written is not None:
        for index in range(first_written - 1, last_written):
            chunk = 2 + index + index // 32
            store[chunk * 512 : chunk * 512 + 512] = b"x" * 512
    (found,) = check_store(MemoryDevice(bytes(store)), origin=MemoryDevice(ORIGIN_BYTES)).findings
    assert found.kind.value == kind
    assert ("copies of zeros" in found.message) == (kind == "invalid-error"), "one that no store shows"


def test_several_damages_at_once_are_all_told_the_worst_first() -> None:
    records = in_allocation_order(range(0, 180, 2), 1)
    records[3, 1], records[20, 0], records[50, 1] = 2**60, 2, 1
    report = check_store(stored(records, size_chunks=95))
    found = {finding.kind.value: finding.count for finding in report.findings}
    assert found == {"top-bits": 1, "into-metadata": 1, "duplicate": 1}
    severities = [list(Severity).index(finding.severity) for finding in report.findings]
    assert severities == sorted(severities, reverse=True)


@pytest.mark.parametrize("seed", range(25))
def test_stores_of_random_programs_are_sound_or_have_run_full(seed: int) -> None:
    result = run_in_ours(generate(seed), "flush")
    origin = MemoryDevice(result.content["o"])
    stores = [content for content in result.content.values() if content[:4] == b"SnAp"]
    for content in stores:
        assert set(kinds(MemoryDevice(content), origin=origin)) <= {
            "full",
            "next-area",
            "invalid-full",
            "invalid-error",
        }
