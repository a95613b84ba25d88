"""A snapshot mounted as a file: for every program that reads or writes files."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from dmsnap.block.contract import BlockDevice
from dmsnap.library.snapshot_file import open_snapshot
from dmsnap.library.source import Source, path_of
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.address import is_lvm_address, parse_lvm_address, paths_named
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.library.volumes.sources import plain_volume, snapshot_sources
from dmsnap.serve.fuse import Mount, check_mount_point
from dmsnap.serve.fuse.libfuse import check_fuse
from dmsnap.target.exceptions import SyncMode

__all__ = ["MountedSnapshot", "mount"]

_NAMELESS = "snapshot"


class MountedSnapshot:
    """A snapshot that is mounted, until `close` or until somebody unmounts it; made by `mount`.

    Attributes:
        directory: Where, as an absolute path.
        path: The file.
    """

    def __init__(self, mounted: Mount, owned: ExitStack) -> None:
        self.directory = mounted.directory
        self.path = mounted.path
        self._mount = mounted
        self._owned = owned.pop_all()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until somebody unmounts it, at most so long; says whether that is so.

        `close` is still to be called: it makes durable what was written.
        """
        return self._mount.wait(seconds)

    def close(self) -> None:
        """Unmounts it, in use or not, makes everything durable, and closes the snapshot. A second call does nothing.

        Raises:
            IOFailed: Something that was written could not be made durable.
            MountFailed: There are requests that do not end.
        """
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def mount(
    snap: Source,
    directory: str | os.PathLike[str],
    origin: Source | None = None,
    *,
    read_only: bool = False,
    sync: SyncMode = "flush",
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    allow_other: bool = False,
) -> MountedSnapshot:
    """Mounts a snapshot as one file in a directory, served by threads of this process.

    The file is named after the COW store's file, without its suffix: ``monday.cow`` becomes ``directory/monday``.
    Writes go to the COW store and leave the origin as it is. ``fsync``, closing the file and unmounting make durable
    what was written. What the store has no room for is refused (ENOSPC), and all else goes on.

    Args:
        snap: The COW store, as `open_snapshot` takes it; or, without an origin, any logical volume in images.
        directory: Where to mount: an empty directory.
        origin: The device that the snapshot was taken of; None where LVM2 knows it.
        read_only: Only look: nothing is ever written.
        sync: When writes become durable; see `open_snapshot`.
        prefetch: How the store's areas are read; see `open_snapshot`.
        trace: Records the loading of the store.
        allow_other: Let other users (root among them) in, to read.

    Returns:
        The mount, which answers already; to be closed, or used in a ``with`` block.

    Raises:
        NoFuse: Something that FUSE takes is not there.
        BadMountPoint: The directory will not do.
        MountFailed: FUSE says no.
        DmsnapError: As `open_snapshot`.
    """
    check_fuse()
    paths = [path for source in (snap, origin) for path in _paths(source)]
    check_mount_point(directory, hidden=paths)
    with ExitStack() as stack:
        volumes = OpenVolumes(stack)
        device = plain_volume(snap, volumes, writable=not read_only) if origin is None else None
        if device is None:
            cow, below, _ = snapshot_sources(snap, origin, volumes, write_cow=not read_only)
            if read_only:
                device = open_snapshot(cow, below, prefetch=prefetch, trace=trace)
            else:
                device = open_snapshot(cow, below, "r+", sync=sync, full="enospc", prefetch=prefetch, trace=trace)
            stack.enter_context(device)
        path = _path(snap)
        mounted = stack.enter_context(
            Mount(
                device,
                directory,
                _file_name(snap, path),
                changed_ns=None if path is None else os.stat(path).st_mtime_ns,  # noqa: PTH116
                source=_NAMELESS if path is None else path,
                allow_other=allow_other,
            )
        )
        return MountedSnapshot(mounted, stack)


def _paths(source: Source | None) -> list[str]:
    """The paths of all files and block devices that a source is made of, as far as it names them."""
    if source is None:
        return []
    named = paths_named(source) if isinstance(source, str) else (source,)
    return [path for each in named if (path := _path(each)) is not None]


def _path(source: Source) -> str | None:
    """The path of what is a file or block device; None for anything else."""
    if isinstance(source, BlockDevice):
        return path_of(source)
    path = os.fspath(source)
    return path if os.path.exists(path) else None  # noqa: PTH110 - it may be an address


def _file_name(snap: Source, path: str | None) -> str:
    if is_lvm_address(snap):
        return parse_lvm_address(snap).volume
    return _NAMELESS if path is None else Path(path).stem or _NAMELESS
