"""Who else uses a file by way of a loop device.

A loop device has a cache of its own: what is written to the file below it is not seen through it, and what was written
through it may come later. So two writers, one on either side, destroy each other's work, and no lock on the one is
seen on the other. Linux tells in ``/sys/block`` which file each loop device has.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dmsnap.block.exclusive import taken_by_another

__all__ = ["used_by_way_of_loop"]

SYSTEM = Path("/sys/block")
SECTOR_BYTES = 512


class _Loop(NamedTuple):
    """A loop device.

    Attributes:
        device: Its path.
        number: ``major:minor``.
        file: The path of the file below.
        part: The bytes of the file that it shows.
    """

    device: str
    number: str
    file: str
    part: range


def used_by_way_of_loop(fd: int, *, writable: bool) -> str | None:
    """Returns what else is in use that lies on the same file as a descriptor's: a loop device, or the file itself.

    A loop device is in use if the kernel has it (mounted, under a mapped device) or somebody else exclusively, and also
    if this user may not ask. Two loop devices on different parts of a file are not in each other's way.

    Args:
        fd: Open on a file or a block device.
        writable: Whether it is also written to; as in `dmsnap.block.exclusive.taken_by_another`.

    Returns:
        The path of the first that is found, or None.
    """
    itself = os.fstat(fd)
    loops = list(_loops())
    try:
        if stat.S_ISREG(itself.st_mode):
            return _taken_loop(itself, range(sys.maxsize), loops)
        number = f"{os.major(itself.st_rdev)}:{os.minor(itself.st_rdev)}"
        for loop in loops:
            if loop.number == number:
                if _file_is_taken(loop.file, writable):
                    return loop.file
                file = os.stat(loop.file)  # noqa: PTH116 - twin of the fstat
                return _taken_loop(file, loop.part, [other for other in loops if other is not loop])
    except OSError:  # the file was deleted, or is out of sight
        pass
    return None


def _taken_loop(file: os.stat_result, part: range, loops: Sequence[_Loop]) -> str | None:
    for loop in loops:
        apart = loop.part.stop <= part.start or part.stop <= loop.part.start
        if not apart and _is_file(file, loop.file) and _is_taken(loop.device):
            return loop.device
    return None


def _loops() -> Iterator[_Loop]:
    """Yields each loop device that has a file."""
    try:
        names = sorted(name for name in os.listdir(SYSTEM) if name.startswith("loop"))  # noqa: PTH208
    except OSError:  # not Linux, or not shown here
        return
    for name in names:
        folder = SYSTEM / name
        try:
            file = os.fsdecode((folder / "loop/backing_file").read_bytes()).removesuffix("\n")
            start, sectors = (int((folder / word).read_text("ascii")) for word in ("loop/offset", "size"))
            number = (folder / "dev").read_text("ascii").strip()
        except (OSError, ValueError):  # has none, or not any more
            continue
        yield _Loop(f"/dev/{name}", number, file, range(start, start + sectors * SECTOR_BYTES))


def _is_file(status: os.stat_result, path: str) -> bool:
    try:
        return os.path.samestat(status, os.stat(path))  # noqa: PTH116 - to be compared with a status
    except OSError:
        return False


def _is_taken(loop: str) -> bool:
    """Whether a loop device cannot be had exclusively; opened to look, which changes nothing."""
    try:
        os.close(os.open(loop, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return error.errno in (errno.EBUSY, errno.EACCES, errno.EPERM)
    return False


def _file_is_taken(path: str, writable: bool) -> bool:
    """Whether another writer has the file below a loop device. The lock is given back at once.

    Whoever opens the file later finds the loop device taken.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return taken_by_another(fd, writable=writable)
    finally:
        os.close(fd)
