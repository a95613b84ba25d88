"""What volume groups there are in images, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
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
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.groups import Group, find_groups
from dmsnap.lvm.usage import data_percent

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
        usage: Say how full snapshots are, which takes opening the store of each.

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
            percent = _usage(group, findings) if usage else {}
            rows = tuple(volume_rows(group, percent, hidden=hidden, first_only=not segments))
            allocated = allocated_extents(group.group)
            listings.append(GroupListing(group_row(group, allocated), tuple(physical_rows(group, allocated)), rows))
        return VolumeListing(tuple(listings), tuple(dict.fromkeys(findings)))


def _usage(found: Group, findings: list[Finding]) -> dict[str, str]:
    """How full the snapshots of a group are, by the names of their stores."""
    snapshots, percent = relations(found.group).origins, {}
    if not snapshots:
        return {}
    # Heavy, and groups without snapshots are listed without them.
    from dmsnap.lvm.assembly import Assembly
    from dmsnap.store import open_store
    from dmsnap.store.persistent import EmptyStore
    from dmsnap.target.status import store_status

    assembly = Assembly(found.group, found.devices)
    for name in snapshots:
        try:
            percent[name] = data_percent(store_status(open_store(assembly.storage(name))))
        except EmptyStore:  # nobody has activated it yet
            percent[name] = "0.00"
        except DmsnapError as error:
            findings.append(
                Finding(
                    FindingKind.BAD_STORE,
                    f"{found.group.name}/{name}: how full it is cannot be told: {error.message}",
                    found.group.name,
                    name,
                )
            )
    return percent
