"""Volume groups as their metadata describes them: values, checked, and nothing that is open.

Numbers are those of the metadata: extents (of the group's size), and sectors of 512 bytes. Source: LVM2's text format,
as lvm.conf(5), lvmraid(7) and its own output show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Area", "LogicalVolume", "PhysicalVolume", "Segment", "SnapshotOf", "VolumeGroup"]


@dataclass(frozen=True, slots=True)
class Area:
    """Where a segment, or one leg of it, lies.

    Attributes:
        name: Of a physical volume ("pv0": as the metadata calls it) or of a logical volume of the group.
        start_extent: The first extent there.
        is_volume: Whether ``name`` is a logical volume.
    """

    name: str
    start_extent: int
    is_volume: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotOf:
    """What a segment of type ``snapshot`` says; the volume that has it ("snapshot0") has no storage of its own.

    Attributes:
        origin: The volume that the snapshot was taken of.
        cow_store: The volume with the exceptions; people know the snapshot by its name.
        chunk_size_sectors: Of the store.
        merging: It is being merged into its origin, or will be when the origin is activated next.
    """

    origin: str
    cow_store: str
    chunk_size_sectors: int
    merging: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a logical volume.

    Attributes:
        start_extent: Its first extent in the volume.
        extent_count: Its length.
        kind: The type, without its flags: ``striped`` (also linear: one area), ``mirror``, ``raid1``, ``raid0``,
            ``raid0_meta``, ``snapshot``, ``zero``, ``error``, ``thin``, ``thin-pool``, ``cache``, ``vdo`` …
        areas: Stripes or legs in their order; of RAID the data volumes, of a pool its data, of a cached volume what
            is cached. Empty for kinds that have none.
        stripe_size_sectors: Of more than one stripe, else 0.
        region_size_sectors: Of mirrors and RAID, else 0.
        metadata_areas: Of RAID: the volumes that hold its own metadata, one for each area or none at all.
        log: Of a mirror: the volume with its log, or empty.
        snapshot: Of the kind ``snapshot``.
        flags: What the type had behind a ``+``, such as ``CACHE_USES_CACHEVOL``.
        fields: Everything the metadata says of it.
    """

    start_extent: int
    extent_count: int
    kind: str
    areas: tuple[Area, ...] = ()
    stripe_size_sectors: int = 0
    region_size_sectors: int = 0
    metadata_areas: tuple[Area, ...] = ()
    log: str = ""
    snapshot: SnapshotOf | None = None
    flags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogicalVolume:
    """A logical volume.

    Attributes:
        name: In its group.
        uuid: With its dashes.
        status: READ, WRITE, VISIBLE … as written; ``VISIBLE`` is what lvs shows without ``-a``.
        flags: Compatible flags, as written.
        segments: Ascending, without gaps. Of long texts they are made one by one whenever they are asked for:
            ``segments[0]`` is cheap, all of them take a while.
        tags: As written.
        fields: Everything else that the metadata says of it (creation_time, creation_host …).
        problem: What is wrong with it, or empty. Such a volume is listed, and must not be opened.
    """

    name: str
    uuid: str
    status: frozenset[str]
    flags: frozenset[str]
    segments: Sequence[Segment]
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    problem: str = ""

    @property
    def is_pool_spare(self) -> bool:
        """Whether LVM keeps it to repair the metadata of pools with, and never activates it; only its name says so."""
        return self.name.endswith("_pmspare") and "VISIBLE" not in self.status

    @property
    def extent_count(self) -> int:
        """Its length."""
        if not self.segments:
            return 0
        last = self.segments[-1]
        return last.start_extent + last.extent_count


@dataclass(frozen=True, slots=True)
class PhysicalVolume:
    """A physical volume as its group knows it.

    Attributes:
        name: As the metadata calls it: ``pv0`` …
        uuid: With its dashes.
        device: The path it had when the metadata was written: a hint for people, and never opened.
        status: ALLOCATABLE, EXPORTED …
        flags: MISSING …
        device_size_sectors: Of the whole device, 0 where that was not written.
        first_extent_sector: Where extent 0 begins (pe_start).
        extent_count: How many there are.
        tags: As written.
    """

    name: str
    uuid: str
    device: str
    status: frozenset[str]
    flags: frozenset[str]
    device_size_sectors: int
    first_extent_sector: int
    extent_count: int
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """A volume group as one copy of its metadata describes it.

    Attributes:
        name: Of the group.
        uuid: With its dashes.
        seqno: Counts the changes of the metadata.
        status: RESIZEABLE, READ, WRITE, EXPORTED …
        flags: As written.
        extent_size_sectors: Of every extent.
        physical_volumes: By the names that the metadata uses.
        logical_volumes: By name, hidden ones too.
        tags: As written.
        fields: Everything else that the metadata says (max_lv, system_id, creation_host …).
    """

    name: str
    uuid: str
    seqno: int
    status: frozenset[str]
    flags: frozenset[str]
    extent_size_sectors: int
    physical_volumes: Mapping[str, PhysicalVolume]
    logical_volumes: Mapping[str, LogicalVolume]
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
