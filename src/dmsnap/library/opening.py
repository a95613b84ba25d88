"""From what a caller names (a path, a device) to an open block device."""

from __future__ import annotations

import os

from dmsnap.block.contract import BlockDevice

__all__ = ["Source"]

Source = str | os.PathLike[str] | BlockDevice
"""What stands where a device is wanted: a path (file or block device), or a device that is open already.

A path is opened read-only and closed by whoever opened it; a device given by the caller stays the caller's to close.
"""
