"""The own storage of logical volumes, put together from the physical volumes that are there.

What a volume is made of is read as device-mapper would read it: stretches one after another, each a part of something,
or stripes, or one leg of a mirror that is known to be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from dmsnap.block.contract import SECTOR_BYTES, BadRequest, BlockDevice, IOFailed
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.lvm.kinds import NotAssembled, why_not_assembled
from dmsnap.lvm.legs import Raid1Leg, is_moved, mirror_doubt, mirror_leg, raid1_doubt, raid1_leg
from dmsnap.lvm.mirror_log import regions_out_of_sync
from dmsnap.lvm.model import Area, LogicalVolume, Segment, VolumeGroup
from dmsnap.lvm.raid_superblock import RaidSuperblock, read_raid_superblock
from dmsnap.target.concatenated import ConcatenatedDevice
from dmsnap.target.error import ErrorDevice
from dmsnap.target.striped import StripedDevice
from dmsnap.target.zero import ZeroDevice

__all__ = ["Storage"]

_MOST_LAYERS = 16
"""Volumes that lie on volumes: LVM makes some four layers, and each costs every read something."""

_MOST_BYTES = (1 << 63) - 1
"""Linux can address no more."""


class Storage:
    """The storage of a group's volumes, regardless of snapshots.

    Args:
        group: What the metadata say.
        devices: The physical volumes that are there, by the names that the metadata use.

    Attributes:
        group: As given.
        extent_bytes: Size of an extent.
        doubts: Of the mirrors that were put together without all of their legs: why what they show may be old.
    """

    def __init__(self, group: VolumeGroup, devices: Mapping[str, BlockDevice]) -> None:
        self.group = group
        self.extent_bytes = group.extent_size_sectors * SECTOR_BYTES
        self.doubts: dict[str, str] = {}
        self._devices = devices
        self._below: dict[str, BlockDevice | NotAssembled] = {}  # volumes that others lie on, made or refused once
        self._under_way: list[str] = []
        self._layers: dict[str, int] = {}  # how many volumes lie below one another in a volume, itself included

    def of(self, name: str) -> BlockDevice:
        """Puts a volume together, afresh; closing it closes nothing that others lie on.

        Raises:
            NotAssembled: There is no such volume, or it cannot be put together; the message says why.
        """
        return self._built(self.volume(name))

    def volume(self, name: str) -> LogicalVolume:
        """Returns what the metadata say of a volume.

        Raises:
            NotAssembled: There is none of this name.
        """
        volume = self.group.logical_volumes.get(name)
        if volume is None:
            raise self.refusal(name, "there is no such volume in the group", "'dmsnap lvm ls' lists them")
        return volume

    @cached_property
    def _room_bytes(self) -> int:
        """What can be kept at all: a volume with the same place in it again and again would have no end to read."""
        return sum(device.size_bytes for device in self._devices.values())

    def _built(self, volume: LogicalVolume) -> BlockDevice:
        """Puts a volume together, afresh."""
        if volume.name in self._under_way:
            raise self.damaged(volume.name, "lies on itself")
        if len(self._under_way) == _MOST_LAYERS:
            raise self._too_deep(volume.name)
        if volume.problem:
            raise self.damaged(volume.name, volume.problem)
        if not volume.segments:
            raise self.damaged(volume.name, "has no segments")
        if not 0 < volume.extent_count * self.extent_bytes <= _MOST_BYTES:
            raise self.damaged(volume.name, f"has {volume.extent_count} extents of {self.extent_bytes} bytes")
        self._under_way.append(volume.name)
        try:
            parts = []
            position = kept = 0
            for segment in volume.segments:
                if segment.start_extent != position or segment.extent_count < 1:
                    raise self.damaged(volume.name, f"has a gap or an overlap at extent {position}")
                parts.append(self._stretch(volume.name, segment))
                position += segment.extent_count
                kept += segment.extent_count if segment.kind not in ("zero", "error") else 0
            if kept * self.extent_bytes > self._room_bytes:
                raise self.damaged(volume.name, "is larger than the physical volumes")
            name = f"{self.group.name}/{volume.name}"
            device = parts[0] if len(parts) == 1 else ConcatenatedDevice(parts, name=name)
        except BadRequest as error:
            raise self.damaged(volume.name, f"does not fit together: {error.message}") from error
        finally:
            self._under_way.pop()
        below = (area.name for segment in volume.segments for area in segment.areas if area.is_volume)
        self._layers[volume.name] = 1 + max((self._layers.get(lower, 0) for lower in below), default=0)
        if self._layers[volume.name] > _MOST_LAYERS:
            raise self._too_deep(volume.name)
        device.name = name
        return device

    def _stretch(self, name: str, segment: Segment) -> BlockDevice:
        """Returns what one segment of a volume shows."""
        length = segment.extent_count * self.extent_bytes
        match segment.kind:
            case "striped" | "raid0" | "raid0_meta":
                return self._striped(name, segment)
            case "mirror":
                return self._mirrored(name, segment)
            case "raid1":
                return self._raid1(name, segment)
            case "zero":
                return ZeroDevice(length)
            case "error":
                return ErrorDevice(length)
            case "snapshot":
                of = segment.snapshot
                hint = f"ask for {self.group.name}/{of.cow_store}" if of else ""
                raise self.refusal(name, "says that another volume is a snapshot, and has no content", hint)
        raise self.refusal(
            name,
            f"volumes of type {segment.kind} cannot be put together: {why_not_assembled(segment.kind)}",
            "activate it with LVM and give its block device",
        )

    def _striped(self, name: str, segment: Segment) -> BlockDevice:
        count = len(segment.areas)
        if not count or segment.extent_count % count:
            raise self.damaged(name, f"has {segment.extent_count} extents on {count} stripes")
        stripes = [self._area(name, area, segment.extent_count // count) for area in segment.areas]
        return stripes[0] if count == 1 else StripedDevice(stripes, segment.stripe_size_sectors * SECTOR_BYTES)

    # -- mirrors ------------------------------------------------------------------------------------------------------

    def _mirrored(self, name: str, segment: Segment) -> BlockDevice:
        legs, refusals = self._legs(name, segment)
        if is_moved(segment):
            return self._leg(name, segment, legs, 1, refusals)
        usable = [leg is not None for leg in legs]
        out_of_sync = None if all(usable) else self._out_of_sync(segment)
        number = mirror_leg(usable, out_of_sync)
        doubt = "" if number is None else mirror_doubt(usable, number, out_of_sync)
        return self._leg(name, segment, legs, number, refusals, doubt)

    def _out_of_sync(self, segment: Segment) -> int | None:
        """How many regions a mirror's log does not know to be in sync, or None where it does not tell."""
        if not segment.log or segment.region_size_sectors < 1:
            return None
        sectors = segment.extent_count * self.group.extent_size_sectors
        try:
            return regions_out_of_sync(self._lower(segment.log), -(-sectors // segment.region_size_sectors))
        except (NotAssembled, IOFailed):
            return None

    def _raid1(self, name: str, segment: Segment) -> BlockDevice:
        legs, refusals = self._legs(name, segment)
        metadata: list[Area | None] = [*segment.metadata_areas]
        if len(metadata) != len(legs):
            metadata = [None] * len(legs)
        known = []
        for leg, area, meta in zip(legs, segment.areas, metadata, strict=True):
            volume = self.group.logical_volumes.get(area.name) if area.is_volume else None
            rebuilding = volume is not None and "REBUILD" in volume.status
            known.append(Raid1Leg(leg is not None, self._superblock(meta) if meta else None, rebuilding))
        number = raid1_leg(known)
        return self._leg(name, segment, legs, number, refusals, "" if number is None else raid1_doubt(known, number))

    def _superblock(self, area: Area) -> RaidSuperblock | None:
        try:
            return read_raid_superblock(self._lower(area.name)) if area.is_volume else None
        except (NotAssembled, IOFailed):
            return None

    def _legs(self, name: str, segment: Segment) -> tuple[list[BlockDevice | None], list[NotAssembled]]:
        legs: list[BlockDevice | None] = []
        refusals = []
        for area in segment.areas:
            try:
                legs.append(self._area(name, area, segment.extent_count))
            except NotAssembled as error:
                legs.append(None)
                refusals.append(error)
        return legs, refusals

    def _leg(
        self,
        name: str,
        segment: Segment,
        legs: list[BlockDevice | None],
        number: int | None,
        refusals: list[NotAssembled],
        doubt: str = "",
    ) -> BlockDevice:
        leg = None if number is None or number >= len(legs) else legs[number]
        missing = sorted({str(error.uuid) for error in refusals if "uuid" in error.fields})
        if leg is None:
            what = f" without physical volume {', '.join(missing)}" if missing else ""
            hints = ["give the images of all its physical volumes" if missing else "activate it with LVM"]
            hints += [
                f"or read a leg as it is, which may be old: {self.group.name}/{area.name}"
                for area, there in zip(segment.areas, legs, strict=True)
                if there is not None and area.is_volume
            ][:1]
            raise self.refusal(name, f"no leg of the mirror is known to be in sync{what}", ", ".join(hints))
        if doubt:
            without = f" without physical volume {', '.join(missing)}" if missing else ""
            self.doubts[name] = f"{self.group.name}/{name}: leg {number} is read{without}, and may be old: {doubt}"
        leg.read_only = True  # a write would have to keep the others in sync
        return leg

    # -- where it lies ------------------------------------------------------------------------------------------------

    def _area(self, name: str, area: Area, extents: int) -> BlockDevice:
        """Returns a part of a physical volume or of another volume."""
        start = area.start_extent * self.extent_bytes
        if area.is_volume:
            below = self._lower(area.name)
        else:
            below = self._physical(name, area.name)
            start += self.group.physical_volumes[area.name].first_extent_sector * SECTOR_BYTES
        try:
            return _Part(below, start, extents * self.extent_bytes)
        except BadRequest as error:
            raise self.damaged(
                name, f"needs {extents} extents from extent {area.start_extent} of {area.name}: {error.message}"
            ) from error

    def _physical(self, name: str, physical: str) -> BlockDevice:
        known = self.group.physical_volumes.get(physical)
        if known is None:
            raise self.damaged(name, f"lies on {physical}, which the group does not have")
        device = self._devices.get(physical)
        if device is None or "MISSING" in known.flags:
            where = f"physical volume {known.uuid} (once {known.device})" if known.device else known.uuid
            missing = "is not there" if device is None else "is out of date, as the group went on without it"
            raise NotAssembled(
                f"{self.group.name}/{name}: {where} {missing}",
                hint="give its image too" if device is None else "'vgextend --restoremissing' takes it back",
                volume=name,
                physical_volume=physical,
                uuid=known.uuid,
            )
        return device

    def _lower(self, name: str) -> BlockDevice:
        """Returns a volume that others lie on, made once: else a few lines of metadata could ask for millions."""
        known = self._below.get(name)
        if known is None:
            try:
                known = self._built(self.volume(name))
            except NotAssembled as error:
                known = error
            self._below[name] = known
        if isinstance(known, NotAssembled):
            raise known.with_traceback(None)
        return known

    # -- errors -------------------------------------------------------------------------------------------------------

    def refusal(self, name: str, what: str, hint: str) -> NotAssembled:
        """Returns an error that says what stands in the way of a volume."""
        return NotAssembled(f"{self.group.name}/{name}: {what}", hint=hint, volume=name)

    def _too_deep(self, name: str) -> NotAssembled:
        return self.damaged(name, f"is one of more than {_MOST_LAYERS} volumes that lie on one another")

    def damaged(self, name: str, what: str) -> NotAssembled:
        """Returns an error that says what the metadata have wrong of a volume."""
        return self.refusal(name, what, "the metadata are damaged, or written by hand; an older copy may be better")


class _Part(SliceDevice):
    """A part of a device that stays open when the part is closed: others lie on it too."""

    def _close(self) -> None:
        return
