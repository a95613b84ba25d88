"""Partitions: MBR with extended ones and GPT with its backup, in sectors of either size, and any bytes."""

from __future__ import annotations

import random
import struct

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.lvm.finding import FindingKind
from dmsnap.lvm.partitions import SECTOR_SIZES, Partition, read_partitions
from dmsnap.testing.partition_builder import build_gpt, build_mbr, put, seal_gpt

SECTORS = 512
PLACES = {1: (40, 8), 3: (100, 100), 128: (300, 16)}


def partitions_of(disk: bytes | bytearray, sector_bytes: int = 512) -> tuple[Partition, ...]:
    """The partitions of a disk where nothing is odd."""
    found, findings = read_partitions(MemoryDevice(disk), sector_bytes)
    assert not findings
    return found


def at(number: int, first: int, count: int, sector_bytes: int = 512) -> Partition:
    return Partition(number, first * sector_bytes, count * sector_bytes)


@pytest.mark.parametrize("sector_bytes", SECTOR_SIZES)
def test_gpt(sector_bytes: int) -> None:
    disk = build_gpt(SECTORS, PLACES, sector_bytes=sector_bytes)
    assert partitions_of(disk, sector_bytes) == tuple(at(n, *place, sector_bytes) for n, place in PLACES.items())


@pytest.mark.parametrize("sector_bytes", SECTOR_SIZES)
def test_a_gpt_does_not_show_in_sectors_of_another_size(sector_bytes: int) -> None:
    disk = build_gpt(SECTORS, PLACES, sector_bytes=sector_bytes)
    assert partitions_of(disk, 4608 - sector_bytes) == ()


@pytest.mark.parametrize("sector_bytes", SECTOR_SIZES)
def test_mbr(sector_bytes: int) -> None:
    disk = build_mbr(SECTORS, {1: (8, 10), 4: (50, 60)}, sector_bytes=sector_bytes)
    assert partitions_of(disk, sector_bytes) == (at(1, 8, 10, sector_bytes), at(4, 50, 60, sector_bytes))


@pytest.mark.parametrize("kind", [0x05, 0x0F, 0x85])
def test_logical_partitions_are_numbered_from_5(kind: int) -> None:
    logical = [(101, 10), (121, 20), (151, 30)]
    disk = build_mbr(SECTORS, {1: (8, 10)}, extended=(100, 100), logical=logical, extended_type=kind)
    assert partitions_of(disk) == (at(1, 8, 10), at(5, 101, 10), at(6, 121, 20), at(7, 151, 30))


@pytest.mark.parametrize("disk", [bytes(65536), b"\xff" * 65536, bytes(0), bytes(512), b"x" * 1024], ids=len)
def test_a_disk_without_a_table_has_no_partitions(disk: bytes) -> None:
    for sector_bytes in SECTOR_SIZES:
        assert partitions_of(disk, sector_bytes) == ()


def test_the_boot_sector_of_a_file_system_is_no_table() -> None:
    disk = build_mbr(SECTORS, {1: (8, 10)})
    disk[446] = 0x33  # where a table has 0 or 80
    assert partitions_of(disk) == ()


@pytest.mark.parametrize("damage", [512 + 40, 512 + 88, 1024 + 3], ids=["header", "crc of entries", "entries"])
def test_the_backup_counts_where_a_gpt_is_damaged(damage: int) -> None:
    disk = build_gpt(SECTORS, PLACES)
    disk[damage] ^= 1
    found, findings = read_partitions(MemoryDevice(disk), 512)
    assert [partition.number for partition in found] == list(PLACES)
    assert [finding.kind for finding in findings] == [FindingKind.DAMAGED_PARTITIONS]


def test_the_backup_counts_where_the_start_of_the_disk_is_gone() -> None:
    disk = build_gpt(SECTORS, PLACES)
    put(disk, 0, bytes(34 * 512))
    found, findings = read_partitions(MemoryDevice(disk), 512)
    assert [partition.number for partition in found] == list(PLACES)
    assert "backup" in findings[0].message


def test_the_backup_is_found_after_the_image_has_grown() -> None:
    disk = build_gpt(SECTORS, PLACES) + bytes(65536)
    disk[1024 + 3] ^= 1
    found, _ = read_partitions(MemoryDevice(disk), 512)
    assert [partition.number for partition in found] == list(PLACES)


