"""Volume groups in images: their physical volumes put together, by the newest metadata that can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dmsnap.block import BlockDevice, IOFailed
from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.errors import DmsnapError
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.importing import group_of
from dmsnap.lvm.metadata_area import MetadataArea, read_metadata_area, read_text
from dmsnap.lvm.model import PhysicalVolume, VolumeGroup
from dmsnap.lvm.older_metadata import assumed_area, older_texts
from dmsnap.lvm.physical import PhysicalVolumeImage, find_physical_volumes

__all__ = ["Group", "find_groups"]

MISSING = "MISSING"
MOST_AREAS = 4
"""How many metadata areas of a volume are read: LVM makes two at most, and a hostile label could name many."""


@dataclass(frozen=True)
class Group:
    """A volume group, as far as its physical volumes are there.

    Attributes:
        group: What the newest metadata says.
        devices: Of the physical volumes that are there, by the names that the metadata uses ("pv0").
        missing: Physical volumes that are not there, those that belong to another group by now, and those that the
            group went on without: what they hold may be stale, and LVM does not use it either.
        findings: What is odd about the group.
        images: Where ``devices`` come from, by the same names.
    """

    group: VolumeGroup
    devices: Mapping[str, BlockDevice]
    missing: tuple[PhysicalVolume, ...] = ()
    findings: tuple[Finding, ...] = ()
    images: Mapping[str, PhysicalVolumeImage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A text, read and understood."""

    group: VolumeGroup
    findings: tuple[Finding, ...]
    volume: PhysicalVolumeImage
    crc_is_good: bool


class _Texts:
    """Understands each text once, however many volumes hold it."""

    def __init__(self) -> None:
        self._known: list[tuple[bytes | bytearray, tuple[VolumeGroup, tuple[Finding, ...]] | DmsnapError]] = []

    def copy(self, text: bytes | bytearray, volume: PhysicalVolumeImage, *, crc_is_good: bool) -> _Copy:
        """Raises the `DmsnapError` of whoever cannot understand it."""
        # Compared and not hashed: there are few, most are equal, and a hash would read every byte of a long one.
        known = next((outcome for other, outcome in self._known if other == text), None)
        if known is None:
            try:
                known = group_of(text)
            except DmsnapError as error:
                known = error
            self._known.append((text, known))
        if isinstance(known, DmsnapError):
            raise known
        return _Copy(*known, volume, crc_is_good)


def find_groups(devices: Sequence[BlockDevice]) -> tuple[list[Group], list[Finding]]:
    """Returns the volume groups that images hold together, by name, and what is odd beside them.

    Of each group the newest metadata counts that any of its volumes holds. Where a volume's metadata is damaged and no
    other volume knows the group, older copies that it still holds are tried, newest first.

    Args:
        devices: Images of disks or physical volumes, in any order; they stay the caller's to close, and must stay open
            as long as the groups' devices are used.

    Raises:
        DeviceClosed: One of them was closed.
    """
    volumes, findings = find_physical_volumes(devices)
    texts = _Texts()
    copies: list[_Copy] = []
    damaged: list[tuple[PhysicalVolumeImage, list[MetadataArea]]] = []
    for volume in volumes:
        found, areas = _committed(volume, texts, findings)
        copies += found
        if areas and not found:
            damaged.append((volume, areas))
    known = {physical.uuid for copy in copies for physical in copy.group.physical_volumes.values()}
    for volume, areas in damaged:
        if volume.uuid not in known:
            copies += _older(volume, areas, texts)
    of_groups: dict[str, list[_Copy]] = {}
    for copy in copies:
        of_groups.setdefault(copy.group.uuid, []).append(copy)
    present = {volume.uuid: volume for volume in volumes}
    owners = {copy.volume.uuid: copy.group for copy in copies if copy.crc_is_good}
    groups = [_group(same, present, owners) for same in of_groups.values()]
    return sorted(groups, key=lambda group: group.group.name), findings


# -- copies of the metadata -------------------------------------------------------------------------------------------


def _committed(
    volume: PhysicalVolumeImage, texts: _Texts, findings: list[Finding]
) -> tuple[list[_Copy], list[MetadataArea]]:
    """What the areas of a volume say that counts, and those areas whose text is damaged."""
    copies, damaged = [], []
    for place in list(dict.fromkeys(volume.label.metadata_areas))[:MOST_AREAS]:
        area: MetadataArea | None = None
        try:
            area = read_metadata_area(volume.device, place)
            if area.ignored or area.committed is None:
                continue
            copies.append(texts.copy(read_text(volume.device, area, area.committed), volume, crc_is_good=True))
        except DmsnapError as error:
            offset = error.fields.get("offset_bytes", place.offset_bytes)
            message = f"{volume.image}, byte {offset}: {error.message}"
            kind, at = FindingKind.DAMAGED_METADATA, offset if isinstance(offset, int) else None
            findings.append(Finding(kind, message, volume=volume.uuid, device=volume.image, offset_bytes=at))
            if area is None and volume.label.used is not False:
                area = assumed_area(volume.device, place)
            if area is not None:
                damaged.append(area)
    return copies, damaged


