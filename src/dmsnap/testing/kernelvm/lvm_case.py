"""What an LVM case is, and what real LVM and Linux said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

__all__ = ["Disk", "LVMCase", "LVMFacts"]


class Disk(NamedTuple):
    """A disk of a case, empty at first.

    Attributes:
        mib: Its size.
        partitions: A partition table written before: MBR with one partition from 1 MiB on, MBR with an extended
            partition that holds two logical ones, or GPT with two partitions, in sectors of 512 or 4096 bytes; see
            `partition_tables`.
        kept: It is part of the outcome; others only help the script.
    """

    mib: int
    partitions: Literal["", "mbr", "extended", "gpt", "gpt-4k"] = ""
    kept: bool = True


@dataclass(frozen=True, slots=True)
class LVMCase:
    """A volume group to be made by real LVM.

    Attributes:
        name: Of the case.
        group: Of the volume group; no other case that boots with this one has it.
        purpose: What it is for, in a line.
        disks: In the script ``$d0``, ``$d1`` … are their nodes.
        script: Makes the group, with the functions of ``lvm_functions.sh``, and calls ``record`` while it is active.
            ``$images`` says which node is which of the disks that are kept; a script may change it.
        keep: Whether it packs well enough to be a fixture.
    """

    name: str
    group: str
    purpose: str
    disks: tuple[Disk, ...]
    script: str
    keep: bool = True


@dataclass(frozen=True, slots=True)
class LVMFacts:
    """What LVM and the kernel said.

    Attributes:
        lvs: Of ``fullreport -a`` while the group was active: a row for each volume, numbers in bytes without a suffix.
        segments: A row for each segment.
        vgs: The group's row.
        pvs: Those of its disks.
        lvs_inactive, segments_inactive, vgs_inactive, pvs_inactive: The same when it was not active.
        devices: Names of all devices of the kernel by ``major:minor``: of device-mapper, and of disks (``vda``).
        uuids: UUIDs of device-mapper devices by name.
        table: ``dmsetup table``: lines by device name.
        status: ``dmsetup status`` likewise.
        sha256: Of the content of the group's devices by name; None if one does not read.
        images: Names of the images by the disk's node (``/dev/vdb``), as LVM reports it.
    """

    lvs: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    vgs: list[dict[str, Any]]
    pvs: list[dict[str, Any]]
    lvs_inactive: list[dict[str, Any]]
    segments_inactive: list[dict[str, Any]]
    vgs_inactive: list[dict[str, Any]]
    pvs_inactive: list[dict[str, Any]]
    devices: Mapping[str, str]
    uuids: Mapping[str, str]
    table: Mapping[str, list[str]]
    status: Mapping[str, list[str]]
    sha256: Mapping[str, str | None]
    images: Mapping[str, str]
