"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from dmsnap.block.file import FileDevice
from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError

__all__ = ["CannotWrite", "whole_file"]


class CannotWrite(DmsnapError, OSError):
    """The place for the result cannot be written."""

    @classmethod
    def because(cls, path: str, error: OSError) -> CannotWrite:
        """Returns the error for ``path`` in the operating system's words."""
        failure = cls(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}", path=path)
        failure.errno = error.errno
        return failure


@contextlib.contextmanager
def whole_file(path: str, size_bytes: int, *, sync: bool = True) -> Iterator[FileDevice]:
    """Gives a new, sparse file to write to, which becomes ``path`` when the block ends well and goes otherwise.

    Until then it has a name of its own in the same folder, which nobody can foresee. What ``path`` was before stays
    until it is replaced, in one step; its permissions pass on.

    Args:
        path: The final name; symbolic links are followed.
        size_bytes: The file's size, in whole sectors.
        sync: Make the file durable before it takes its name, so that a power failure cannot leave a name without its
            content.

    Raises:
        CannotWrite: The folder is missing, full or not writable.
        IOFailed: The content could not be made durable.
    """
    final = os.path.realpath(path)
    folder = os.path.dirname(final)  # noqa: PTH120 - beside realpath and join
    name = os.path.join(folder, f".dmsnap-{os.urandom(8).hex()}.part")
    try:
        _make(name, size_bytes, like=final)
        with FileDevice(name, writable=True, flushed_later=sync) as device:
            device.name = printable(path)  # for messages: the other name means nothing to anybody
            yield device
            if sync:
                device.flush()
        os.rename(name, final)  # noqa: PTH104 - twin of the descriptor calls around
        if sync:
            _sync_folder(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        if isinstance(error, OSError) and not isinstance(error, DmsnapError):
            raise CannotWrite.because(path, error) from error
        raise


def _make(name: str, size_bytes: int, *, like: str) -> None:
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(fd, stat.S_IMODE(os.stat(like).st_mode) & 0o777)  # noqa: PTH116
        os.ftruncate(fd, size_bytes)
    finally:
        os.close(fd)


def _sync_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
