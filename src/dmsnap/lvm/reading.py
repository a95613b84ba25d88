"""Reading a few bytes anywhere, whatever the logical block size of a device is."""

from __future__ import annotations

from dmsnap.block import BlockDevice

__all__ = ["read_span"]


def read_span(device: BlockDevice, offset: int, length: int) -> bytes:
    """Returns up to ``length`` bytes from byte ``offset``; fewer at the end of the device, none behind it.

    What is asked for is cut to the device before any memory is taken, so that numbers read from it may be passed in.

    Raises:
        IOFailed: The medium failed.
        DeviceClosed: The device was closed.
    """
    end = min(offset + length, device.size_bytes)
    if offset < 0 or end <= offset:
        return b""
    block = device.logical_block_size_bytes
    first = offset // block * block
    return bytes(memoryview(device.read_at(first, -(-end // block) * block - first))[offset - first : end - first])
