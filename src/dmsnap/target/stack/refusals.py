"""What a stack refuses, with the errno that the kernel answers."""

from __future__ import annotations

from errno import EBUSY, EINVAL, ENXIO

from dmsnap.errors import DmsnapError
from dmsnap.target.table import BadTable

__all__ = ["BadTableText", "DeviceBusy", "DeviceExists", "NoSuchDevice", "NoTable", "TableRefused", "TargetRefused"]


class NoSuchDevice(DmsnapError, LookupError):
    """No device of the stack has this name."""

    errno = ENXIO


class DeviceExists(DmsnapError):
    """A device of this name exists already."""

    errno = EBUSY


class DeviceBusy(DmsnapError):
    """A device that cannot go, since the table of another one uses it."""

    errno = EBUSY


class NoTable(DmsnapError):
    """A suspended device that has never had a table cannot be resumed."""

    errno = EINVAL


class BadTableText(BadTable):
    """Text that is no table: ``dmsetup`` refuses it before the kernel sees it."""

    errno = EINVAL


class TableRefused(BadTable):
    """A table that the kernel refuses to load or to start.

    Attributes:
        words: The kernel's own, as its log has them behind the device's number; names of devices are as in the table.
        errno: What its ioctl answers.
    """

    words: str
    errno: int

    def __init__(self, device: str, words: str, errno: int = EINVAL, *, reason: str = "", hint: str = "") -> None:
        super().__init__(f"{device}: {words}{reason and ': '}{reason}", hint=hint, device=device)
        self.words = words
        self.errno = errno


class TargetRefused(DmsnapError):
    """Raised by a target that cannot be; the table that it is in becomes `TableRefused`.

    Attributes:
        errno: As of the table.
        reason: What the kernel does not say: which device, which number.
    """

    errno: int
    reason: str

    def __init__(self, words: str, errno: int = EINVAL, *, reason: str = "", hint: str = "") -> None:
        super().__init__(words, hint=hint)
        self.errno = errno
        self.reason = reason
