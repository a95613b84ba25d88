"""Locks by which writers of a file or block device notice each other.

All are advisory, belong to the open descriptor and go with it, however the process ends:

* ``flock``, between programs like this one; udev respects it on block devices and takes it for a moment when it looks
  at one.
* QEMU's byte locks (2.10 and later; ``qemu-img`` and ``qemu-nbd`` too): a shared lock on byte 100 + n says "I do n",
  one on byte 200 + n "nobody else may do n", and n = 1 is writing. Whoever takes some looks afterwards for locks that
  contradict them.

What the kernel itself uses is not noticed by these, but by ``O_EXCL`` when a block device is opened; see
`dmsnap.block.medium`.
"""

from __future__ import annotations

import os
import stat
import struct
from time import monotonic, sleep

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

__all__ = ["taken_by_another"]

QEMU_WRITES = 101
QEMU_OTHERS_MUST_NOT_WRITE = 201

UDEV_SECONDS = 2.0
"""How long a lock on a block device may be udev's, which then goes away by itself."""

_OFD_GETLK = getattr(fcntl, "F_OFD_GETLK", None)
_OFD_SETLK = getattr(fcntl, "F_OFD_SETLK", None)
_FLOCK = "hhqqi4x"  # struct flock with 64-bit offsets: type, whence, start, length, process (0 for these locks)


def taken_by_another(fd: int, *, writable: bool) -> bool:
    """Locks what a descriptor is open on against writers, unless another holds it.

    Where the system or the filesystem has no such locks there are none to respect, and none are taken.

    Args:
        fd: Open for reading; the locks stay until it is closed.
        writable: Whether it is also written to, so that those are in the way who want nobody to write.

    Returns:
        Whether another has it; then ``fd`` may hold some of the locks and is to be closed.
    """
    if fcntl is None:
        return False
    patience = UDEV_SECONDS if stat.S_ISBLK(os.fstat(fd).st_mode) else 0.0
    return not _flocked(fd, patience) or _taken_by_qemu(fd, writable)


def _flocked(fd: int, patience_seconds: float) -> bool:
    until = monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until:
                return False
            sleep(0.02)
        except OSError:  # no such locks here
            return True
        else:
            return True


def _taken_by_qemu(fd: int, writable: bool) -> bool:
    if _OFD_GETLK is None or _OFD_SETLK is None:
        return False
    wanted = [QEMU_OTHERS_MUST_NOT_WRITE, QEMU_WRITES] if writable else [QEMU_OTHERS_MUST_NOT_WRITE]
    refused = [QEMU_WRITES, QEMU_OTHERS_MUST_NOT_WRITE] if writable else [QEMU_WRITES]
    try:
        for byte in wanted:
            fcntl.fcntl(fd, _OFD_SETLK, _one_byte(fcntl.F_RDLCK, byte))
        return any(_held(fd, byte) for byte in refused)
    except (BlockingIOError, PermissionError):  # an exclusive lock, which QEMU does not take but another may
        return True
    except OSError:  # no such locks here
        return False


def _held(fd: int, byte: int) -> bool:
    """Whether another descriptor has any lock on a byte."""
    answer = fcntl.fcntl(fd, _OFD_GETLK, _one_byte(fcntl.F_WRLCK, byte))  # type: ignore[arg-type]
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


def _one_byte(kind: int, byte: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, byte, 1, 0)
