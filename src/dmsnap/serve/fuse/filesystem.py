"""A file system of one file, which is a block device: what it does, by operation, without FUSE.

The operations have mfusepy's names and arguments, but that `read_into` and `write` take memory, which spares copies.
They raise OSErrors. Any number of threads may call them.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import time
from typing import NoReturn

from dmsnap.block.contract import BlockDevice, ExtentKind
from dmsnap.serve.fuse.error_numbers import with_error_numbers
from dmsnap.serve.fuse.ranges import punch_range, read_range, write_range, zero_range

__all__ = ["DeviceFilesystem"]

_NOW, _OMIT = (1 << 30) - 1, (1 << 30) - 2  # sys/stat.h: UTIME_NOW and UTIME_OMIT, as nanoseconds of second 0
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 0x01, 0x02, 0x10  # linux/falloc.h
_BLOCK_BYTES = 4096


class DeviceFilesystem:
    """One file in one directory.

    The file is as long as the device is now. It is in memory nowhere but in the kernel's page cache, where it stays
    over opens: while it is mounted, the device is to be changed by way of the file alone.

    Args:
        device: What the file holds; it stays the caller's to close.
        name: The file's name.
        read_only: Refuse writes; also where the device is read-only.
        changed_ns: When the content was changed last, in nanoseconds since 1970; now, if not known.
        others: Let other users read too, once the kernel lets them in.

    Attributes:
        read_only: Whether writes are refused.
    """

    use_ns = True  # mfusepy: times are whole nanoseconds
    flag_nopath = flag_nullpath_ok = True  # mfusepy: an open file is known without its path

    def __init__(
        self,
        device: BlockDevice,
        name: str,
        *,
        read_only: bool = False,
        changed_ns: int | None = None,
        others: bool = False,
    ) -> None:
        self.read_only = read_only or device.read_only
        self._device = device
        self._name = name
        self._size = device.size_bytes
        self._mask = device.logical_block_size_bytes - 1
        self._accessed = self._modified = self._changed = time.time_ns() if changed_ns is None else changed_ns
        self._mode = (0o400 if self.read_only else 0o600) | (0o044 if others else 0)
        self._directory_mode = 0o555 if others else 0o500
        self._owner = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        self._writing = threading.Lock()
        self._flushing = threading.Lock()
        self._unflushed = False

    # -- names and attributes -----------------------------------------------------------------------------------------

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, int]:  # noqa: ARG002 - mfusepy's
        """The attributes of the file, or of the directory ``/``."""
        times = {"st_atime": self._accessed, "st_mtime": self._modified, "st_ctime": self._changed}
        if path == "/":
            return self._owner | times | {"st_mode": stat.S_IFDIR | self._directory_mode, "st_nlink": 2}
        self._refuse_other_names(path)
        return (
            self._owner
            | times
            | {
                "st_mode": stat.S_IFREG | self._mode,
                "st_nlink": 1,
                "st_size": self._size,
                "st_blocks": self._size >> 9,
                "st_blksize": _BLOCK_BYTES,
            }
        )

    def readdir(self, path: str | None, fh: int) -> list[str]:  # noqa: ARG002
        """The names in the directory."""
        return [".", "..", self._name]

    def statfs(self, path: str) -> dict[str, int]:  # noqa: ARG002
        """A file system that is full: all its room is the file's."""
        return {
            "f_bsize": _BLOCK_BYTES,
            "f_frsize": _BLOCK_BYTES,
            "f_blocks": -(-self._size // _BLOCK_BYTES),
            "f_bfree": 0,
            "f_bavail": 0,
            "f_files": 1,
            "f_ffree": 0,
            "f_favail": 0,
            "f_namemax": 255,
        }

    def utimens(self, path: str | None, times: tuple[int, int] | None = None) -> int:
        """Sets the times; they are forgotten with the mount."""
        if path != "/":
            self._refuse_other_names(path)
        self._refuse_writes()
        now = time.time_ns()
        self._accessed, self._modified = (
            (now, now)
            if times is None
            else (
                before if given == _OMIT else now if given == _NOW else given
                for given, before in zip(times, (self._accessed, self._modified), strict=True)
            )
        )
        self._changed = now
        return 0

    def refuse(self, *_: object) -> NoReturn:
        """Whatever would change names, owners or modes."""
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    chmod = chown = create = link = mkdir = mknod = rename = rmdir = symlink = unlink = refuse

    # -- the file -----------------------------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> int:
        """Opens the file; no handle is needed. Truncating it, as ``>`` in a shell would, is refused."""
        self._refuse_other_names(path)
        if flags & os.O_ACCMODE != os.O_RDONLY:
            self._refuse_writes()
        if flags & os.O_TRUNC and self._size:
            self.refuse()
        return 0

    @with_error_numbers
    def read_into(self, offset: int, view: memoryview) -> int:
        """Fills ``view`` from byte ``offset``; returns how many bytes, fewer only at the end of the file."""
        length = min(len(view), self._size - offset)
        if length <= 0:
            return 0
        if length < len(view):
            view = view[:length]
        if (offset | length) & self._mask:
            read_range(self._device, offset, view)
        else:
            self._device.read_into(offset, view)
        return length

    @with_error_numbers
    def write(self, offset: int, view: memoryview) -> int:
        """Writes ``view`` at byte ``offset``; returns how many bytes: all, or those before the end of the file.

        Raises:
            OSError: EFBIG at the end: a device does not grow. ENOSPC, EIO, EROFS.
        """
        self._refuse_writes()
        length = min(len(view), self._size - offset)
        if length <= 0:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        with self._writing:
            try:
                write_range(self._device, offset, view[:length])
            finally:  # and not before: a flush meanwhile may or may not have seen it
                self._touch()
        return length

    @with_error_numbers
    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:  # noqa: ARG002
        """Does nothing to the size that the file has, and refuses any other."""
        self._refuse_other_names(path)
        self._refuse_writes()
        if length != self._size:
            self.refuse()
        return 0

    @with_error_numbers
    def fallocate(self, path: str | None, mode: int, offset: int, size: int, fh: int) -> int:  # noqa: ARG002
        """Zeros a range, or punches a hole where that gives room back (see `punch_range`).

        Raises:
            OSError: EOPNOTSUPP for all else: nobody can promise that the store will have room.
        """
        self._refuse_writes()
        length = min(size, self._size - offset)
        if length < size and not mode & _KEEP_SIZE:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        kind = mode & ~_KEEP_SIZE
        done = kind in (_PUNCH_HOLE, _ZERO_RANGE)
        if done and length > 0:
            with self._writing:
                try:
                    if kind == _ZERO_RANGE:
                        zero_range(self._device, offset, length)
                    else:
                        done = punch_range(self._device, offset, length)
                finally:
                    self._touch()
        if not done:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return 0

    @with_error_numbers
    def lseek(self, offset: int, whence: int) -> int:
        """Where the next data or the next hole begins, for ``SEEK_DATA`` and ``SEEK_HOLE``.

        Raises:
            OSError: ENXIO where there is none up to the end; EINVAL for other questions, which the kernel answers.
        """
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        wanted = ExtentKind.DATA if whence == os.SEEK_DATA else ExtentKind.HOLE
        if 0 <= offset < self._size:
            start = offset & ~self._mask
            for extent in self._device.extents(start, self._size - start):
                if extent.kind is wanted:
                    return max(offset, extent.offset)
            if whence == os.SEEK_HOLE:
                return self._size
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    @with_error_numbers
    def fsync(self, path: str | None, datasync: int, fh: int) -> int:  # noqa: ARG002
        """Makes everything that was written durable."""
        with self._flushing:
            self._flush()
        return 0

    @with_error_numbers
    def flush(self, path: str | None, fh: int) -> int:  # noqa: ARG002
        """The same when a descriptor is closed, if anything was written."""
        with self._flushing:
            if self._unflushed:
                self._flush()
        return 0

    def release(self, path: str | None, fh: int) -> int:
        """The same when the last descriptor and the last mapping of an open file are gone."""
        return self.flush(path, fh)

    def ioctl(self, *_: object) -> NoReturn:
        """There are none."""
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._unflushed = False
        try:
            self._device.flush()
        except BaseException:
            self._unflushed = True
            raise

    def _touch(self) -> None:
        self._unflushed = True
        self._modified = self._changed = time.time_ns()

    def _refuse_writes(self) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def _refuse_other_names(self, path: str | None) -> None:
        if path is not None and path[1:] != self._name:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
