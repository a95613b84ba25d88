"""What volume groups there are in images, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from dmsnap.block.contract import BlockDevice
from dmsnap.library.source import Source
from dmsnap.library.volumes.opened import open_images
from dmsnap.library.volumes.relations import relations
from dmsnap.library.volumes.rows import (
    GroupRow,
    PhysicalRow,
    VolumeRow,
    allocated_extents,
    group_row,
    physical_rows,
    volume_rows,
)
from dmsnap.lvm.finding import Finding
from dmsnap.lvm.groups import Group, find_groups
from dmsnap.lvm.segments import RegularSegments

__all__ = ["GroupListing", "VolumeListing", "list_volumes"]


@dataclass(frozen=True, slots=True)
class GroupListing:
    """A volume group and what is in it.

    Attributes:
        group: The group.
        physical_volumes: Its physical volumes.
        volumes: A row for each segment of its logical volumes, by name.
    """

    group: GroupRow
    physical_volumes: tuple[PhysicalRow, ...]
    volumes: tuple[VolumeRow, ...]


@dataclass(frozen=True, slots=True)
class VolumeListing:
    """What was found in images.

    Attributes:
        groups: The volume groups, by name.
        findings: What is odd; empty for sound ones.
    """

    groups: tuple[GroupListing, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, object]:
        """Returns it in the shape of LVM's own JSON reports: one report a group; names and meanings are stable."""
        return {
            "report": [
                {
                    "vg": [each.group._asdict()],
                    "pv": [row._asdict() for row in each.physical_volumes],
                    "lv": [row._asdict() for row in each.volumes],
                }
                for each in self.groups
            ],
            "findings": [asdict(finding) for finding in self.findings],
        }


def list_volumes(
    images: Source | Iterable[Source], *, hidden: bool = False, usage: bool = True, segments: bool = True
) -> VolumeListing:
    """Returns the volume groups in images with their volumes, as LVM's reports would show them.

    The images are only read. A group may lie on several; where one is missing, the rest is listed all the same.

    Args:
        images: Disks or physical volumes: paths, addresses of NBD servers, or open devices.
        hidden: The parts of volumes too, which LVM hides: images and logs of mirrors, for instance.
        segments: A row for each segment; else one for each volume, with what is to say of its first segment.
        usage: Say how full snapshots and thin volumes are, which takes opening the store of each, or their pool.

    Raises:
        DmsnapError: An image cannot be opened. Whatever is wrong in one is a finding.
    """
    sources: Sequence[Source] = [images] if isinstance(images, str | os.PathLike | BlockDevice) else list(images)
    with ExitStack() as stack:
        devices: list[BlockDevice] = []
        for source in sources:
            devices += [source] if isinstance(source, BlockDevice) else open_images((os.fspath(source),), stack)
        groups, findings = find_groups(devices)
        listings = []
        for group in sorted(groups, key=lambda each: each.group.name):
            findings += group.findings
            findings += _old_legs(group)
            percent = _usage(group, findings) if usage else {}
            rows = tuple(volume_rows(group, percent, hidden=hidden, first_only=not segments))
            allocated = allocated_extents(group.group)
            listings.append(GroupListing(group_row(group, allocated), tuple(physical_rows(group, allocated)), rows))
        return VolumeListing(tuple(listings), tuple(dict.fromkeys(findings)))


def _usage(found: Group, findings: list[Finding]) -> dict[str, str]:
    """How full snapshots, thin pools and thin volumes are; groups without them are listed without what that takes."""
    volumes = found.group.logical_volumes.values()
    pools = any(
        not isinstance(volume.segments, RegularSegments) and volume.segments and volume.segments[0].kind == "thin-pool"
        for volume in volumes
    )
    if not pools and not relations(found.group).origins:
        return {}
    from dmsnap.library.volumes.states import snapshot_usage, thin_usage

    return snapshot_usage(found, findings) | thin_usage(found)


def _old_legs(found: Group) -> Sequence[Finding]:
    if not found.missing:
        return ()
    from dmsnap.library.volumes.states import old_legs

    return old_legs(found)
