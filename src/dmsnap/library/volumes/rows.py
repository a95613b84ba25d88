"""Rows as LVM's own reports have them: field names and values of ``lvs``, ``vgs`` and ``pvs``.

Every value is text, as in ``lvs --reportformat json --units b --nosuffix``: sizes are bytes, what does not apply is
empty or 0. As in ``lvs`` with fields of segments, each segment of a volume has a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.library.volumes.attributes import attributes
from dmsnap.library.volumes.relations import Relations, partial_volumes, relations
from dmsnap.lvm.groups import Group
from dmsnap.lvm.model import Area, LogicalVolume, Segment, VolumeGroup
from dmsnap.lvm.segments import RegularSegments

__all__ = ["GroupRow", "PhysicalRow", "VolumeRow", "allocated_extents", "group_row", "physical_rows", "volume_rows"]

_UNKNOWN = "[unknown]"
"""What LVM calls a physical volume that is not there."""


class VolumeRow(NamedTuple):
    """A segment of a logical volume, and what there is to say of the volume.

    Attributes:
        vg_name: Its group.
        lv_name: Its name, in ``[]`` if it is hidden.
        lv_uuid: Its UUID.
        lv_attr: Ten letters (lvs(8)); state and open are those of a volume that is not active.
        lv_size: In bytes; of a snapshot that of its store.
        segtype: ``linear``, ``striped``, ``mirror``, ``raid1`` …
        seg_count: How many segments it has.
        seg_start: Where the segment begins in the volume, in bytes.
        seg_size: Its length in bytes.
        origin: What a snapshot was taken of; what a thin volume began as; what is cached.
        chunk_size: Of a snapshot (or pool), in bytes.
        data_percent: How full a snapshot, thin volume or pool is, two decimals; also of an origin that is merged into.
        stripes: Stripes or images.
        stripe_size: In bytes.
        region_size: Of mirrors and RAID, in bytes.
        devices: Where it lies, ``IMAGE(extent)`` each.
        lv_tags: Its tags.
    """

    vg_name: str
    lv_name: str
    lv_uuid: str
    lv_attr: str
    lv_size: str
    segtype: str
    seg_count: str
    seg_start: str
    seg_size: str
    origin: str
    chunk_size: str
    data_percent: str
    stripes: str
    stripe_size: str
    region_size: str
    devices: str
    lv_tags: str

    @property
    def hidden(self) -> bool:
        """Whether ``lvs`` shows it with ``-a`` only."""
        return self.lv_name.startswith("[")


class GroupRow(NamedTuple):
    """A volume group.

    Attributes:
        vg_name: Its name.
        vg_uuid: Its UUID.
        vg_size: In bytes.
        vg_free: What no volume takes, in bytes.
        vg_extent_size: In bytes.
        vg_extent_count: Extents in all.
        vg_free_count: Extents that no volume takes.
        vg_seqno: Counts the changes of the metadata.
        pv_count: Physical volumes.
        vg_missing_pv_count: Those of them that are in none of the images.
        lv_count: Volumes that are not hidden.
        snap_count: Snapshots.
        vg_tags: Its tags.
    """

    vg_name: str
    vg_uuid: str
    vg_size: str
    vg_free: str
    vg_extent_size: str
    vg_extent_count: str
    vg_free_count: str
    vg_seqno: str
    pv_count: str
    vg_missing_pv_count: str
    lv_count: str
    snap_count: str
    vg_tags: str


class PhysicalRow(NamedTuple):
    """A physical volume of a group.

    Attributes:
        pv_name: The image that it is, or ``[unknown]`` if it is in none.
        pv_uuid: Its UUID.
        vg_name: Its group.
        pv_size: In bytes.
        pv_free: In bytes.
        pe_start: Where its first extent begins, in bytes.
        pv_pe_count: Its extents.
        pv_pe_alloc_count: Those that are in use.
        pv_missing: ``missing`` if it is, else empty.
        pv_tags: Its tags.
    """

    pv_name: str
    pv_uuid: str
    vg_name: str
    pv_size: str
    pv_free: str
    pe_start: str
    pv_pe_count: str
    pv_pe_alloc_count: str
    pv_missing: str
    pv_tags: str


def volume_rows(
    found: Group, percent: Mapping[str, str], *, hidden: bool, first_only: bool = False
) -> Iterator[VolumeRow]:
    """Yields the rows of a group's volumes by name.

    Args:
        found: The group.
        percent: How full snapshots are, by the names of their stores.
        hidden: The rows of hidden volumes too.
        first_only: Of each volume only the row of its first segment.
    """
    group, related = found.group, relations(found.group)
    partial = partial_volumes(group, {volume.name for volume in found.missing})
    images = {name: device.name for name, device in found.devices.items()}
    for name in sorted(group.logical_volumes):
        volume = group.logical_volumes[name]
        visible = is_visible(volume, related, group)
        if (visible or hidden) and not _is_relation(volume):
            shown = name if visible else f"[{name}]"
            letters = attributes(volume, related, partial)
            for segment in volume.segments[:1] if first_only else volume.segments:
                yield _row(group, volume, segment, related, shown, letters, percent, images)


def is_visible(volume: LogicalVolume, related: Relations, group: VolumeGroup) -> bool:
    """Whether ``lvs`` shows a volume without ``-a``: a snapshot unless it is merging, or is a sparse volume."""
    snapshot = related.origins.get(volume.name)
    if snapshot is None:
        return "VISIBLE" in volume.status
    origin = group.logical_volumes.get(snapshot.origin)
    return not snapshot.merging or (origin is not None and "VISIBLE" not in origin.status)


def group_row(found: Group, allocated: Mapping[str, int]) -> GroupRow:
    """Returns the row of a group, of whose physical volumes so many extents are `allocated_extents`."""
    group, related = found.group, relations(found.group)
    extent = group.extent_size_sectors * SECTOR_BYTES
    extents = sum(volume.extent_count for volume in group.physical_volumes.values())
    free = extents - sum(allocated.get(name, 0) for name in group.physical_volumes)
    return GroupRow(
        vg_name=group.name,
        vg_uuid=group.uuid,
        vg_size=str(extents * extent),
        vg_free=str(free * extent),
        vg_extent_size=str(extent),
        vg_extent_count=str(extents),
        vg_free_count=str(free),
        vg_seqno=str(group.seqno),
        pv_count=str(len(group.physical_volumes)),
        vg_missing_pv_count=str(len(found.missing)),
        lv_count=str(sum(_counts(volume, related, group) for volume in group.logical_volumes.values())),
        snap_count=str(len(related.origins)),
        vg_tags=",".join(sorted(group.tags)),
    )


def physical_rows(found: Group, allocated: Mapping[str, int]) -> Iterator[PhysicalRow]:
    """Yields the rows of a group's physical volumes, in the order of the metadata; ``allocated`` as for `group_row`."""
    group = found.group
    extent = group.extent_size_sectors * SECTOR_BYTES
    for name, volume in group.physical_volumes.items():
        device = found.devices.get(name)
        used = allocated.get(name, 0)
        yield PhysicalRow(
            pv_name=_UNKNOWN if device is None else device.name,
            pv_uuid=volume.uuid,
            vg_name=group.name,
            pv_size=str(volume.extent_count * extent),
            pv_free=str((volume.extent_count - used) * extent),
            pe_start=str(volume.first_extent_sector * SECTOR_BYTES),
            pv_pe_count=str(volume.extent_count),
            pv_pe_alloc_count=str(used),
            pv_missing="missing" if device is None else "",
            pv_tags=",".join(sorted(volume.tags)),
        )


