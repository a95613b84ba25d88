"""The zero target forgets, the error target fails."""

from __future__ import annotations

import pytest

from dmsnap.block import BadRequest, BlockDevice, DeviceClosed, Extent, ExtentKind, IOFailed
from dmsnap.target.error import ErrorDevice
from dmsnap.target.zero import ZeroDevice


def test_zero_reads_as_zeros_whatever_was_written() -> None:
    device = ZeroDevice(1 << 40)
    device.write_at(0, b"\1" * 4096)
    device.write_at(0, b"\1" * 4096, fua=True)
    device.zero(0, 1 << 40)
    device.discard(0, 1 << 40)
    device.flush()
    memory = bytearray(b"\1" * 4096)
    device.read_into(0, memory)
    assert memory == bytes(4096)
    memory = bytearray(b"\1" * 4096)
    device.start_read(0, memoryview(memory)).wait()
    assert memory == bytes(4096)


def test_zero_is_one_hole() -> None:
    assert list(ZeroDevice(1 << 40).extents(512, 1 << 30)) == [Extent(512, 1 << 30, ExtentKind.HOLE)]


def test_error_fails_everything_but_a_flush() -> None:
    device = ErrorDevice(1 << 20)
    with pytest.raises(IOFailed, match="cannot read 512 bytes at byte 1024"):
        device.read_at(1024, 512)
    with pytest.raises(IOFailed):
        device.start_read(0, memoryview(bytearray(512))).wait()
    for change in (device.zero, device.discard):
        with pytest.raises(IOFailed):
            change(0, 512)
    for fua in (False, True):
        with pytest.raises(IOFailed):
            device.write_at(0, bytes(512), fua=fua)
    device.flush()
    assert [extent.kind for extent in device.extents(0, 1 << 20)] == [ExtentKind.DATA]


@pytest.mark.parametrize("make", [ZeroDevice, ErrorDevice])
def test_requests_are_checked_as_everywhere(make: type[ZeroDevice | ErrorDevice]) -> None:
    device: BlockDevice = make(4096)
    assert (device.size_bytes, device.read_only) == (4096, False)
    with pytest.raises(BadRequest):
        device.write_at(4096, bytes(512))
    with pytest.raises(BadRequest):
        device.read_at(1, 512)
    device.close()
    with pytest.raises(DeviceClosed):
        device.read_at(0, 512)
