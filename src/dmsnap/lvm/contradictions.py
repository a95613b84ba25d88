"""What is wrong with the volumes of a group: gaps, overlaps, areas outside, unknown names, loops, sizes.

Metadata may be anybody's. A volume that passes can be assembled without further thought: its areas exist, no extent
serves twice, and it lies on others at most `MOST_LEVELS` deep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .model import LogicalVolume, PhysicalVolume, Segment
from .placement import Placement
from .segments import RegularSegments

__all__ = ["MOST_LEVELS", "lower_volumes", "problems_of"]

MOST_LEVELS = 20
"""How many volumes may lie on each other; a pool on RAID, cached and being moved, takes eight."""

REFERENCES = (
    *("thin_pool", "pool", "metadata", "data", "cache_pool", "writecache", "vdo_pool"),
    *("origin", "external_origin", "meta_dev", "mirror_log"),
)
"""Fields of a segment that name another volume."""


def problems_of(
    volumes: Mapping[str, LogicalVolume],
    physical_volumes: Mapping[str, PhysicalVolume],
    most_extents: int,
    extent_size_sectors: int,
) -> dict[str, str]:
    """Returns what is wrong, by the names of the volumes; those that have a problem already are left out.

    Args:
        volumes: The logical volumes.
        physical_volumes: What they lie on.
        most_extents: How long a volume may be.
        extent_size_sectors: Of the group.
    """
    problems: dict[str, str] = {}
    placement = Placement(volumes, physical_volumes, extent_size_sectors)
    below: dict[str, set[str]] = {}
    for name, volume in volumes.items():
        below[name] = set()
        if volume.problem:
            continue
        if volume.extent_count > most_extents:
            problem = f"{volume.extent_count} extents are more than a device can have"
        elif isinstance(volume.segments, RegularSegments) and placement.place_run(name, volume.segments.run):
            below[name] = {area for area in volume.segments.run.names if area not in physical_volumes}
            problem = ""
        else:
            problem = _problem(volume, placement, below[name], volumes)
        if problem:
            problems[name] = f"volume {name}: {problem}"
    for name, other, what in placement.overlaps():
        problem = f"shares extents of {what} with volume {other}" if other != name else f"uses extents of {what} twice"
        problems.setdefault(name, f"volume {name}: {problem}")
    for name, problem in (*_levels(below), *_snapshots(volumes)):
        problems.setdefault(name, f"volume {name}: {problem}")
    return {name: problem for name, problem in problems.items() if not volumes[name].problem}


def _problem(volume: LogicalVolume, placement: Placement, below: set[str], volumes: Mapping[str, LogicalVolume]) -> str:
    """Checks the segments of a volume one by one, adds what it lies on to ``below``; returns the first problem."""
    expected = 0
    for segment in volume.segments:
        where = f"the segment at extent {segment.start_extent}"
        if segment.start_extent != expected:
            return f"{where} {'leaves a gap' if segment.start_extent > expected else 'overlaps the one before'}"
        expected += segment.extent_count
        if problem := placement.place(volume.name, segment):
            return f"{where} {problem}"
        for name in lower_volumes(segment):
            if name not in volumes:
                return f"{where} names {name[:40]!a}, which is not there"
        below.update(name for name in lower_volumes(segment) if segment.snapshot is None)
        if segment.snapshot is not None and len(volume.segments) > 1:
            return f"{where} is a snapshot and not alone"
    return ""


def lower_volumes(segment: Segment) -> Iterator[str]:
    """Yields the logical volumes that a segment needs; some more than once."""
    yield from (area.name for area in (*segment.areas, *segment.metadata_areas) if area.is_volume)
    for field in REFERENCES:
        value = segment.fields.get(field)
        # The origin of a thin volume says where it came from, not what it lies on; that of a snapshot is for later.
        if isinstance(value, str) and value and not (segment.kind in ("thin", "snapshot") and field == "origin"):
            yield value
    if segment.snapshot is not None:
        yield segment.snapshot.cow_store


def _levels(below: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yields the volumes that lie on themselves, or on too many others."""
    above: dict[str, list[str]] = {name: [] for name in below}
    waiting = {}
    for name, others in below.items():
        waiting[name] = len(others)
        for other in others:
            above[other].append(name)
    level = dict.fromkeys(below, 0)
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:  # it grows
        for upper in above[name]:
            level[upper] = max(level[upper], level[name] + 1)
            waiting[upper] -= 1
            if not waiting[upper]:
                ready.append(upper)
    for name in below:
        if waiting[name]:
            yield name, "lies on itself, or on a volume that does"
        elif level[name] > MOST_LEVELS:
            yield name, f"lies on more than {MOST_LEVELS} volumes one on the other"


def _snapshots(volumes: Mapping[str, LogicalVolume]) -> Iterator[tuple[str, str]]:
    """Yields snapshots that cannot be: of themselves, of snapshots, of one store, or merged two at a time."""
    relations = {
        name: segment.snapshot
        for name, volume in volumes.items()
        if not volume.problem and len(volume.segments) == 1
        for segment in (volume.segments[0],)
        if segment.snapshot is not None
    }
    stores = {relation.cow_store for relation in relations.values()}
    seen: set[str] = set()
    merging: set[str] = set()
    for name, relation in relations.items():
        origin, store = relation.origin, relation.cow_store
        problem = ""
        if origin not in volumes:
            problem = f"a snapshot of {origin[:40]!a}, which is not there"
        elif origin == store:
            problem = "a snapshot of itself"
        elif origin in stores or origin in relations:
            problem = f"a snapshot of {origin}, which is one itself"
        elif store in seen or store in relations:
            problem = f"its store {store} serves more than one snapshot" if store in seen else "its store is no volume"
        elif relation.merging and origin in merging:
            problem = f"merged into {origin} while another one is"
        seen.add(store)
        if relation.merging:
            merging.add(origin)
        if problem:
            yield name, problem
            if store in volumes:
                yield store, problem