def test_two_damaged_headers_are_told() -> None:
    disk = build_gpt(SECTORS, PLACES)
    disk[512 + 40] ^= 1
    disk[-512 + 40] ^= 1
    found, findings = read_partitions(MemoryDevice(disk), 512)
    assert found == ()
    assert len(findings) == 2


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (12, struct.pack("<I", 8)),
        (12, struct.pack("<I", 2**32 - 1)),
        (24, struct.pack("<Q", 2**64 - 1)),
        (72, struct.pack("<Q", 2**64 - 1)),
        (80, struct.pack("<I", 2**32 - 1)),
        (84, struct.pack("<I", 0)),
        (84, struct.pack("<I", 127)),
        (84, struct.pack("<I", 2**31)),
        (88, bytes(4)),
    ],
    ids=["short", "long", "elsewhere", "entries elsewhere", "many", "empty", "odd", "large entries", "crc"],
)
def test_a_gpt_header_with_hostile_numbers_does_not_count(offset: int, content: bytes) -> None:
    disk = build_gpt(SECTORS, PLACES)
    put(disk, 512 + offset, content)
    if offset > 12:
        seal_gpt(disk)
    found, findings = read_partitions(MemoryDevice(disk), 512)
    assert [partition.number for partition in found] == list(PLACES)
    assert findings


def test_a_partition_is_cut_to_the_disk_and_left_out_behind_it() -> None:
    disk = build_mbr(SECTORS, {1: (500, 100), 2: (512, 8), 3: (2**32 - 1, 2**32 - 1), 4: (0, 5)})
    assert partitions_of(disk) == (at(1, 500, 12),)


def test_a_gpt_partition_that_ends_before_it_begins_is_left_out() -> None:
    assert partitions_of(build_gpt(SECTORS, {1: (100, -20), 2: (100, 1)})) == (at(2, 100, 1),)


def test_a_partition_inside_another_is_left_out_and_told() -> None:
    disk = build_gpt(SECTORS, {1: (150, 10), 2: (100, 100), 3: (199, 10), 4: (200, 10)})
    found, findings = read_partitions(MemoryDevice(disk), 512)
    assert [partition.number for partition in found] == [2, 4]
    assert ["partition 1" in findings[0].message, "partition 3" in findings[1].message] == [True, True]


def test_a_chain_that_goes_round_ends() -> None:
    disk = build_mbr(SECTORS, {}, extended=(100, 100), logical=[(101, 10), (121, 20)])
    struct.pack_into("<B3xB3xII", disk, 120 * 512 + 446 + 16, 0, 5, 0, 99)  # back to the first link
    assert partitions_of(disk + bytes(512)) == (at(5, 101, 10), at(6, 121, 20))


def test_a_chain_without_an_end_is_given_up() -> None:
    disk = build_mbr(4096, {}, extended=(1, 4000), logical=[(n, 1) for n in range(2, 2000, 2)])
    assert len(partitions_of(disk)) == 256


def test_partitions_that_do_not_begin_on_a_block_of_the_device_are_left_out() -> None:
    device = MemoryDevice(build_mbr(SECTORS, {1: (9, 10), 2: (16, 17)}), logical_block_size_bytes=4096)
    assert read_partitions(device, 512) == ((Partition(2, 8192, 8192),), ())


def test_any_bytes_give_partitions_inside_the_disk() -> None:
    chance = random.Random(6)
    disks = [
        build_gpt(SECTORS, PLACES),
        build_mbr(SECTORS, {1: (8, 10)}, extended=(100, 100), logical=[(101, 10), (121, 20)]),
    ]
    for _ in range(800):
        disk = bytearray(chance.choice(disks))
        for _ in range(chance.randint(1, 5)):
            place = chance.choice([446, 512, 1024, 100 * 512 + 446, len(disk) - 512]) + chance.randrange(100)
            size = chance.choice([1, 4, 8])
            put(
                disk, min(place, len(disk) - size), chance.choice([bytes(size), b"\xff" * size, chance.randbytes(size)])
            )
        if chance.random() < 0.5:
            seal_gpt(disk)
        found, _ = read_partitions(MemoryDevice(disk), chance.choice(SECTOR_SIZES))
        assert all(0 < p.offset_bytes < p.offset_bytes + p.size_bytes <= len(disk) for p in found)