def _counts(volume: LogicalVolume, related: Relations, group: VolumeGroup) -> bool:
    return is_visible(volume, related, group) and not _is_relation(volume)


def _is_relation(volume: LogicalVolume) -> bool:
    """Whether it only says that another volume is a snapshot."""
    return bool(volume.segments) and volume.segments[0].snapshot is not None


def allocated_extents(group: VolumeGroup) -> dict[str, int]:
    """Returns how many extents are in use, by physical volume."""
    used: dict[str, int] = {}
    for volume in group.logical_volumes.values():
        if isinstance(volume.segments, RegularSegments):
            run = volume.segments.run
            totals = [0] * len(run.names)
            if len(totals) == 1:  # as in most, and faster
                totals = [sum(run.area_counts)]
            else:
                for which, count in zip(run.area_names, run.area_counts, strict=True):
                    totals[which] += count
            for name, total in zip(run.names, totals, strict=True):
                used[name] = used.get(name, 0) + total
            continue
        for segment in volume.segments:
            for area in segment.areas:
                if not area.is_volume:
                    used[area.name] = used.get(area.name, 0) + _area_extents(segment)
    return used


def _area_extents(segment: Segment) -> int:
    return segment.extent_count // len(segment.areas) if segment.kind == "striped" else segment.extent_count


