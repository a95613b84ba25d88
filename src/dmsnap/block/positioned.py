"""Reading and writing at an offset, and punching holes, on systems that have the calls and on those that do not."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache

__all__ = ["preadv", "punch_hole", "pwrite", "pwrite_durably", "pwritev", "start_reading", "start_writeback"]

# linux/falloc.h
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
# linux/fs.h
SYNC_FILE_RANGE_WRITE = 0x02

_WORTH_STARTING_BYTES = 64 << 10
_ADVISED_BYTES = 128 << 10
"""Linux reads no more than the device's readahead for one call, which is 128 KiB unless it was set (mm/readahead.c)."""

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


def _write_each(fd: int, views: Sequence[memoryview], offset: int, /) -> int:
    """Writes some memory after another, where the system has no call for it; may be short as that is."""
    total = 0
    for view in views:
        done = pwrite(fd, view, offset + total)
        total += done
        if done < len(view):
            break
    return total


pwritev: Callable[..., int] = getattr(os, "pwritev", _write_each)
"""``pwritev(fd, views, offset)`` of the operating system; may be short."""


_RWF_DSYNC = getattr(os, "RWF_DSYNC", 0)
_NO_DSYNC = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}  # by filesystem, by emulated kernel, by kernel before 4.7


def pwrite_durably(fd: int, data: memoryview, offset: int) -> int | None:
    """Writes at an offset, and what it wrote is durable on return: one call, where the system has it (Linux 4.7).

    Returns:
        How many bytes, maybe not all; None where the system or the filesystem has no such call.
    """
    if not _RWF_DSYNC:
        return None
    try:
        return os.pwritev(fd, (data,), offset, _RWF_DSYNC)
    except OSError as error:
        if error.errno in _NO_DSYNC:
            return None
        raise


@cache
def _from_c_library(*names: str) -> Callable[..., int] | None:
    """Finds the first of some functions in the C library, for what Python does not offer itself."""
    import ctypes

    try:
        library = ctypes.CDLL(None, use_errno=True)
    except (OSError, TypeError):
        return None
    call = next((getattr(library, name) for name in names if hasattr(library, name)), None)
    if call is not None:
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

    call = _from_c_library("fallocate64", "fallocate")  # musl has only the latter, 64-bit too
    if call is None:
        return False
    mode, start, count = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(length)
    while call(fd, mode, start, count):
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV):
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True


def start_reading(fd: int, offset: int, length: int) -> None:
    """Asks the system to read a range into the page cache, and does not wait for it: a hint.

    Nothing happens where the system has no posix_fadvise(2), or the filesystem no use for it.
    """
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return
    for start in range(offset, offset + length, _ADVISED_BYTES):
        with contextlib.suppress(OSError):
            advise(fd, start, min(_ADVISED_BYTES, offset + length - start), os.POSIX_FADV_WILLNEED)


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Asks the system to begin writing a range to the medium, and does not wait: a hint that makes a later sync short.

    It is no sync: see sync_file_range(2). Nothing happens where the system lacks it, nor for a small range, as asking
    takes as long as writing it.
    """
    import ctypes

    if length < _WORTH_STARTING_BYTES:
        return
    call = _from_c_library("sync_file_range")
    if call is not None:
        call(fd, ctypes.c_int64(offset), ctypes.c_int64(length), SYNC_FILE_RANGE_WRITE)
