"""What a trace hears: each event, in order, at the time of the device's clock."""

from __future__ import annotations

import pytest
from bufio_devices import GateDevice

from dmsnap.block.contract import IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.model import ModelDevice, make_drive
from dmsnap.bufio import BufioClient

SIZE = 512


class ClockedDevice(GateDevice):
    """A device whose time passes by one with each look at it."""

    now = 100.0

    def clock(self) -> float:
        self.now += 1
        return self.now


class Heard:
    """Events as they came."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.events: list[tuple[str, int]] = []

    def __call__(self, time: float, event: str, block: int) -> None:
        self.times.append(time)
        self.events.append((event, block))


def test_a_block_read_on_demand() -> None:
    heard = Heard()
    with BufioClient(GateDevice(4 * SIZE), SIZE, trace=heard) as client:
        client.release(client.read(2))
        client.release(client.read(2))
    assert heard.events == [("miss", 2), ("arrived", 2), ("release", 2), ("hit", 2), ("release", 2)]


def test_a_block_read_ahead_and_moved_out() -> None:
    heard = Heard()
    with BufioClient(GateDevice(4 * SIZE), SIZE, trace=heard) as client:
        client.prefetch(1, 2)
        client.take([1], memoryview(bytearray(SIZE)))
    assert heard.events == [
        ("prefetch", 1), ("prefetch", 2), ("arrived", 1), ("arrived", 2), ("hit", 1), ("forget", 1),
    ]  # fmt: skip


def test_a_block_waited_for() -> None:
    heard, device = Heard(), ModelDevice(MemoryDevice(4 * SIZE), make_drive("network-1ms"))
    with BufioClient(device, SIZE, trace=heard) as client:
        client.prefetch(3)
        client.release(client.read(3), forget=True)
    assert heard.events == [("prefetch", 3), ("wait", 3), ("arrived", 3), ("forget", 3)]
    assert heard.times[0] == heard.times[1] < heard.times[2] == heard.times[3]


def test_a_block_that_makes_room() -> None:
    heard = Heard()
    with BufioClient(GateDevice(4 * SIZE), SIZE, max_buffers=1, reserved_buffers=0, trace=heard) as client:
        client.release(client.read(0))
        client.release(client.read(1))
    assert heard.events[3:5] == [("evict", 0), ("miss", 1)]


def test_a_read_that_fails_is_dropped() -> None:
    heard, device = Heard(), GateDevice(4 * SIZE, hold_reads=True)
    with BufioClient(device, SIZE, trace=heard) as client:
        client.prefetch(0)
        device.end_reads(IOFailed("broken"))
        assert client.counters.read_errors == 1
        with pytest.raises(IOFailed):
            client.read(0)
    assert heard.events == [("prefetch", 0), ("arrived", 0), ("hit", 0), ("release", 0), ("drop", 0)]


def test_times_are_those_of_the_devices_clock() -> None:
    heard, device = Heard(), ClockedDevice(4 * SIZE)
    with BufioClient(device, SIZE, trace=heard) as client:
        client.release(client.read(2))
    assert heard.times == [101, 102, 103]
