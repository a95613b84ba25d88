"""A modelled drive is a device like any other, but for its time."""

from __future__ import annotations

import pytest

from dmsnap.block import BadRequest, BlockDevice, Completion, IOFailed, MemoryDevice
from dmsnap.block.model import DRIVES, ModelDevice, UnknownDrive, make_drive
from dmsnap.block.wrap import FaultDevice, fail_nth
from dmsnap.bufio import BufioClient
from dmsnap.testing.writable_device_contract import WritableDeviceContract

BLOCK = 4096
MIB = 1 << 20


class TestModelDevice(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return ModelDevice(MemoryDevice(content), make_drive("network-1ms"))


def reads(*blocks: int) -> list[tuple[int, memoryview]]:
    return [(block * BLOCK, memoryview(bytearray(BLOCK))) for block in blocks]


def test_time_passes_only_while_somebody_waits() -> None:
    device = ModelDevice(MemoryDevice(MIB), make_drive("network-5ms"))
    first, second = device.start_reads(reads(3, 9))
    assert device.clock() == 0
    assert not first.done
    first.wait()
    seconds = device.clock()
    assert 0.004 < seconds < 0.006
    first.wait()
    assert device.clock() == seconds
    second.wait()
    device.close()


def test_reads_under_way_together_take_their_time_together() -> None:
    device = ModelDevice(MemoryDevice(MIB), make_drive("network-5ms"))
    for completion in device.start_reads(reads(*range(10))):
        completion.wait()
    assert device.clock() < 0.010


def test_a_read_of_its_own_waits_for_itself() -> None:
    device = ModelDevice(MemoryDevice(MIB), make_drive("network-1ms"))
    for block in range(10):
        device.read_at(block * BLOCK, BLOCK)
    assert 0.008 < device.clock() < 0.012


def test_callbacks_see_the_time_at_which_their_read_was_done() -> None:
    device = ModelDevice(MemoryDevice(MIB), make_drive("network-1ms"))
    times: list[float] = []
    completions = device.start_reads(reads(*range(5)))
    for completion in completions:
        completion.add_done_callback(lambda _: times.append(device.clock()))
    device.close()
    assert times == sorted(times)
    assert len(set(times)) == 5


def test_a_callback_may_start_reads() -> None:
    device = ModelDevice(MemoryDevice(MIB), make_drive("network-1ms"))
    later: list[Completion] = []
    [first] = device.start_reads(reads(1))
    first.add_done_callback(lambda _: later.extend(device.start_reads(reads(2))))
    first.wait()
    later[0].wait()
    assert device.clock() > 0.0015


def test_writes_take_time_and_flushes_have_nothing_left_to_do() -> None:
    device = ModelDevice(MemoryDevice(MIB), make_drive("network-1ms"))
    device.write_at(0, bytes(BLOCK))
    written = device.clock()
    assert written > 0.0005
    device.flush()
    assert device.clock() == written
    device.zero(0, BLOCK)
    assert device.clock() > written


def test_an_error_of_the_content_comes_in_its_time() -> None:
    device = ModelDevice(FaultDevice(MemoryDevice(MIB), fail_nth("read", 2)), make_drive("network-1ms"))
    good, bad = device.start_reads(reads(0, 1))
    assert not bad.done
    good.wait()
    with pytest.raises(IOFailed):
        bad.wait()
    assert device.clock() > 0.0005


def test_two_devices_may_share_a_drive() -> None:
    drive = make_drive("network-1ms")
    left = ModelDevice(MemoryDevice(MIB), drive, start_bytes=0)
    right = ModelDevice(MemoryDevice(MIB), drive, start_bytes=MIB)
    [other] = right.start_reads(reads(1))
    left.read_at(0, BLOCK)
    other.wait()
    assert left.clock() == right.clock()


def test_a_device_fits_on_its_drive() -> None:
    with pytest.raises(BadRequest, match="of a drive of"):
        ModelDevice(MemoryDevice(64 << 40), make_drive("network-1ms"))
    drive = make_drive("network-1ms")
    below = MemoryDevice(MIB)
    device = ModelDevice(below, drive, start_bytes=drive.capacity_bytes - MIB)
    below.grow(2 * MIB)
    with pytest.raises(IOFailed, match="past the end of the drive"):
        device.read_at(MIB, BLOCK)


def test_a_drive_that_is_not_known_is_refused() -> None:
    with pytest.raises(UnknownDrive, match="network-1ms"):
        make_drive("floppy")


@pytest.mark.parametrize("name", DRIVES)
def test_a_cache_on_a_modelled_drive_gains_by_prefetch(name: str) -> None:
    def seconds(depth: int) -> float:
        device = ModelDevice(MemoryDevice(64 * MIB), make_drive(name, 1))
        with BufioClient(device, BLOCK) as client:
            for block in range(0, 16384, 257):
                for ahead in range(depth):
                    client.prefetch(block + 257 * ahead, 1)
                client.release(client.read(block))
            return device.clock()

    assert seconds(8) < seconds(0)
