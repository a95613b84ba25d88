"""The device-mapper tables that LVM itself would load for a volume, as ``dmsetup table`` shows them.

Where the kernel would print ``major:minor``, a device stands by its name: physical volumes as the metadata call them
("pv0"), others as device-mapper does ("vg-origin-real"). Source: LVM2 2.03 and Linux 6.1 as they behave.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container, Iterator

from dmsnap.lvm.kinds import NotAssembled, why_not_assembled
from dmsnap.lvm.legs import is_moved
from dmsnap.lvm.model import LogicalVolume, Segment, VolumeGroup
from dmsnap.lvm.pool_tables import cache_target, thin_pool_target
from dmsnap.lvm.snapshots import Snapshots
from dmsnap.target.table import origin_table_line, table_argument, table_line

__all__ = ["dm_name", "tables"]

_MOST_LAYERS = 16
"""Volumes that lie on volumes: LVM makes some four layers."""

_PARITY = re.compile(r"raid[456](_[a-z0-9_]{1,6})?\Z")
_LAYOUTS = {"raid5": "raid5_ls", "raid6": "raid6_zr"}
"""What the kernel calls RAID with parity, where LVM does not say more."""

_RAID_FIELDS = {
    *("start_extent", "extent_count", "type", "device_count", "stripe_count", "region_size", "stripe_size", "raids"),
    *("min_recovery_rate", "max_recovery_rate"),
}
"""Those that say nothing of a change of layout that is under way."""

_MOVING_REGION_SECTORS = 4096
"""The mirrors of ``pvmove`` have LVM's default, 2 MiB, as the metadata do not say."""


def dm_name(group: str, volume: str, layer: str = "") -> str:
    """Returns what device-mapper calls a volume: the names' own dashes are doubled.

    Args:
        group: Name of the group.
        volume: Name of the volume.
        layer: ``real`` of an origin's own storage, ``cow`` of a snapshot's store; else empty.
    """
    return "-".join(name.replace("-", "--") for name in (group, volume)) + (f"-{layer}" if layer else "")


def tables(group: VolumeGroup, name: str, *, missing: Container[str] = ()) -> list[tuple[str, list[str]]]:
    """Returns the tables of all devices that come to be when a volume is activated, with what they need first.

    With an origin its snapshots are activated, and with a snapshot its origin, and so all of them.

    Args:
        group: What the metadata say.
        name: Of the volume.
        missing: The metadata's names of physical volumes that are not there. What lies on them is an error device, as
            LVM makes when it is told to activate what is left (``--activationmode partial``).

    Returns:
        For each device its name and the lines of its table.

    Raises:
        NotAssembled: There is no such volume, or it is, or lies on, one of a type that dmsnap does not know well
            enough.
    """
    snapshots = Snapshots(group)
    snapshot = snapshots.by_name.get(name)
    origin = name if snapshot is None else snapshot.of.origin
    taken = snapshots.of(origin)
    made = _Tables(group, missing)
    if not taken:
        made.add(origin)
        return list(made.lines.items())

    def sectors(extents: int) -> int:
        return extents * group.extent_size_sectors

    real = made.add(origin, "real")
    end = ""
    for snapshot in taken:
        cow = made.add(snapshot.name, "cow")
        line = table_line(sectors(snapshot.extent_count), real, cow, snapshot.of.chunk_size_sectors)
        if snapshot.of.merging:
            end = table_line(made.sectors(origin), real, cow, snapshot.of.chunk_size_sectors)
            line = f"0 {sectors(snapshot.extent_count)} error"
        made.lines[dm_name(group.name, snapshot.name)] = [line]
    end = end.replace(" snapshot ", " snapshot-merge ", 1) or origin_table_line(made.sectors(origin), real)
    made.lines[dm_name(group.name, origin)] = [end]
    return list(made.lines.items())


