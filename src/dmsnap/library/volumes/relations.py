"""How the volumes of a group hang together: which is whose snapshot, image, log or metadata, and who needs what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from dmsnap.lvm.contradictions import lower_volumes
from dmsnap.lvm.model import LogicalVolume, Segment, SnapshotOf, VolumeGroup
from dmsnap.lvm.segments import RegularSegments

__all__ = ["Relations", "partial_volumes", "relations"]

_NAMED_PARTS = {
    "thin-pool": {"metadata": "metadata", "pool": "thin data"},
    "cache-pool": {"metadata": "metadata", "data": "cache data"},
    "cache": {"origin": "cache origin"},
    "writecache": {"origin": "cache origin"},
    "vdo-pool": {"data": "vdo data"},
}
"""Fields by which a segment of a kind names another volume, and what that is to it."""


@dataclass(slots=True)
class Relations:
    """The relations of one group's volumes.

    Attributes:
        origins: By the name of a snapshot's store: what the metadata says of the snapshot.
        snapshots: By the name of an origin: the names of its snapshots, as the metadata has them in order.
        merging: Snapshots that are being merged.
        merging_into: By the name of an origin: the snapshot that is being merged into it.
        roles: What a volume is to another: ``image``, ``raid image``, ``raid metadata``, ``log``, ``metadata`` …
        external_origins: Volumes that thin ones begin as.
        zeroing: Thin pools that fill new blocks with zeros.
    """

    origins: dict[str, SnapshotOf] = field(default_factory=dict)
    snapshots: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    merging: set[str] = field(default_factory=set)
    merging_into: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    external_origins: set[str] = field(default_factory=set)
    zeroing: set[str] = field(default_factory=set)


def relations(group: VolumeGroup) -> Relations:
    """Returns the relations of a group's volumes, in one pass over it."""
    found = Relations()
    for volume in group.logical_volumes.values():
        if isinstance(volume.segments, RegularSegments):  # linear or striped, all of them
            continue
        for segment in volume.segments:
            if segment.snapshot is not None:
                _add_snapshot(segment.snapshot, found)
            elif segment.kind != "striped" or segment.log:
                _add_roles(segment, found)
            if segment.fields.get("zero_new_blocks") == 1:
                found.zeroing.add(volume.name)
    return found


def _add_snapshot(snapshot: SnapshotOf, found: Relations) -> None:
    found.origins[snapshot.cow_store] = snapshot
    found.snapshots[snapshot.origin].append(snapshot.cow_store)
    if snapshot.merging:
        found.merging.add(snapshot.cow_store)
        found.merging_into[snapshot.origin] = snapshot.cow_store


def _add_roles(segment: Segment, found: Relations) -> None:
    raid = segment.kind.startswith("raid")
    if raid or segment.kind == "mirror":
        for area in segment.areas:
            if area.is_volume:
                found.roles[area.name] = "raid image" if raid else "image"
    for area in segment.metadata_areas:
        found.roles[area.name] = "raid metadata"
    if segment.log:
        found.roles[segment.log] = "log"
    for name, role in _NAMED_PARTS.get(segment.kind, {}).items():
        part = segment.fields.get(name)
        if isinstance(part, str):
            found.roles[part] = role
    external = segment.fields.get("external_origin")
    if isinstance(external, str):
        found.external_origins.add(external)


def partial_volumes(group: VolumeGroup, missing: Container[str]) -> set[str]:
    """Returns the names of all volumes that lie, in part, on physical volumes that are missing.

    As in LVM an origin is so with any of its snapshots, without which it cannot be activated; a snapshot is not so with
    its origin (LVM 2.03.16, recorded).

    Args:
        group: The group.
        missing: The metadata's names of the physical volumes.
    """
    users: defaultdict[str, list[str]] = defaultdict(list)
    partial: list[str] = []
    for volume in group.logical_volumes.values():
        for name, is_volume in _needs(volume, group):
            if is_volume:
                users[name].append(volume.name)
            elif name in missing:
                partial.append(volume.name)
        snapshot = _snapshot_of(volume)
        if snapshot is not None:
            users[snapshot.cow_store].append(snapshot.origin)
    seen = set(partial)
    while partial:
        for user in users[partial.pop()]:
            if user not in seen:
                seen.add(user)
                partial.append(user)
    return seen


def _snapshot_of(volume: LogicalVolume) -> SnapshotOf | None:
    """What a volume says of another that is a snapshot, if it is there for that."""
    if not volume.segments or isinstance(volume.segments, RegularSegments):
        return None
    return volume.segments[0].snapshot


def _needs(volume: LogicalVolume, group: VolumeGroup) -> Iterable[tuple[str, bool]]:
    """Yields what a volume needs: names, and whether they are those of logical volumes."""
    if isinstance(volume.segments, RegularSegments):
        for name in volume.segments.run.names:
            yield name, name not in group.physical_volumes
        return
    for segment in volume.segments:
        for area in segment.areas:
            if not area.is_volume:
                yield area.name, False
        for name in lower_volumes(segment):
            yield name, True
