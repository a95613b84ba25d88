"""Reading and writing at an offset, and punching holes, on systems that have the calls and on those that do not."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache

__all__ = ["preadv", "punch_hole", "pwrite"]

# linux/falloc.h
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02

_seek_lock = threading.Lock()


def _seek_and_readv(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0, /) -> int:  # noqa: ARG001
    """Reads at an offset where the system has only seek and read (Windows)."""
    got = 0
    with _seek_lock:
        os.lseek(fd, offset, os.SEEK_SET)
        for buffer in buffers:
            data = os.read(fd, buffer.nbytes)
            buffer[: len(data)] = data
            got += len(data)
            if len(data) < buffer.nbytes:
                break
    return got


def _seek_and_write(fd: int, data: memoryview, offset: int, /) -> int:
    """Writes at an offset where the system has only seek and write (Windows)."""
    with _seek_lock:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)


preadv: Callable[..., int] = getattr(os, "preadv", _seek_and_readv)
"""``preadv(fd, buffers, offset, flags=0)`` of the operating system; may be short."""

pwrite: Callable[[int, memoryview, int], int] = getattr(os, "pwrite", _seek_and_write)
"""``pwrite(fd, data, offset)`` of the operating system; may be short."""


@cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Finds the C library's fallocate with 64-bit offsets (Python offers none that can punch)."""
    import ctypes

    try:
        library = ctypes.CDLL(None, use_errno=True)
        call = getattr(library, "fallocate64", None) or library.fallocate  # musl has only the latter, 64-bit too
    except (AttributeError, OSError, TypeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    call.restype = ctypes.c_int
    return call


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Takes the storage from a range, which then reads as zeros; the size stays.

    Returns:
        False where the system or the filesystem cannot; then nothing was changed.

    Raises:
        OSError: It failed for another reason.
    """
    import ctypes

    call = _fallocate()
    if call is None:
        return False
    while call(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length):
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV):
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True
