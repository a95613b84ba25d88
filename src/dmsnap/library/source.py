"""What functions of the library take where a device is wanted."""

from __future__ import annotations

import os

from dmsnap.block import FileDevice
from dmsnap.block.contract import BlockDevice

__all__ = ["Source", "path_of"]

Source = str | os.PathLike[str] | BlockDevice
"""What stands where a device is wanted: an address as `dmsnap.block.open_device` takes it (the path of a file or block
device), or a device that is open already.

What is named is opened read-only, unless it is to be written to, and closed by whoever opened it; a device that the
caller gives stays the caller's.
"""


def path_of(device: BlockDevice) -> str | None:
    """Returns the path of the file or block device that a device is; None for any other."""
    return device.path if isinstance(device, FileDevice) else None
