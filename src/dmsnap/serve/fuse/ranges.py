"""Reads and writes of any length anywhere on a device, which itself takes whole logical blocks only.

Whoever writes calls these one at a time: a block that is written in part is read, changed and written back, and what
another writes to it in between would be lost.
"""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice, ExtentKind

__all__ = ["punch_range", "read_range", "write_range", "zero_range"]


def read_range(device: BlockDevice, offset: int, view: memoryview) -> None:
    """Fills ``view`` from byte ``offset``. Errors as `BlockDevice.read_into`."""
    start, stop = _hull(device, offset, offset + len(view))
    if stop - start == len(view):
        device.read_into(offset, view)
    else:
        view[:] = device.read_at(start, stop - start)[offset - start : offset - start + len(view)]


def write_range(device: BlockDevice, offset: int, view: memoryview) -> None:
    """Writes ``view`` at byte ``offset``. Errors as `BlockDevice.write_at`."""
    block, end = device.logical_block_size_bytes, offset + len(view)
    start, stop = _hull(device, offset, end)
    if stop - start == len(view):
        device.write_at(offset, view)
        return
    whole = memoryview(bytearray(stop - start))
    if start < offset:
        device.read_into(start, whole[:block])
    if end < stop and (start == offset or stop - start > block):
        device.read_into(stop - block, whole[-block:])
    whole[offset - start : end - start] = view
    device.write_at(start, whole)


def zero_range(device: BlockDevice, offset: int, length: int) -> None:
    """Makes ``length`` bytes from byte ``offset`` zeros. Errors as `BlockDevice.zero`."""
    block, end = device.logical_block_size_bytes, offset + length
    first, last = -(-offset // block) * block, end // block * block
    if first > last:  # inside one block
        write_range(device, offset, memoryview(bytes(length)))
        return
    if offset < first:
        write_range(device, offset, memoryview(bytes(first - offset)))
    if first < last:
        device.zero(first, last - first)
    if last < end:
        write_range(device, last, memoryview(bytes(end - last)))


def punch_range(device: BlockDevice, offset: int, length: int) -> bool:
    """Makes bytes zeros where that takes no room: where they are the device's own, or zeros already.

    A snapshot that is told of free space (mkfs, fstrim) would else fill its store with zeros: what a layer behind it
    has can only be hidden.

    Returns:
        Whether it was done; if not, nothing was.
    """
    start, stop = _hull(device, offset, offset + length)
    data = [extent for extent in device.extents(start, stop - start) if extent.kind is ExtentKind.DATA]
    if any(extent.depth > 1 for extent in data):
        return False
    for extent in data:
        begin, end = max(offset, extent.offset), min(offset + length, extent.offset + extent.length)
        zero_range(device, begin, end - begin)
    return True


def _hull(device: BlockDevice, start: int, end: int) -> tuple[int, int]:
    """The whole logical blocks that bytes ``start`` to ``end`` lie in."""
    mask = device.logical_block_size_bytes - 1
    return start & ~mask, (end + mask) & ~mask
