"""libfuse by way of mfusepy: whether it is there, and the loop that serves a `DeviceFilesystem`.

mfusepy is an extra (``pip install 'dmsnap[fuse]'``) and imported only here and only when something is mounted.
"""

from __future__ import annotations

import importlib
import os
import shutil
import stat
from collections.abc import Callable
from ctypes.util import find_library
from pathlib import Path
from typing import Any

from dmsnap.errors import DmsnapError
from dmsnap.serve.fuse.filesystem import DeviceFilesystem
from dmsnap.serve.fuse.requests import fuse_class

__all__ = ["NoFuse", "check_fuse", "run_filesystem"]

DEVICE = Path("/dev/fuse")
_LIBRARY = "FUSE_LIBRARY_NAME"  # which mfusepy looks for; alone it would take libfuse 2 where both are

_NEVER_SECONDS = 86400.0
"""How long the kernel may keep names and attributes: they change by way of the mount alone."""

_FUSE_HINT = "install the package fuse3"


class NoFuse(DmsnapError):
    """Something that mounting takes is not there."""


def check_fuse() -> None:
    """Does nothing where mounting is possible, as far as one can tell before.

    Raises:
        NoFuse: mfusepy, libfuse 3, ``/dev/fuse`` or (for a user who is not root) ``fusermount3`` is missing.
    """
    _mfusepy()
    try:
        there = stat.S_ISCHR(DEVICE.stat().st_mode) and os.access(DEVICE, os.R_OK | os.W_OK)
    except OSError:
        raise NoFuse(
            f"{DEVICE}: is not there", hint="load the kernel module fuse; a container needs the device"
        ) from None
    if not there:
        raise NoFuse(f"{DEVICE}: permission denied", hint="run as a user who may open it")
    if os.geteuid() and shutil.which("fusermount3") is None:
        raise NoFuse("fusermount3 is not installed", hint=_FUSE_HINT)


def run_filesystem(
    filesystem: DeviceFilesystem,
    directory: str,
    on_ready: Callable[[], object],
    stopping: Callable[[], bool],
    **options: Any,
) -> None:
    """Mounts a file system and serves it until it is unmounted, by whomever.

    Args:
        filesystem: What to serve.
        directory: Where; an absolute path.
        on_ready: Called by another thread once it is mounted.
        stopping: Whether to unmount, asked at each ``statvfs`` of the mount.
        **options: Of FUSE: ``allow_other`` …

    Raises:
        RuntimeError: libfuse failed; the argument is its exit status. What it has to say went to descriptor 2.
    """
    mfusepy = _mfusepy()

    def set_up(connection: Any, config: Any) -> None:  # noqa: ARG001 - mfusepy's
        config.kernel_cache = 1
        config.entry_timeout = config.attr_timeout = config.negative_timeout = _NEVER_SECONDS
        on_ready()

    filesystem.init_with_config = set_up  # type: ignore[attr-defined]
    filesystem.read = filesystem.read_into  # type: ignore[attr-defined]  # that there is one

    fuse = fuse_class(mfusepy, filesystem, stopping)
    fuse(filesystem, directory, foreground=True, subtype="dmsnap", default_permissions=True, **options)


def _mfusepy() -> Any:
    preferred = find_library("fuse3") and _LIBRARY not in os.environ
    if preferred:
        os.environ[_LIBRARY] = "fuse3"
    try:
        mfusepy = importlib.import_module("mfusepy")
    except ImportError as error:
        raise NoFuse("mfusepy is not installed", hint="pip install 'dmsnap[fuse]'") from error
    except (OSError, AttributeError) as error:  # in its words: unable to find libfuse, or too old
        raise NoFuse("libfuse 3 is not installed", hint=_FUSE_HINT) from error
    finally:
        if preferred:
            del os.environ[_LIBRARY]
    if mfusepy.fuse_version_major != 3:
        raise NoFuse("there is only libfuse 2, and libfuse 3 is needed", hint=_FUSE_HINT)
    return mfusepy
