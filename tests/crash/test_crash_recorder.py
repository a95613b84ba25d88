"""The crash device is a device like any other, and its record is in the order in which things took effect."""

from __future__ import annotations

from dmsnap.block import BlockDevice
from dmsnap.testing.crash import Recorder
from dmsnap.testing.crash.image_device import ImageDevice
from dmsnap.testing.crash.moments import moments
from dmsnap.testing.crash.recorder import Change, FlushBegun, FlushEnded, Mark
from dmsnap.testing.device_contract import in_threads
from dmsnap.testing.writable_device_contract import WritableDeviceContract

SECTOR = 512


class TestRecordedDevice(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return Recorder().device(content, "recorded")


class TestRecordedDeviceOf4KiBBlocks(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return Recorder().device(content, "recorded", logical_block_size_bytes=4096)


class TestImageDevice(WritableDeviceContract):
    def make(self, content: bytes) -> BlockDevice:
        return ImageDevice(bytearray(content))


def test_devices_share_one_order_of_events() -> None:
    recorder = Recorder()
    a, b = recorder.device(bytes(4 * SECTOR), "a"), recorder.device(bytes(4 * SECTOR), "b")
    a.write_at(SECTOR, b"x" * SECTOR)
    b.zero(0, 2 * SECTOR)
    b.flush()
    recorder.mark("here")
    a.discard(0, SECTOR)
    assert recorder.timeline().names == ("a", "b")
    assert recorder.timeline().events == (
        Change(0, SECTOR, b"x" * SECTOR),
        Change(1, 0, bytes(2 * SECTOR)),
        FlushBegun(1),
        FlushEnded(1, 2),
        Mark("here"),
        Change(0, 0, bytes(SECTOR), sure=False),
    )


def test_what_a_device_holds_when_it_is_made_is_durable() -> None:
    recorder = Recorder()
    recorder.device(b"x" * SECTOR, "a")
    [moment] = moments(recorder.timeline())
    assert moment.disks[0].contents(0) == (b"x" * SECTOR,)


def test_the_record_of_many_threads_leads_to_what_the_device_holds() -> None:
    recorder = Recorder()
    device = recorder.device(bytes(8 * SECTOR), "shared")

    def change(number: int) -> None:
        for at in range(50):
            device.write_at((number + at) % 7 * SECTOR, bytes([number + 1]) * 2 * SECTOR)
            if at % 10 == 0:
                device.flush()

    in_threads(4, change)
    *_, last = moments(recorder.timeline())
    assert last.disks[0].latest() == device.read_at(0, 8 * SECTOR)


def test_a_forced_write_is_durable_and_no_other_is() -> None:
    recorder = Recorder()
    device = recorder.device(bytes(4 * SECTOR), "a")
    device.write_at(0, b"x" * 2 * SECTOR)
    device.write_at(SECTOR, b"y" * SECTOR, fua=True)
    *_, last = moments(recorder.timeline())
    assert last.disks[0].contents(0) == (bytes(SECTOR), b"x" * SECTOR)
    assert last.disks[0].contents(1) == (b"y" * SECTOR,)


def test_a_device_grows() -> None:
    recorder = Recorder()
    device = recorder.device(bytes(SECTOR), "a")
    device.grow(b"x" * SECTOR)
    assert device.read_at(SECTOR, SECTOR) == b"x" * SECTOR
    assert [len(moment.disks[0].settled) for moment in moments(recorder.timeline())] == [SECTOR, 2 * SECTOR]
