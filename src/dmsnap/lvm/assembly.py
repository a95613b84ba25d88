"""Logical volumes as block devices, from the physical volumes that are there.

What a volume is made of is read as device-mapper would read it: stretches one after another, each a part of something,
or stripes, or one right leg of a mirror. An origin shows its own content, or while a snapshot is being merged into it
what it will be; a snapshot shows the origin as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

from dmsnap.block.contract import SECTOR_BYTES, BadRequest, BlockDevice, IOFailed
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.lvm.kinds import NotAssembled, why_not_assembled
from dmsnap.lvm.legs import Raid1Leg, is_moved, mirror_leg, raid1_leg
from dmsnap.lvm.mirror_log import regions_out_of_sync
from dmsnap.lvm.model import Area, LogicalVolume, Segment, VolumeGroup
from dmsnap.lvm.raid_superblock import RaidSuperblock, read_raid_superblock
from dmsnap.lvm.snapshots import Snapshot, Snapshots
from dmsnap.store import open_store
from dmsnap.target.concatenated import ConcatenatedDevice
from dmsnap.target.error import ErrorDevice
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.target.striped import StripedDevice
from dmsnap.target.zero import ZeroDevice

__all__ = ["Assembly", "NotAssembled"]

_MOST_LAYERS = 16
"""Volumes that lie on volumes: LVM makes some four layers, and each costs every read something."""

_MOST_BYTES = (1 << 63) - 1
"""Linux can address no more."""


class Assembly:
    """The logical volumes of a group, as devices.

    Devices that it returns are new ones each time, and the caller's to close; which closes nothing else: the physical
    volumes stay open, and must until then. One thread at a time may ask for devices.

    Args:
        group: What the metadata say.
        devices: The physical volumes that are there, by the names that the metadata use ("pv0"), each from where the
            physical volume begins.

    Attributes:
        group: As given.
        snapshots: Which volumes are snapshots of which.
    """

    def __init__(self, group: VolumeGroup, devices: Mapping[str, BlockDevice]) -> None:
        self.group = group
        self.snapshots = Snapshots(group)
        self._devices = devices
        self._extent_bytes = group.extent_size_sectors * SECTOR_BYTES
        self._below: dict[str, BlockDevice | NotAssembled] = {}  # volumes that others lie on, made or refused once
        self._under_way: list[str] = []
        self._layers: dict[str, int] = {}  # how many volumes lie below one another in a volume, itself included

    # -- what people ask for ------------------------------------------------------------------------------------------

    def device(self, name: str) -> BlockDevice:
        """Returns a volume's content, as its own block device would show it.

        A snapshot can only be read, and so can an origin that has snapshots, which a write would have to keep right: of
        these `storage` can be written to. Mirrors can only be read, too, and what the metadata say is read-only.

        Raises:
            NotAssembled: There is no such volume, or it cannot be put together; the message says why.
            DmsnapError: The store of a snapshot is damaged, as `dmsnap.store.open_store`.
        """
        snapshot = self.snapshots.by_name.get(name)
        if snapshot is not None and snapshot.of.merging:
            raise self._refusal(
                name,
                f"is being merged into {snapshot.of.origin}, and has no content of its own meanwhile",
                f"read {self.group.name}/{snapshot.of.origin}, which shows what it will be",
            )
        if snapshot is not None:
            return self._snapshot(snapshot, name, snapshot.extent_count * self._extent_bytes)
        merging = self.snapshots.merging_into(name)
        if merging is not None:
            return self._snapshot(merging, name, None)
        device = self.storage(name)
        if self.snapshots.of(name) or "WRITE" not in self._volume(name).status:
            device.read_only = True
        return device

    def storage(self, name: str) -> BlockDevice:
        """Returns a volume's own storage: of a snapshot its store, of an origin what lies beneath its snapshots.

        Raises:
            NotAssembled: As `device`.
        """
        return self._built(self._volume(name))

    def snapshot_parts(self, name: str) -> tuple[BlockDevice, BlockDevice] | None:
        """Returns origin and store of a snapshot, both as their own storage; None of any other volume.

        Raises:
            NotAssembled: As `device`.
        """
        snapshot = self.snapshots.by_name.get(name)
        if snapshot is None:
            self._volume(name)
            return None
        return self.storage(snapshot.of.origin), self.storage(snapshot.of.cow_store)

    def origin_of(self, name: str) -> str | None:
        """Returns the volume that a snapshot was taken of; None of any other volume."""
        snapshot = self.snapshots.by_name.get(name)
        return None if snapshot is None else snapshot.of.origin

    def snapshots_of(self, name: str) -> tuple[str, ...]:
        """Returns the snapshots of a volume, in the order of the metadata; that which is merging is one of them."""
        return tuple(snapshot.name for snapshot in self.snapshots.of(name))

    def is_merging(self, name: str) -> bool:
        """Whether a volume is a snapshot that is being merged, or an origin that one is being merged into."""
        snapshot = self.snapshots.by_name.get(name)
        return self.snapshots.merging_into(name) is not None or (snapshot is not None and snapshot.of.merging)

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def _snapshot(self, snapshot: Snapshot, name: str, size_bytes: int | None) -> BlockDevice:
        if problem := self.group.logical_volumes[snapshot.kept_by].problem:
            raise self._damaged(name, f"cannot be a snapshot: {problem}")
        origin, cow = self.storage(snapshot.of.origin), self.storage(snapshot.of.cow_store)
        store = open_store(
            cow,
            origin_size_bytes=origin.size_bytes,
            origin_block_size_bytes=origin.logical_block_size_bytes,
        )
        if snapshot.of.merging and not store.valid:  # then all of it is the origin's, as in Linux
            origin.read_only = True
            return origin
        try:
            return SnapshotDevice(origin, store, size_bytes=size_bytes, name=f"{self.group.name}/{name}")
        except BadRequest as error:
            raise self._refusal(name, f"cannot be a snapshot of {snapshot.of.origin}", error.message) from error

    # -- storage ------------------------------------------------------------------------------------------------------

    def _volume(self, name: str) -> LogicalVolume:
        volume = self.group.logical_volumes.get(name)
        if volume is None:
            raise self._refusal(name, "there is no such volume in the group", "'dmsnap lvm ls' lists them")
        return volume

    def _built(self, volume: LogicalVolume) -> BlockDevice:
        """Puts a volume together, afresh."""
        if volume.name in self._under_way:
            raise self._damaged(volume.name, "lies on itself")
        if len(self._under_way) == _MOST_LAYERS:
            raise self._too_deep(volume.name)
        if volume.problem:
            raise self._damaged(volume.name, volume.problem)
        if not volume.segments:
            raise self._damaged(volume.name, "has no segments")
        if not 0 < volume.extent_count * self._extent_bytes <= _MOST_BYTES:
            raise self._damaged(volume.name, f"has {volume.extent_count} extents of {self._extent_bytes} bytes")
        self._under_way.append(volume.name)
        try:
            parts = []
            position = 0
            for segment in volume.segments:
                if segment.start_extent != position or segment.extent_count < 1:
                    raise self._damaged(volume.name, f"has a gap or an overlap at extent {position}")
                parts.append(self._stretch(volume.name, segment))
                position += segment.extent_count
            name = f"{self.group.name}/{volume.name}"
            device = parts[0] if len(parts) == 1 else ConcatenatedDevice(parts, name=name)
        except BadRequest as error:
            raise self._damaged(volume.name, f"does not fit together: {error.message}") from error
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
        length = segment.extent_count * self._extent_bytes
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
                raise self._refusal(name, "says that another volume is a snapshot, and has no content", hint)
        raise self._refusal(
            name,
            f"volumes of type {segment.kind} cannot be put together: {why_not_assembled(segment.kind)}",
            "activate it with LVM and give its block device",
        )

    def _striped(self, name: str, segment: Segment) -> BlockDevice:
        count = len(segment.areas)
        if not count or segment.extent_count % count:
            raise self._damaged(name, f"has {segment.extent_count} extents on {count} stripes")
        stripes = [self._area(name, area, segment.extent_count // count) for area in segment.areas]
        return stripes[0] if count == 1 else StripedDevice(stripes, segment.stripe_size_sectors * SECTOR_BYTES)

    # -- mirrors ------------------------------------------------------------------------------------------------------

    def _mirrored(self, name: str, segment: Segment) -> BlockDevice:
        legs, refusals = self._legs(name, segment)
        if is_moved(segment):
            return self._leg(name, legs, 1, refusals)
        usable = [leg is not None for leg in legs]
        number = mirror_leg(usable, None if not usable or usable[0] else self._out_of_sync(segment))
        return self._leg(name, legs, number, refusals)

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
        return self._leg(name, legs, raid1_leg(known), refusals)

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
        self, name: str, legs: list[BlockDevice | None], number: int | None, refusals: list[NotAssembled]
    ) -> BlockDevice:
        leg = None if number is None or number >= len(legs) else legs[number]
        if leg is None:
            missing = sorted({str(error.uuid) for error in refusals if "uuid" in error.fields})
            what = f" without physical volume {', '.join(missing)}" if missing else ""
            hint = "give the images of all its physical volumes" if missing else "activate it with LVM"
            raise self._refusal(name, f"no leg of the mirror is known to be in sync{what}", hint)
        leg.read_only = True  # a write would have to keep the others in sync
        return leg

    # -- where it lies ------------------------------------------------------------------------------------------------

    def _area(self, name: str, area: Area, extents: int) -> BlockDevice:
        """Returns a part of a physical volume or of another volume."""
        start = area.start_extent * self._extent_bytes
        if area.is_volume:
            below = self._lower(area.name)
        else:
            below = self._physical(name, area.name)
            start += self.group.physical_volumes[area.name].first_extent_sector * SECTOR_BYTES
        try:
            return _Part(below, start, extents * self._extent_bytes)
        except BadRequest as error:
            raise self._damaged(
                name, f"needs {extents} extents from extent {area.start_extent} of {area.name}: {error.message}"
            ) from error

    def _physical(self, name: str, physical: str) -> BlockDevice:
        known = self.group.physical_volumes.get(physical)
        if known is None:
            raise self._damaged(name, f"lies on {physical}, which the group does not have")
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
                known = self._built(self._volume(name))
            except NotAssembled as error:
                known = error
            self._below[name] = known
        if isinstance(known, NotAssembled):
            raise known.with_traceback(None)
        return known

    # -- errors -------------------------------------------------------------------------------------------------------

    def _refusal(self, name: str, what: str, hint: str) -> NotAssembled:
        return NotAssembled(f"{self.group.name}/{name}: {what}", hint=hint, volume=name)

    def _too_deep(self, name: str) -> NotAssembled:
        return self._damaged(name, f"is one of more than {_MOST_LAYERS} volumes that lie on one another")

    def _damaged(self, name: str, what: str) -> NotAssembled:
        return self._refusal(name, what, "the metadata are damaged, or written by hand; an older copy may be better")


class _Part(SliceDevice):
    """A part of a device that stays open when the part is closed: others lie on it too."""

    def _close(self) -> None:
        return
