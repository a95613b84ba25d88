"""Reading anywhere, whatever the logical block size of a device is."""

from __future__ import annotations

from dmsnap.block import BlockDevice

__all__ = ["read_long", "read_span"]


def read_long(device: BlockDevice, offset: int, length: int) -> bytearray:
    """Returns up to ``length`` bytes from byte ``offset``; fewer at the end of the device, none behind it.

    What is asked for is cut to the device before any memory is taken, so that numbers read from it may be passed in.
    Nothing is copied: the memory that was read into is returned.

    Raises:
        IOFailed: The medium failed.
        DeviceClosed: The device was closed.
    """
    end = min(offset + length, device.size_bytes)
    if offset < 0 or end <= offset:
        return bytearray()
    block = device.logical_block_size_bytes
    first = offset // block * block
    data = device.read_at(first, -(-end // block) * block - first)
    del data[end - first :]
    del data[: offset - first]
    return data


def read_span(device: BlockDevice, offset: int, length: int) -> bytes:
    """As `read_long`, for a few bytes."""
    return bytes(read_long(device, offset, length))
