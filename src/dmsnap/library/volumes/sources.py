"""From what a caller names to the parts of a snapshot, where logical volumes are among it."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from dmsnap.block.contract import BlockDevice, ReadOnlyDevice
from dmsnap.block.medium import printable
from dmsnap.block.wrap.read_only import ReadOnlyWrapper
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.source import Source
from dmsnap.library.volumes.address import is_lvm_address
from dmsnap.library.volumes.opened import OpenVolumes, Volume, VolumeInUse

__all__ = ["NoOrigin", "SnapshotSources", "described_sources", "plain_volume", "snapshot_sources", "store_source"]


class NoOrigin(DmsnapError, ValueError):
    """A store whose origin nobody named."""


class SnapshotSources(NamedTuple):
    """The parts of a snapshot.

    Attributes:
        cow: The COW store.
        origin: What it was taken of; where it is only to be read, as much of it as the snapshot has.
        volume: The logical volume that the store is, or None.
    """

    cow: Source
    origin: Source
    volume: Volume | None


def store_source(cow: Source, volumes: OpenVolumes, *, writable: bool = False) -> Source:
    """Returns a store's source; of a logical volume its own storage, as a device."""
    volume = volumes.find(cow, writable=writable)
    return cow if volume is None else volume.storage(writable=writable)


def snapshot_sources(
    cow: Source,
    origin: Source | None,
    volumes: OpenVolumes,
    *,
    write_cow: bool = False,
    write_origin: bool = False,
) -> SnapshotSources:
    """Returns the sources of a snapshot's parts, with logical volumes as devices, which belong to ``volumes``.

    Args:
        cow: The store.
        origin: What it was taken of, where that was named.
        volumes: Opens what is a volume.
        write_cow: The store is to be written to: alone, as the disk that the snapshot is, or with the origin.
        write_origin: The origin is.

    Raises:
        NoOrigin: No origin was named, and the store is no snapshot volume, which would know.
        DmsnapError: A volume cannot be opened, or not be assembled.
    """
    volume = volumes.find(cow, writable=write_cow)
    if volume is not None:
        if write_cow and not write_origin:
            volume.refuse_to_write()
        cow = volume.storage(writable=write_cow)
    if origin is not None:
        if is_lvm_address(origin) and volume is not None and volume.is_same(volumes.find(origin)):
            raise NoOrigin(f"{volume.name}: cannot be its own origin", hint="without --origin LVM's own is taken")
        return SnapshotSources(cow, _as_origin(origin, volume, volumes, writable=write_origin), volume)
    if volume is None or volume.origin is None:
        if volume is not None:
            raise NoOrigin(f"{volume.name}: is no snapshot", hint="'dmsnap lvm ls' lists those, as s in attr")
        name = cow.name if isinstance(cow, BlockDevice) else printable(os.fspath(cow))
        raise NoOrigin(f"{name}: what was the snapshot taken of?", hint="name it with --origin")
    below = volume.assembly.storage(volume.origin)
    if write_origin and below.read_only:
        raise ReadOnlyDevice(f"{below.name}: can only be read: it is a mirror, or lies on one", hint="export instead")
    return SnapshotSources(cow, below if write_origin else _as_long_as(volume, below), volume)


def described_sources(cow: Source, origin: Source | None, volumes: OpenVolumes) -> tuple[Source, Source | None]:
    """Returns the sources of a store and, as far as it is known and can be had, of its origin, to look at both."""
    if origin is not None:
        sources = snapshot_sources(cow, origin, volumes)
        return sources.cow, sources.origin
    volume = volumes.find(cow)
    if volume is None:
        return cow, None
    with contextlib.suppress(DmsnapError):  # the origin may lie where nothing is
        if volume.origin is not None:
            origin = _as_long_as(volume, volume.assembly.storage(volume.origin))
    return volume.storage(), origin


def plain_volume(source: Source, volumes: OpenVolumes, *, writable: bool = False) -> BlockDevice | None:
    """Returns a logical volume that is no snapshot, as a device with what LVM would show; None for anything else.

    Raises:
        DmsnapError: It cannot be opened, or not be assembled.
    """
    volume = volumes.find(source, writable=writable)
    if volume is None or volume.is_snapshot:
        return None
    device = volume.assembly.device(volume.logical.name)
    if not writable:
        return ReadOnlyWrapper(device)
    if volume.assembly.snapshots_of(volume.logical.name):
        raise VolumeInUse(
            f"{volume.name}: has snapshots, which writing to it would make wrong",
            hint="name its snapshots, or only look: --read-only",
        )
    volume.refuse_to_write()
    return device


def _as_long_as(snapshot: Volume, origin: BlockDevice) -> BlockDevice:
    """The part of an origin, which may have grown since, that a snapshot is of; only to be read."""
    size = snapshot.snapshot_bytes
    below = ReadOnlyWrapper(origin)
    return below if size is None or size >= below.size_bytes else SliceDevice(below, 0, size)


def _as_origin(origin: Source, snapshot: Volume | None, volumes: OpenVolumes, *, writable: bool) -> Source:
    """A source as origin: a volume as LVM shows it, but beneath its snapshots where one of these reads it."""
    volume = volumes.find(origin, writable=writable)
    if volume is None:
        return origin
    name = volume.logical.name
    if snapshot is not None and snapshot.assembly is volume.assembly and snapshot.origin == name:
        device = volume.assembly.storage(name)
    else:
        device = volume.assembly.device(name)
        if writable and volume.assembly.snapshots_of(name):
            raise VolumeInUse(
                f"{volume.name}: has snapshots of its own, which writing to it would make wrong",
                hint="remove them first, or work on a copy",
            )
    return device if writable else ReadOnlyWrapper(device)