class _Tables:
    """The tables of volumes' own storage.

    Attributes:
        lines: By the devices' names, with what they need first.
    """

    def __init__(self, group: VolumeGroup, missing: Container[str]) -> None:
        self.lines: dict[str, list[str]] = {}
        self._group = group
        self._missing = missing
        self._under_way: list[str] = []
        self._moving_from: dict[str, int] = {}

    def sectors(self, name: str) -> int:
        """Returns a volume's size."""
        return self._volume(name).extent_count * self._group.extent_size_sectors

    def add(self, name: str, layer: str = "") -> str:
        """Adds a volume and all that it lies on, and returns its device's name."""
        device = dm_name(self._group.name, name, layer)
        if device in self.lines:
            return device
        if name in self._under_way or len(self._under_way) == _MOST_LAYERS:
            raise self._refusal(name, f"lies on itself, or below {_MOST_LAYERS} others")
        volume = self._volume(name)
        if volume.problem:
            raise self._refusal(name, volume.problem)
        if volume.is_pool_spare:
            raise self._refusal(name, "is kept to repair the metadata of pools, and LVM never activates it")
        if layer != "tpool" and volume.segments and volume.segments[0].kind == "thin-pool":
            below = self.add(name, "tpool")
            self.lines[device] = [f"0 {self.sectors(name)} linear {below} 0"]
            return device
        self._under_way.append(name)
        extent = self._group.extent_size_sectors
        lines = [
            f"{segment.start_extent * extent} {segment.extent_count * extent} {self._target(volume, segment)}"
            for segment in volume.segments
        ]
        self._under_way.pop()
        self.lines[device] = lines
        return device

    def _target(self, volume: LogicalVolume, segment: Segment) -> str:
        """Returns what stands behind start and length on a segment's line."""
        match segment.kind:
            case "striped" if len(segment.areas) == 1:
                return f"linear {self._place(volume, segment, 0)}"
            case "striped":
                places = " ".join(self._places(volume, segment))
                return f"striped {len(segment.areas)} {segment.stripe_size_sectors} {places}"
            case "mirror":
                return self._mirror(volume, segment)
            case "raid1" | "raid0" | "raid0_meta":
                return self._raid(volume, segment)
            case kind if _PARITY.match(kind) and segment.metadata_areas and segment.fields.keys() <= _RAID_FIELDS:
                return self._raid(volume, segment)
            case "zero" | "error":
                return segment.kind
            case "snapshot":
                raise self._refusal(volume.name, "says that another volume is a snapshot, and has no device")
        target = None
        if segment.kind == "thin-pool" and segment.areas:
            metadata = self._named(volume, segment, "metadata")
            data = self._named(volume, segment, "pool")
            target = thin_pool_target(segment.fields, volume.status | volume.flags, metadata, data)
        elif segment.kind == "thin" and "external_origin" not in segment.fields:
            target = self._thin(segment)
        elif segment.kind == "cache" and segment.areas:
            target = self._cache(volume, segment)
        if target is None:
            reason = why_not_assembled(segment.kind)
            raise self._refusal(volume.name, f"tables of type {segment.kind} cannot be told: {reason}")
        return target

    def _thin(self, segment: Segment) -> str | None:
        """Returns the line of a thin volume, after those of its pool."""
        pool = self._group.logical_volumes.get(str(segment.fields.get("thin_pool")))
        number = segment.fields.get("device_id")
        if pool is None or not isinstance(number, int) or [part.kind for part in pool.segments] != ["thin-pool"]:
            return None
        return f"thin {self.add(pool.name, 'tpool')} {number}"

    def _cache(self, volume: LogicalVolume, segment: Segment) -> str | None:
        """Returns the line of a cached volume, after those of its cache: a pool of two volumes, or one in two parts."""
        pool = self._volume(str(segment.fields.get("cache_pool")))
        settings = pool.segments[0] if pool.segments else segment
        if settings.kind == "cache-pool":
            metadata = self._named(pool, settings, "metadata")
            data = self._named(pool, settings, "data")
        else:
            settings = segment
            metadata = self._part(volume, segment, self.add(pool.name), "metadata")
            data = self._part(volume, segment, self.add(pool.name), "data")
        return cache_target(settings.fields, metadata, data, self._named(volume, segment, "origin"))

    def _named(self, volume: LogicalVolume, segment: Segment, field: str) -> str:
        """Adds the volume that a field of a segment names."""
        name = segment.fields.get(field)
        if not isinstance(name, str):
            raise self._refusal(volume.name, f"has no {field}")
        return self.add(name)

    def _part(self, volume: LogicalVolume, segment: Segment, below: str, what: str) -> str:
        """Adds a part of a cache volume, which the cached volume knows."""
        device = f"{below}-c{'meta' if what == 'metadata' else what}"
        start, length = (segment.fields.get(f"{what}_{word}") for word in ("start", "len"))
        if not isinstance(start, int) or not isinstance(length, int):
            raise self._refusal(volume.name, f"does not say where the {what} of its cache is")
        self.lines[device] = [f"0 {length} linear {below} {start}"]
        return device

    def _mirror(self, volume: LogicalVolume, segment: Segment) -> str:
        if (only := self._only_leg(volume, segment)) is not None:
            return f"linear {self._place(volume, segment, only)}"
        log = ["disk", self.add(segment.log)] if segment.log else ["core"]
        words = [str(segment.region_size_sectors or _MOVING_REGION_SECTORS)]
        if "NOTSYNCED" in volume.status:
            words.append("nosync")
        places = list(self._places(volume, segment))
        line = [log[0], str(len(log) - 1 + len(words)), *log[1:], *words, str(len(places)), *places]
        if "PVMOVE" not in volume.status:
            line.append("1 handle_errors")
        return f"mirror {' '.join(line)}"

    def _only_leg(self, volume: LogicalVolume, segment: Segment) -> int | None:
        """Which leg stands for a mirror by itself: of what ``pvmove`` has moved, or has not begun to move."""
        if is_moved(segment):
            return 1
        waits = "PVMOVE" in volume.status and segment.start_extent != self._moving(volume)
        return 0 if len(segment.areas) == 1 or waits else None

    def _moving(self, volume: LogicalVolume) -> int:
        """Returns where the stretch begins that ``pvmove`` is at; looked for once, as there may be many."""
        if volume.name not in self._moving_from:
            left = (other for other in volume.segments if other.kind == "mirror" and not is_moved(other))
            self._moving_from[volume.name] = next((segment.start_extent for segment in left), -1)
        return self._moving_from[volume.name]

    def _raid(self, volume: LogicalVolume, segment: Segment) -> str:
        """Returns the line of a raid target; the order of its words is the kernel's."""
        metadata = [self.add(area.name) for area in segment.metadata_areas]
        data = [place.partition(" ")[0] for place in self._places(volume, segment)]
        if not segment.kind.startswith("raid0"):
            words = [str(segment.stripe_size_sectors), *self._raid_words(volume, segment)]
        else:
            words = [str(segment.stripe_size_sectors)]
        pairs = [f"{meta} {leg}" for meta, leg in zip(metadata or ["-"] * len(data), data, strict=False)]
        kind = _LAYOUTS.get(segment.kind, segment.kind.removesuffix("_meta"))
        return " ".join(["raid", kind, str(len(words)), *words, str(len(data)), *pairs])

    def _raid_words(self, volume: LogicalVolume, segment: Segment) -> Iterator[str]:
        if "NOTSYNCED" in volume.status:
            yield "nosync"
        yield from self._of_legs(segment, "REBUILD", "rebuild")
        for word in ("min_recovery_rate", "max_recovery_rate"):
            rate = segment.fields.get(word)
            if rate and isinstance(rate, int):
                yield from (word, str(rate))
        yield from self._of_legs(segment, "WRITEMOSTLY", "write_mostly")
        behind = segment.fields.get("writebehind")
        if behind and isinstance(behind, int):
            yield from ("max_write_behind", str(behind))
        if segment.region_size_sectors:
            yield from ("region_size", str(segment.region_size_sectors))

    def _of_legs(self, segment: Segment, status: str, word: str) -> Iterator[str]:
        for number, area in enumerate(segment.areas):
            if area.is_volume and status in self._volume(area.name).status:
                yield from (word, str(number))

    def _places(self, volume: LogicalVolume, segment: Segment) -> Iterator[str]:
        return (self._place(volume, segment, number) for number in range(len(segment.areas)))

    def _place(self, volume: LogicalVolume, segment: Segment, number: int) -> str:
        """Returns a device's name, and the sector there where an area begins."""
        area = segment.areas[number]
        sector = area.start_extent * self._group.extent_size_sectors
        if area.is_volume:
            return f"{self.add(area.name)} {sector}"
        physical = self._group.physical_volumes.get(area.name)
        if physical is None:
            raise self._refusal(volume.name, f"lies on {area.name}, which the group does not have")
        if area.name in self._missing:
            return f"{self._error(volume, segment, number)} 0"
        return f"{table_argument(area.name)} {physical.first_extent_sector + sector}"

    def _error(self, volume: LogicalVolume, segment: Segment, number: int) -> str:
        """Adds the device that stands for an area that is not there: as long as the segment, even of one stripe."""
        index = bisect_left(volume.segments, segment.start_extent, key=lambda other: other.start_extent)
        device = dm_name(self._group.name, volume.name, f"missing_{index}_{number}")
        self.lines[device] = [f"0 {segment.extent_count * self._group.extent_size_sectors} error"]
        return device

    def _volume(self, name: str) -> LogicalVolume:
        volume = self._group.logical_volumes.get(name)
        if volume is None:
            raise self._refusal(name, "there is no such volume in the group")
        return volume

    def _refusal(self, name: str, what: str) -> NotAssembled:
        return NotAssembled(f"{self._group.name}/{name}: {what}", hint="'dmsnap lvm ls' lists volumes", volume=name)
