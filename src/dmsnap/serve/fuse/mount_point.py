"""The directory that something is mounted on: what it must be, and the name of the file in it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError

__all__ = ["BadMountPoint", "check_mount_point"]

_UNMOUNT = "fusermount3 -u"


class BadMountPoint(DmsnapError, OSError):
    """A directory that nothing can be mounted on."""


def check_mount_point(directory: str | os.PathLike[str], hidden: Iterable[str | os.PathLike[str]] = ()) -> str:
    """Returns the directory's absolute path, without symbolic links.

    Args:
        directory: Where something is to be mounted: an empty directory.
        hidden: Paths that must not lie in it, as a mount would hide them.

    Raises:
        BadMountPoint: It is none, is not empty, or would hide one of those.
    """
    given = os.fspath(directory)
    name = printable(given)
    try:
        entries = os.listdir(given)  # noqa: PTH208 - what is not a directory is told by the error
        path = os.path.realpath(given, strict=True)
    except OSError as error:
        raise _cannot(name, error) from error
    except ValueError:
        raise BadMountPoint(f"{name}: is not a path", hint="name an empty directory") from None
    for each in hidden:
        if Path(os.path.realpath(each)).is_relative_to(path):
            raise BadMountPoint(
                f"{name}: {printable(os.fspath(each))} lies in it and would be hidden", hint="name an empty directory"
            )
    if os.path.ismount(path) and _is_fuse(path):
        raise BadMountPoint(f"{name}: something is mounted there", hint=f"unmount it: {_UNMOUNT} {name}")
    if entries:
        raise BadMountPoint(f"{name}: is not empty", hint="what is in it would be hidden; name an empty directory")
    return path


def _cannot(name: str, error: OSError) -> BadMountPoint:
    if error.errno == errno.ENOTCONN:  # "Transport endpoint is not connected"
        return BadMountPoint(f"{name}: a mount that was killed is left there", hint=f"unmount it: {_UNMOUNT} {name}")
    hint = {errno.ENOENT: f"make it: mkdir {name}", errno.EACCES: "run as a user who may open it"}
    return BadMountPoint(
        f"{name}: {(error.strerror or str(error)).lower()}", hint=hint.get(error.errno or 0, "name an empty directory")
    )


def _is_fuse(path: str) -> bool:
    """Whether what is mounted there is by FUSE, in Linux's words."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    for line in reversed(lines):
        fields = line.split(b" ")
        if len(fields) > 8 and _unescaped(fields[4]) == os.fsencode(path):
            return fields[fields.index(b"-") + 1].startswith(b"fuse")
    return False


def _unescaped(field: bytes) -> bytes:
    """A path as mountinfo writes it (proc(5)): space, tab, newline and backslash in octal."""
    for code in (b"040", b"011", b"012", b"134"):
        field = field.replace(b"\\" + code, bytes([int(code, 8)]))
    return field
