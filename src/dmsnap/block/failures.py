"""What can go wrong with a request to a device."""

from __future__ import annotations

from dmsnap.errors import DmsnapError

__all__ = ["BadRequest", "DeviceClosed", "IOFailed", "OutOfRoom", "ReadOnlyDevice"]


class BadRequest(DmsnapError, ValueError):
    """A request outside the device, or not in multiples of its logical block size."""


class ReadOnlyDevice(DmsnapError, PermissionError):
    """A write, zero or discard on a device that was opened to look."""


class DeviceClosed(DmsnapError, ValueError):
    """A request to a device after its `BlockDevice.close`."""


class IOFailed(DmsnapError, OSError):
    """The medium below failed (the kernel's EIO). Nothing is known of the buffer's content afterwards."""


class OutOfRoom(IOFailed):
    """What lies beneath a sparse device has no room for what was to be written (ENOSPC, EDQUOT, EFBIG).

    The medium is sound: what was durable still is, reads and writes of what has its room go on, and the same write
    succeeds once there is room again. Of the write itself any part may have been made. Where a flush raises it, writes
    since the last flush may be lost, as with any `IOFailed`.
    """
