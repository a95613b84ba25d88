"""What is known of volumes only from what lies in them: how full they are, and whether a leg may be old."""

from __future__ import annotations

import contextlib

from dmsnap.errors import DmsnapError
from dmsnap.library.volumes.relations import relations
from dmsnap.lvm.assembly import Assembly, NotAssembled
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.groups import Group
from dmsnap.lvm.segments import RegularSegments
from dmsnap.lvm.thin_metadata import thin_pool_usage
from dmsnap.lvm.usage import data_percent, percent_of
from dmsnap.store import open_store
from dmsnap.store.persistent import EmptyStore
from dmsnap.target.status import store_status

__all__ = ["old_legs", "snapshot_usage", "thin_usage"]


def old_legs(found: Group) -> list[Finding]:
    """The mirrors that are read from a leg that may be old."""
    assembly = Assembly(found.group, found.devices)
    for name, volume in found.group.logical_volumes.items():
        regular = isinstance(volume.segments, RegularSegments)
        if not regular and any(segment.kind in ("mirror", "raid1") for segment in volume.segments):
            with contextlib.suppress(NotAssembled):
                assembly.storage(name)
    return [Finding(FindingKind.OLD_LEG, message, found.group.name, name) for name, message in assembly.doubts.items()]


def thin_usage(found: Group) -> dict[str, str]:
    """How full thin pools and volumes are, by their names, as far as the pools' own metadata can be read."""
    volumes, percent = found.group.logical_volumes, dict[str, str]()
    kinds = {
        name: volume.segments[0]
        for name, volume in volumes.items()
        if volume.segments and not isinstance(volume.segments, RegularSegments)
    }
    pools = {name: segment for name, segment in kinds.items() if segment.kind == "thin-pool"}
    thin: dict[object, dict[int, str]] = {name: {} for name in pools}
    for name, segment in kinds.items():
        number, pool = segment.fields.get("device_id"), segment.fields.get("thin_pool")
        if segment.kind == "thin" and isinstance(number, int) and pool in thin:
            thin[pool][number] = name
    assembly = Assembly(found.group, found.devices)
    for pool, segment in pools.items():
        used, chunk = None, segment.fields.get("chunk_size")
        with contextlib.suppress(DmsnapError):
            used = thin_pool_usage(assembly.storage(str(segment.fields.get("metadata"))), set(thin[pool]))
        if used is None or not isinstance(chunk, int):
            continue
        percent[pool] = percent_of(used.used, used.blocks)
        for number, mapped in used.mapped.items():
            size = volumes[thin[pool][number]].extent_count * found.group.extent_size_sectors
            percent[thin[pool][number]] = percent_of(mapped * chunk, size)
    return percent


def snapshot_usage(found: Group, findings: list[Finding]) -> dict[str, str]:
    """How full the snapshots of a group are, by the names of their stores."""
    percent = {}
    assembly = Assembly(found.group, found.devices)
    for name in relations(found.group).origins:
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
