"""Opening what bytes lie on: regular files and block devices, and nothing that could hang or has side effects."""

from __future__ import annotations

import errno
import os
import stat
import sys

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.block.exclusive import taken_by_another
from dmsnap.errors import DmsnapError

try:
    import fcntl
except ImportError:  # not a POSIX system: there are only files
    fcntl = None  # type: ignore[assignment]

__all__ = ["CannotOpen", "InUse", "logical_block_size", "medium_size", "open_medium", "printable"]

BLKSSZGET = 0x1268
"""``_IO(0x12, 104)`` of ``linux/fs.h``: the logical block size of a block device, into an int."""

BLKROGET = 0x125E
"""``_IO(0x12, 94)`` of ``linux/fs.h``: whether a block device is read-only, into an int."""

# O_NONBLOCK: an open never waits (for a FIFO's other end, a lease, a medium). O_NOCTTY: never adopt a terminal.
_OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"))

_REFUSED = {
    stat.S_IFDIR: "is a directory",
    stat.S_IFIFO: "is a FIFO",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a character device",
}

_HINTS = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EACCES: "run as a user who may open it",
    errno.EPERM: "it may be immutable or append-only, which lsattr(1) shows",
    errno.EROFS: "it can only be read; a copy of it can be written to",
    errno.EBUSY: "something else uses it; unmount or deactivate it first",
    errno.EAGAIN: "another process holds a lease on it",
    errno.ENOMEDIUM if hasattr(errno, "ENOMEDIUM") else errno.ENXIO: "put a medium into the drive",
}


class CannotOpen(DmsnapError, OSError):
    """A path that cannot serve as a device: missing, not permitted, or neither a file nor a block device."""


class InUse(CannotOpen):
    """Another writer has it, or (a block device) the kernel: mounted, under a mapped device, swap …"""


def open_medium(path: str, *, writable: bool, exclusive: bool = False) -> int:
    """Opens a regular file or a block device, without ever waiting for it, and returns the descriptor.

    The kind is looked at before opening, since to open some devices is to act on them (a watchdog, a tape), and again
    afterwards on the descriptor, since the path may have changed in between.

    Args:
        path: Of the file or block device.
        writable: Open for writing too.
        exclusive: Keep other writers away until the descriptor is closed; see `dmsnap.block.exclusive`.

    Raises:
        CannotOpen: As its name says, with ``device`` and ``errno``.
        InUse: To be exclusive, and another writer or the kernel uses it, be it by way of a loop device.
    """
    flags = (os.O_RDWR if writable else os.O_RDONLY) | _OPEN_FLAGS
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - twin of the fstat below
        _refuse_other_kinds(path, mode)
        if exclusive and stat.S_ISBLK(mode):
            flags |= os.O_EXCL  # on a block device: EBUSY where the kernel, or another with this flag, has it
        fd = os.open(path, flags)
    except CannotOpen:
        raise
    except OSError as error:
        if exclusive and error.errno == errno.EBUSY:
            hint = "unmount or deactivate it, or stop the other writer"
            raise _in_use(path, "in use by the system or another writer", hint) from error
        raise _cannot_open(path, (error.strerror or str(error)).lower(), error.errno) from error
    except ValueError as error:  # a NUL in the path
        raise _cannot_open(path, str(error), errno.EINVAL) from error
    try:
        _refuse_other_kinds(path, os.fstat(fd).st_mode)
        if writable and _asked(fd, BLKROGET):  # Linux opens it all the same, and fails the writes
            raise _cannot_open(path, "is a read-only block device", errno.EROFS)
        if hasattr(os, "set_blocking"):
            os.set_blocking(fd, True)
        if exclusive and taken_by_another(fd, writable=writable):
            raise _in_use(path, "in use by another writer", "wait for it or stop it; fuser(1) names it")
        if exclusive:
            from dmsnap.block.loop_devices import used_by_way_of_loop  # who only reads does not pay for pathlib

            if (user := used_by_way_of_loop(fd, writable=writable)) is not None:
                hint = "unmount or deactivate that, or stop the other writer; losetup(8) detaches a loop device"
                raise _in_use(path, f"in use by way of {printable(user)}", hint)
    except BaseException:
        os.close(fd)
        raise
    return fd


def medium_size(fd: int) -> int:
    """Returns the size in bytes of a file or block device, now."""
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    # A block device has no st_size; seeking asks it without an ioctl whose number differs between architectures.
    return os.lseek(fd, 0, os.SEEK_END)


def logical_block_size(fd: int) -> int:
    """Returns the logical block size in bytes: 512 for files, as the loop driver has it; its own for a block device."""
    return _asked(fd, BLKSSZGET) or SECTOR_BYTES


def _asked(fd: int, request: int) -> int:
    """Asks a block device for a number; 0 where there is no answer: of a file, or elsewhere than in Linux."""
    if fcntl is None or not stat.S_ISBLK(os.fstat(fd).st_mode):
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(fd, request, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def printable(path: str) -> str:
    """Returns a path as it can stand in a one-line message: quoted where it is empty or not all printable."""
    return path if path and path.isprintable() else ascii(path)


def _refuse_other_kinds(path: str, mode: int) -> None:
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        what = _REFUSED.get(stat.S_IFMT(mode), "is not a file")
        raise _cannot_open(path, what, errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL)


def _in_use(path: str, what: str, hint: str) -> InUse:
    error = InUse(f"{printable(path)}: {what}", hint=hint, device=path)
    error.errno = errno.EBUSY
    return error


def _cannot_open(path: str, what: str, number: int | None) -> CannotOpen:
    hint = _HINTS.get(number or 0, "give a regular file or a block device")
    error = CannotOpen(f"{printable(path)}: {what}", hint=hint, device=path)
    error.errno = number
    return error
