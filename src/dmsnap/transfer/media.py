"""What a device's bytes finally lie on, so that a result never overwrites what it is made of.

Linux tells in ``/sys/dev/block``: the file below a loop device (``loop/backing_file``), the disk around a partition
(the folder above one that has ``partition``), the devices below a mapped one (``slaves``). Where there is no such
folder, a block device is just itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from dmsnap.block.contract import BlockDevice
from dmsnap.block.file import FileDevice
from dmsnap.target.concatenated import ConcatenatedDevice
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.striped import StripedDevice

__all__ = ["files_below", "overlapping", "same_medium"]

SYSTEM = Path("/sys/dev/block")
"""Where Linux tells about block devices, each under its number."""

_Medium = tuple[int, ...]
"""A block device as (number,), a file as (number of its filesystem, inode)."""


def files_below(device: BlockDevice) -> Iterator[FileDevice]:
    """Yields the files and block devices that a device is made of: through wrappers, snapshots and joined devices."""
    if isinstance(device, FileDevice):
        yield device
    elif isinstance(device, SnapshotDevice):
        yield from files_below(device.origin)
        yield from files_below(device.store.device)
    elif isinstance(device, ConcatenatedDevice | StripedDevice):
        for part in device._parts if isinstance(device, ConcatenatedDevice) else device._stripes:
            yield from files_below(part)
    elif isinstance(inner := getattr(device, "device", None), BlockDevice):
        yield from files_below(inner)


def same_medium(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether two paths, by their status, are one medium: equal, or a loop device and all of the file below it."""
    return not _medium(one)[0].isdisjoint(_medium(other)[0])


def overlapping(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether one lies on the other, in part or as a whole, or both are one. Two parts of a disk do not overlap."""
    (itself, below), (other_itself, other_below) = _medium(one), _medium(other)
    return not (itself.isdisjoint(other_itself | other_below) and other_itself.isdisjoint(below))


def _medium(status: os.stat_result) -> tuple[set[_Medium], set[_Medium]]:
    """Returns what is all the same as the path of this status, and what it is a part of."""
    itself: set[_Medium] = set()
    below: set[_Medium] = set()
    _collect(status, itself, below)
    return itself, below


def _collect(status: os.stat_result, same: set[_Medium], below: set[_Medium]) -> None:
    """Adds the medium itself to ``same``, and what it is a part of to ``below``."""
    if not stat.S_ISBLK(status.st_mode):
        same.add((status.st_dev, status.st_ino))
        return
    if (status.st_rdev,) in same:
        return
    same.add((status.st_rdev,))
    folder = SYSTEM / f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    backing = _text(folder / "loop/backing_file")
    if backing:
        whole = _text(folder / "loop/offset") == _text(folder / "loop/sizelimit") == "0"
        try:
            _collect(os.stat(backing), same if whole else below, below)  # noqa: PTH116 - a status
        except OSError:  # deleted, or out of sight: then nobody can name it either
            return
    if (folder / "partition").exists():
        _collect_number(_text(folder.resolve().parent / "dev"), below)
    for slave in folder.glob("slaves/*"):
        _collect_number(_text(slave / "dev"), below)


def _collect_number(number: str, below: set[_Medium]) -> None:
    """As `_collect`, for a block device of which only ``major:minor`` is known."""
    major, _, minor = number.partition(":")
    if minor:
        number_alone = {"st_rdev": os.makedev(int(major), int(minor))}
        _collect(os.stat_result((stat.S_IFBLK, *(0,) * 9), number_alone), below, below)


def _text(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes()).removesuffix("\n")
    except OSError:
        return ""
