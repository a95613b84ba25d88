"""Logical volumes that are to be served together: which are snapshots, of what, and what must not be written to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from dmsnap.block.contract import BlockDevice
from dmsnap.block.wrap.read_only import ReadOnlyWrapper
from dmsnap.errors import DmsnapError
from dmsnap.library.source import Source
from dmsnap.library.volumes.address import is_lvm_address
from dmsnap.library.volumes.opened import OpenVolumes, Volume
from dmsnap.library.volumes.sources import NoOrigin, plain_volume, snapshot_sources

__all__ = ["OtherOrigin", "ServedSources", "served_sources"]


class OtherOrigin(DmsnapError, ValueError):
    """Snapshots of different origins, or volumes named twice, are to be served together."""


@dataclass(slots=True)
class ServedSources:
    """What is to be served.

    Attributes:
        snaps: The stores of snapshots, by the names of their exports.
        sizes_bytes: Of those snapshots whose origin may have grown since.
        origin: What all of them were taken of; None if there are none.
        plain: Volumes that are no snapshots, by the names of their exports.
        doubts: What people should know.
    """

    snaps: dict[str, Source] = field(default_factory=dict)
    sizes_bytes: dict[str, int] = field(default_factory=dict)
    origin: Source | None = None
    plain: dict[str, BlockDevice] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def served_sources(
    snaps: Mapping[str, Source], origin: Source | None, stack: ExitStack, *, read_only: bool
) -> ServedSources:
    """Returns what names stand for, with logical volumes as devices.

    An origin in LVM can be written to only where all of its snapshots are served too, so that they stay right.

    Args:
        snaps: Stores, or volumes, by the names of their exports.
        origin: What they were taken of, where LVM does not know it.
        stack: Takes over what is opened.
        read_only: Nothing will be written.

    Raises:
        NoOrigin: Nobody knows the origin of a store.
        OtherOrigin: The snapshots' origins differ, or a volume is named twice.
        DmsnapError: As `OpenVolumes.find`; a volume may not be written to.
    """
    if not any(map(is_lvm_address, (*snaps.values(), origin))):
        if origin is None:
            raise NoOrigin("what were the snapshots taken of?", hint="name it with --origin")
        return ServedSources(dict(snaps), origin=origin)
    volumes, served = OpenVolumes(stack), ServedSources()
    found: list[Volume] = []
    for name, snap in snaps.items():
        volume = volumes.find(snap, writable=not read_only)
        if volume is not None and any(map(volume.is_same, found)):
            raise OtherOrigin(f"{volume.name}: named twice", hint="name each volume once")
        if origin is None and (plain := plain_volume(snap, volumes, writable=not read_only)) is not None:
            served.plain[name] = plain
        else:
            if volume is not None and not read_only:
                volume.refuse_to_write()
            sources = snapshot_sources(snap, origin, volumes, write_cow=not read_only, write_origin=not read_only)
            served.snaps[name] = sources.cow
            if origin is None and volume is not None and volume.snapshot_bytes is not None:
                served.sizes_bytes[name] = volume.snapshot_bytes
            if served.origin is None or origin is None:
                served.origin = _one_origin(found, volume, served.origin, sources.origin)
        if volume is not None:
            found.append(volume)
    _keep_others_right(found, served, volumes.find(origin))
    served.doubts += volumes.doubts
    return served


def _one_origin(found: list[Volume], volume: Volume | None, before: Source | None, origin: Source) -> Source:
    """The origin of all, which is opened once."""
    assert volume is not None
    first = next((other for other in found if other.is_snapshot), None)
    if first is None or before is None:
        return origin
    if (first.assembly, first.origin) != (volume.assembly, volume.origin):
        raise OtherOrigin(
            f"{first.name} and {volume.name} are snapshots of different origins", hint="serve them one by one"
        )
    return before


def _keep_others_right(found: list[Volume], served: ServedSources, named: Volume | None) -> None:
    """Makes the origin read-only if it has snapshots, by its metadata, that are not served."""
    snapshots = [volume for volume in found if volume.is_snapshot]
    if not snapshots or not isinstance(served.origin, BlockDevice) or served.origin.read_only:
        return
    origin = snapshots[0].origin
    if named is not None and named.logical.name != origin:
        return
    left = set(snapshots[0].other_snapshots) - {volume.logical.name for volume in snapshots}
    if left:
        served.origin = ReadOnlyWrapper(served.origin)
        served.doubts.append(
            f"{snapshots[0].group.group.name}/{origin}: has snapshots that are not served, "
            f"{', '.join(sorted(left))}; 'origin' is read-only"
        )
