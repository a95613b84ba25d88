"""Which volumes are snapshots of which, gathered from the volumes that say so ("snapshot0" …).

LVM2 writes that down as a volume of its own, without storage, whose one segment is of type ``snapshot``. People know a
snapshot by the name of its COW store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmsnap.lvm.model import SnapshotOf, VolumeGroup
from dmsnap.lvm.segments import RegularSegments

__all__ = ["Snapshot", "Snapshots"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot.

    Attributes:
        name: What people call it: the name of the volume with its exceptions.
        kept_by: The volume that says all this ("snapshot0").
        of: What that says.
        extent_count: The snapshot's length, which is the origin's.
    """

    name: str
    kept_by: str
    of: SnapshotOf
    extent_count: int


class Snapshots:
    """The snapshots of a group.

    Attributes:
        by_name: By the name that people use; of two that claim one COW store the first counts.
    """

    def __init__(self, group: VolumeGroup) -> None:
        self.by_name: Mapping[str, Snapshot]
        by_name: dict[str, Snapshot] = {}
        self._of: dict[str, list[Snapshot]] = {}
        for volume in group.logical_volumes.values():
            if isinstance(volume.segments, RegularSegments):  # none of them says so
                continue
            segment = volume.segments[0] if len(volume.segments) == 1 else None  # to ask for all may take long
            if segment is None or segment.snapshot is None or segment.snapshot.cow_store in by_name:
                continue
            snapshot = Snapshot(segment.snapshot.cow_store, volume.name, segment.snapshot, segment.extent_count)
            by_name[snapshot.name] = snapshot
            self._of.setdefault(segment.snapshot.origin, []).append(snapshot)
        self.by_name = by_name

    def of(self, origin: str) -> tuple[Snapshot, ...]:
        """Returns the snapshots of a volume, in the order of the metadata; that which is merging is one of them."""
        return tuple(self._of.get(origin, ()))

    def merging_into(self, origin: str) -> Snapshot | None:
        """Returns the snapshot that is being merged into a volume, or will be when that is activated next."""
        return next((snapshot for snapshot in self.of(origin) if snapshot.of.merging), None)
