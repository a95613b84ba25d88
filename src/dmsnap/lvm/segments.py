"""From a segment's section of the text to the segment, kind by kind.

Source: what LVM 2.03 writes, as ``vgcfgbackup`` shows it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import overload

from .fields import BadMetadata, names, number, string
from .model import Area, Segment, SnapshotOf
from .text import Section
from .text.striped_run import StripedRun

__all__ = ["RegularSegments", "segment_of", "segments_of_run"]

LARGEST_CHUNK_SECTORS = 1 << 31

_ONE_AREA = {
    "thin-pool": "pool",
    "cache-pool": "data",
    "cache": "origin",
    "writecache": "origin",
    "vdo-pool": "data",
}
"""Kinds that lie on all of one other volume, and the fields that name it."""


def segment_of(section: Section, physical_volumes: Container[str], where: str) -> Segment:
    """Reads a segment.

    Args:
        section: What the text says.
        physical_volumes: The names of the group's; any other is a logical volume's.
        where: Which segment it is, for errors.

    Raises:
        BadMetadata: Something is missing or contradicts itself.
    """
    kind, *flags = string(section, "type", where).split("+")
    kind = "striped" if kind == "linear" else kind
    areas: tuple[Area, ...] = ()
    metadata_areas: tuple[Area, ...] = ()
    log, snapshot = "", None
    if kind == "striped":
        areas = _placed_areas(section, "stripes", "stripe_count", physical_volumes, where)
    elif kind == "mirror":
        areas = _placed_areas(section, "mirrors", "mirror_count", physical_volumes, where)
        log = string(section, "mirror_log", where, default="")
    elif kind.startswith("raid"):
        areas, metadata_areas = _raid_areas(section, physical_volumes, where)
    elif kind == "snapshot":
        snapshot = _snapshot(section, where)
    elif kind in _ONE_AREA:
        areas = (Area(string(section, _ONE_AREA[kind], where), 0, is_volume=True),)
    return Segment(
        start_extent=number(section, "start_extent", where),
        extent_count=number(section, "extent_count", where, least=1),
        kind=kind,
        areas=areas,
        stripe_size_sectors=_stripe_size(section, kind, len(areas), where),
        region_size_sectors=number(section, "region_size", where, default=0),
        metadata_areas=metadata_areas,
        log=log,
        snapshot=snapshot,
        flags=tuple(flags),
        fields=section,
    )


def segments_of_run(run: StripedRun, physical_volumes: Container[str], where: str) -> Sequence[Segment]:
    """Returns the segments of a run by their extents, without making any if it can be seen that all are sound.

    Raises:
        BadMetadata: One of them contradicts itself.
    """
    segments = RegularSegments(run, physical_volumes, where)
    *ends, _ = accumulate(run.counts, initial=0)
    if run.starts.tolist() == ends and 0 not in run.counts and _have_stripe_sizes(run):
        return segments
    return tuple(sorted(segments, key=lambda segment: segment.start_extent))


class RegularSegments(Sequence[Segment]):
    """The segments of a run without gaps, each made when it is asked for; equal to a tuple of them.

    The first and the last one are kept, which are asked for again and again.

    Attributes:
        run: The same as columns.
    """

    def __init__(self, run: StripedRun, physical_volumes: Container[str], where: str) -> None:
        self.run = run
        self._physical_volumes = physical_volumes
        self._where = where
        self._ends: dict[int, Segment] = {}

    def __len__(self) -> int:
        return len(self.run)

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Segment, ...]: ...
    def __getitem__(self, index: int | slice) -> Segment | tuple[Segment, ...]:
        if isinstance(index, slice):
            return tuple(map(self.__getitem__, range(len(self))[index]))
        at = range(len(self))[index]
        if at not in (0, len(self) - 1):
            return self._one(at, self._first_areas[at])
        segment = self._ends.get(at)
        if segment is None:
            first_area = len(self.run.area_names) - self.run.stripe_counts[at] if at else 0
            segment = self._ends[at] = self._one(at, first_area)
        return segment

    def __iter__(self) -> Iterator[Segment]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, tuple | RegularSegments) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    @cached_property
    def _first_areas(self) -> list[int]:
        """Which area is the first of each segment."""
        return list(accumulate(self.run.stripe_counts, initial=0))

    def _one(self, index: int, first_area: int) -> Segment:
        where = f"{self._where}: segment{index + 1}"
        return segment_of(self.run.section(index, first_area), self._physical_volumes, where)


def _placed_areas(
    section: Section, name: str, count_name: str, physical_volumes: Container[str], where: str
) -> tuple[Area, ...]:
    """Reads an array of names, each with the first extent there."""
    value = section.get(name)
    if not isinstance(value, tuple) or not value or len(value) % 2:
        raise BadMetadata(f"{where}: {name} is not an array of names and extents")
    areas = []
    for area, extent in zip(value[::2], value[1::2], strict=True):
        if not isinstance(area, str) or not isinstance(extent, int) or extent < 0:
            raise BadMetadata(f"{where}: {name} is not an array of names and extents")
        areas.append(Area(area, extent, area not in physical_volumes))
    count = number(section, count_name, where, least=1)
    if count != len(areas):
        raise BadMetadata(f"{where}: {count_name} is {count}, of {len(areas)} {name}")
    return tuple(areas)


def _raid_areas(
    section: Section, physical_volumes: Container[str], where: str
) -> tuple[tuple[Area, ...], tuple[Area, ...]]:
    """Reads the data volumes of RAID, and those of its own metadata: they take turns, or raid0 has only the former."""
    found = names(section, "raid0_lvs" if "raid0_lvs" in section else "raids", where)
    areas = tuple(Area(name, 0, name not in physical_volumes) for name in found)
    if "raid0_lvs" not in section:
        if len(areas) % 2:
            raise BadMetadata(f"{where}: raids is not an array of pairs")
        areas, metadata_areas = areas[1::2], areas[::2]
    else:
        metadata_areas = ()
    if not areas:
        raise BadMetadata(f"{where}: RAID of no volumes")
    count = number(section, "device_count" if "device_count" in section else "stripe_count", where)
    if count != len(areas):
        raise BadMetadata(f"{where}: RAID of {count} volumes names {len(areas)}")
    return areas, metadata_areas


def _snapshot(section: Section, where: str) -> SnapshotOf:
    merging = "merging_store" in section
    if merging and "cow_store" in section:
        raise BadMetadata(f"{where}: both a cow_store and a merging_store")
    chunk_size = number(section, "chunk_size", where, least=1)
    if chunk_size & (chunk_size - 1) or chunk_size > LARGEST_CHUNK_SECTORS:
        raise BadMetadata(f"{where}: chunk_size is {chunk_size} sectors")
    return SnapshotOf(
        origin=string(section, "origin", where),
        cow_store=string(section, "merging_store" if merging else "cow_store", where),
        chunk_size_sectors=chunk_size,
        merging=merging,
    )


def _stripe_size(section: Section, kind: str, area_count: int, where: str) -> int:
    """Reads ``stripe_size``, that stripes need to be more than one."""
    size = number(section, "stripe_size", where, default=0)
    if not _is_stripe_size(size, needed=area_count > 1 and (kind == "striped" or kind.startswith("raid0"))):
        raise BadMetadata(f"{where}: stripe_size is {size} sectors")
    return size if area_count > 1 else 0


def _have_stripe_sizes(run: StripedRun) -> bool:
    """Whether each segment of a run has the stripe size that it needs, and none has an odd one."""
    together = set(zip(run.stripe_counts, run.stripe_sizes, strict=True))
    return all(_is_stripe_size(size, needed=count > 1) for count, size in together)


def _is_stripe_size(size: int, *, needed: bool) -> bool:
    return not size & (size - 1) if size > 0 else not needed
