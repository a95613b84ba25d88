"""Arm, platter, queue and buffer of a small drive with round numbers: a turn of 10 ms, ten sectors a track."""

from __future__ import annotations

import random

import pytest

from dmsnap.block import BlockDevice, MemoryDevice
from dmsnap.block.model import Command, ModelDevice, make_drive
from dmsnap.block.model.geometry import SECTOR_BYTES, Geometry, Skew, Zone
from dmsnap.block.model.host_queue import Fifo
from dmsnap.block.model.rotating import Mechanics, Order, RotatingDrive
from dmsnap.block.model.track_buffer import TrackBuffer
from dmsnap.testing.writable_device_contract import WritableDeviceContract

TURN = 0.010
OVERHEAD = 0.0001
HIT = 0.00005
BUS = 1e9
SEED = 5


class TestModelOfASpindle(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return ModelDevice(MemoryDevice(content), make_drive("scsi-15k"))


def small(
    order: Order = "sptf", *, queue_depth: int = 64, seed: int = SEED, segment_sectors: int = 10
) -> RotatingDrive:
    return RotatingDrive(
        Geometry([Zone(1000, 10)], heads=2, stretch_tracks=5, skew=Skew(0.15, 0.25, 0.25)),
        Mechanics(
            TURN,
            [0.0, *(0.001 + 0.00001 * d for d in range(1000))],
            head_switch_seconds=0.002,
            write_settle_seconds=0.001,
        ),
        overhead_seconds=OVERHEAD,
        hit_seconds=HIT,
        bus_bytes_per_second=BUS,
        buffer=TrackBuffer(4, segment_sectors),
        queue_depth=queue_depth,
        order=order,
        host_queue=Fifo(),
        seed=seed,
    )


def read(sector: int, count: int = 1, *, write: bool = False) -> Command:
    return Command(sector * SECTOR_BYTES, count * SECTOR_BYTES, write)


def order_of(drive: RotatingDrive, sectors: list[int]) -> list[int]:
    for sector in sectors:
        drive.submit(read(sector))
    return [drive.run().offset // SECTOR_BYTES for _ in sectors]


def random_sectors(count: int) -> list[int]:
    return random.Random(SEED).sample(range(20000), count)


def test_a_read_costs_overhead_seek_turn_and_transfer() -> None:
    drive = small()
    drive.submit(read(7777, 3))
    drive.run()
    spent = drive.spent
    assert spent.transferring_seconds == pytest.approx(3 * TURN / 10)
    assert 0 <= spent.turning_seconds < TURN
    parts = spent.seeking_seconds + spent.turning_seconds + spent.transferring_seconds
    assert drive.now == pytest.approx(OVERHEAD + parts + 3 * SECTOR_BYTES / BUS)


def test_the_same_sector_comes_round_once_a_turn() -> None:
    drive = small()
    times = []
    for sector in (100, 19000, 100):  # away in between, and a write since, so that it is not in the buffer
        drive.submit(read(sector))
        drive.run()
        times.append(drive.now)
        drive.submit(read(100, write=True))
        drive.run()
    turns = (times[2] - times[0]) / TURN
    assert turns == pytest.approx(round(turns))


def test_the_drive_chooses_what_it_reaches_soonest() -> None:
    sectors = random_sectors(20)
    alone = {}
    for sector in sectors:
        drive = small()
        drive.submit(read(sector))
        drive.run()
        alone[sector] = drive.now
    assert order_of(small(), sectors)[0] == min(alone, key=lambda sector: alone[sector])


def test_the_elevator_ascends() -> None:
    sectors = random_sectors(20)
    assert order_of(small("elevator"), sectors) == sorted(sectors)


def test_a_drive_without_a_queue_takes_what_comes() -> None:
    sectors = random_sectors(20)
    assert order_of(small("fifo"), sectors) == sectors
    assert order_of(small(queue_depth=1), sectors) == sectors


def test_choosing_by_position_is_fastest() -> None:
    times = {}
    orders: tuple[Order, ...] = ("sptf", "elevator", "fifo")
    for order in orders:
        drive = small(order)
        order_of(drive, random_sectors(60))
        times[order] = drive.now
    assert times["sptf"] < times["elevator"] < times["fifo"]


@pytest.mark.parametrize("together", [True, False])
def test_reading_on_never_misses_a_turn(together: bool) -> None:
    drive = small()
    commands = [read(sector) for sector in range(200)]
    for command in commands:
        drive.submit(command)
        if not together:
            drive.run()
    while drive.busy:
        drive.run()
    tracks_and_skew = 20 * TURN * (1 + 0.25)  # at most
    assert drive.now < 2 * TURN + tracks_and_skew


def test_what_was_read_ahead_at_rest_costs_a_hit() -> None:
    drive = small()
    drive.submit(read(0))
    drive.run()
    drive.submit(read(19000, write=True))  # ends the reading on, but later
    before = drive.now
    drive.run()
    assert drive.now > before + HIT
    drive.submit(read(0))
    before = drive.now
    drive.run()
    assert drive.now == pytest.approx(before + HIT + SECTOR_BYTES / BUS)


def test_a_write_makes_the_buffer_forget() -> None:
    drive = small()
    for command in (read(0), read(0, write=True), read(0)):
        drive.submit(command)
        before = drive.now
        drive.run()
    assert drive.now - before > TURN / 20


def test_a_write_settles_longer() -> None:
    seeking = []
    for write in (False, True):
        drive = small()
        drive.submit(read(5000, write=write))
        drive.run()
        seeking.append(drive.spent.seeking_seconds)
    assert seeking[1] - seeking[0] == pytest.approx(0.001)


def test_the_end_of_the_drive_can_be_read() -> None:
    drive = small()
    last = drive.capacity_bytes // SECTOR_BYTES - 1
    for _ in range(2):
        drive.submit(read(last))
        drive.run()
    assert drive.spent.commands == 1


def test_the_seed_says_where_things_are_at_the_begin() -> None:
    def first(seed: int) -> float:
        drive = small(seed=seed)
        drive.submit(read(1234))
        drive.run()
        return drive.now

    assert first(1) == first(1)
    assert len({first(seed) for seed in range(10)}) == 10