def _older(volume: PhysicalVolumeImage, areas: list[MetadataArea], texts: _Texts) -> list[_Copy]:
    """The newest older text that names this volume, if any can be understood."""
    older = []
    for area in areas:
        try:
            older += older_texts(volume.device, area)
        except IOFailed:
            continue  # it was told already why the area cannot be read
    for text in sorted(older, key=lambda text: (text.created, text.seqno), reverse=True):
        try:
            copy = texts.copy(text.text, volume, crc_is_good=False)
        except DmsnapError:
            continue
        if any(physical.uuid == volume.uuid for physical in copy.group.physical_volumes.values()):
            return [copy]
    return []


# -- one group --------------------------------------------------------------------------------------------------------


def _group(copies: list[_Copy], present: Mapping[str, PhysicalVolumeImage], owners: Mapping[str, VolumeGroup]) -> Group:
    """A group from all that is said of it; of the volumes that are present, some say themselves whose they are."""
    newest = max(copies, key=lambda copy: (copy.group.seqno, copy.crc_is_good))  # the first of several
    group = newest.group
    findings = [replace(finding, group=finding.group or group.name) for finding in newest.findings]
    if not newest.crc_is_good:
        findings.append(_older_metadata(newest))
    findings += _other_ages(newest, copies)
    missing, images = [], {}
    for name, physical in group.physical_volumes.items():
        image, owner = present.get(physical.uuid), owners.get(physical.uuid, group)
        flagged = MISSING in physical.flags or MISSING in physical.status
        if image is None or flagged or owner.uuid != group.uuid:
            missing.append(physical)
            findings.append(_missing(group, physical, image, owner))
        else:
            images[name] = image
            findings += _short(group, physical, image)
    devices = {name: image.device for name, image in images.items()}
    return Group(group, devices, tuple(missing), tuple(findings), images)


def _older_metadata(copy: _Copy) -> Finding:
    group, image = copy.group, copy.volume.image
    message = (
        f"{group.name}: the newest metadata is damaged; this is an older copy, number {group.seqno}, from {image}, "
        "which no checksum covers: what was changed since is not known"
    )
    return Finding(FindingKind.OLDER_METADATA, message, group=group.name, device=image)


def _other_ages(newest: _Copy, copies: list[_Copy]) -> list[Finding]:
    """One finding for each volume whose metadata is another than that which counts."""
    group = newest.group
    findings: dict[str, Finding] = {}
    for copy in copies:
        image = copy.volume.image
        if copy.group is not group and image not in findings:
            message = (
                f"{group.name}: {image} holds metadata number {copy.group.seqno}, and number {group.seqno} "
                f"from {newest.volume.image} counts"
            )
            kind = FindingKind.DIFFERENT_METADATA
            findings[image] = Finding(kind, message, group=group.name, volume=copy.volume.uuid, device=image)
    return list(findings.values())


def _missing(
    group: VolumeGroup, physical: PhysicalVolume, image: PhysicalVolumeImage | None, owner: VolumeGroup
) -> Finding:
    last = f" (last seen as {_plain(physical.device)})" if physical.device else ""
    if image is None:
        message = (
            f"{group.name}: physical volume {physical.name}, {_plain(physical.uuid)}{last}, is in none of the images"
        )
    elif owner.uuid != group.uuid:
        message = (
            f"{group.name}: physical volume {physical.name}, {image.image}, says itself that it belongs to "
            f"{owner.name}, and is not used"
        )
    else:
        message = (
            f"{group.name}: physical volume {physical.name}, {image.image}, was missing when the metadata was written: "
            "what it holds may be stale, and is not used"
        )
    return Finding(
        FindingKind.MISSING_VOLUME,
        message,
        group=group.name,
        volume=physical.name,
        device=image.image if image else "",
    )


def _short(group: VolumeGroup, physical: PhysicalVolume, image: PhysicalVolumeImage) -> list[Finding]:
    sectors = physical.first_extent_sector + physical.extent_count * group.extent_size_sectors
    need, has = sectors * SECTOR_BYTES, image.device.size_bytes
    if need <= has:
        return []
    message = f"{group.name}: {image.image} has {has} bytes, and the extents of {physical.name} need {need}"
    return [Finding(FindingKind.SHORT_VOLUME, message, group=group.name, volume=physical.name, device=image.image)]


def _plain(text: str) -> str:
    """Text of the metadata that may hold anything, for a message: nothing in it moves a cursor."""
    return ascii(text)[1:-1]
