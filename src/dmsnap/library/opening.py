"""From what a caller names (a path, a device) to an open block device and an open store."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from dmsnap.block.contract import BlockDevice
from dmsnap.block.file import FileDevice
from dmsnap.block.open import open_device
from dmsnap.errors import DmsnapError
from dmsnap.library.origin_doubts import begins_as_store
from dmsnap.store import NotAStore, Store, open_store
from dmsnap.transfer.media import same_medium

__all__ = ["SameDevice", "Source", "open_origin_and_store", "open_store_of", "path_of"]

Source = str | os.PathLike[str] | BlockDevice
"""What stands where a device is wanted: an address as `dmsnap.block.open_device` takes it (the path of a file or block
device), or a device that is open already.

What is named is opened read-only and closed by whoever opened it; a device that the caller gives stays the caller's.
"""


class SameDevice(DmsnapError, ValueError):
    """COW store and origin are one and the same."""


def open_store_of(
    cow: Source, stack: ExitStack, *, prefetch: str | int = "auto", origin: BlockDevice | None = None
) -> Store:
    """Opens a store to look at; what is opened is closed by ``stack``.

    Args:
        cow: The COW store.
        stack: Takes over what is opened here.
        prefetch: How the metadata is read; see `dmsnap.store.open_store`.
        origin: Where it is known: records beyond it become findings.

    Raises:
        DmsnapError: The path cannot be opened, or there is no store that can be read.
    """
    device = _open(cow, stack)
    if origin is None:
        return open_store(device, prefetch=prefetch)
    return open_store(
        device,
        prefetch=prefetch,
        origin_size_bytes=origin.size_bytes,
        origin_block_size_bytes=origin.logical_block_size_bytes,
    )


def open_origin_and_store(
    cow: Source, origin: Source, stack: ExitStack, *, prefetch: str | int = "auto"
) -> tuple[BlockDevice, Store]:
    """Opens both parts of a snapshot, as `open_store_of`.

    Raises:
        SameDevice: They are the same medium, by whatever names, loop devices among them.
    """
    below, above = _open(origin, stack), _open(cow, stack)
    if below is above or _same(path_of(below), path_of(above)):
        raise SameDevice(
            f"{above.name}: COW device cannot be the same as origin device",
            hint="name the device that the snapshot was taken of as origin",
            device=above.name,
        )
    try:
        return below, open_store_of(above, stack, prefetch=prefetch, origin=below)
    except NotAStore as error:
        if begins_as_store(below):
            error.hint = "SNAP and ORIGIN swapped? the origin begins as a store does"
        raise


def path_of(device: BlockDevice) -> str | None:
    """Returns the path of the file or block device that a device is; None for any other."""
    return device.path if isinstance(device, FileDevice) else None


def _open(source: Source, stack: ExitStack) -> BlockDevice:
    if isinstance(source, BlockDevice):
        return source
    return stack.enter_context(open_device(source if isinstance(source, str) else Path(source)))


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and same_medium(os.stat(one), os.stat(other))  # noqa: PTH116