def _row(
    group: VolumeGroup,
    volume: LogicalVolume,
    segment: Segment,
    related: Relations,
    shown: str,
    letters: str,
    percent: Mapping[str, str],
    images: Mapping[str, str],
) -> VolumeRow:
    extent = group.extent_size_sectors * SECTOR_BYTES
    snapshot = related.origins.get(volume.name)
    chunk = _chunk_size(segment, group) if snapshot is None else snapshot.chunk_size_sectors
    origin = _origin(segment) if snapshot is None else snapshot.origin
    fullness = percent.get(related.merging_into.get(volume.name, volume.name), "")
    return VolumeRow(
        vg_name=group.name,
        lv_name=shown,
        lv_uuid=volume.uuid,
        lv_attr=letters,
        lv_size=str(volume.extent_count * extent),
        segtype="linear" if segment.kind == "striped" and len(segment.areas) == 1 else segment.kind,
        seg_count=str(len(volume.segments)),
        seg_start=str(segment.start_extent * extent),
        seg_size=str(segment.extent_count * extent),
        origin=_shown(origin, group),
        chunk_size=str(chunk * SECTOR_BYTES if isinstance(chunk, int) else 0),
        data_percent=fullness,
        stripes=str(len(segment.areas)),
        stripe_size=str(segment.stripe_size_sectors * SECTOR_BYTES),
        region_size=str(segment.region_size_sectors * SECTOR_BYTES),
        devices=",".join(_place(area, images) for area in segment.areas),
        lv_tags=",".join(sorted(volume.tags)),
    )


def _chunk_size(segment: Segment, group: VolumeGroup) -> object:
    """In sectors; that of a cached volume is its pool's."""
    if segment.kind == "cache" and "chunk_size" not in segment.fields:
        pool = group.logical_volumes.get(str(segment.fields.get("cache_pool")))
        segment = pool.segments[0] if pool is not None and pool.segments else segment
    return segment.fields.get("chunk_size", 0)


def _origin(segment: Segment) -> str:
    """What a thin volume was taken of or began as, and what is cached; empty for any other."""
    if segment.kind in ("thin", "cache", "writecache"):
        for field in ("origin", "external_origin"):
            if isinstance(origin := segment.fields.get(field), str):
                return origin
    return ""


def _shown(origin: str, group: VolumeGroup) -> str:
    """An origin's name: LVM hides that of a sparse volume, and of what is cached."""
    volume = group.logical_volumes.get(origin)
    return origin if volume is None or "VISIBLE" in volume.status else f"[{origin}]"


def _place(area: Area, images: Mapping[str, str]) -> str:
    name = area.name if area.is_volume else images.get(area.name, _UNKNOWN)
    return f"{name}({area.start_extent})"
