"""Compares what our code makes of a volume group with what real LVM and Linux said of it."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from dmsnap.block.contract import BlockDevice
from dmsnap.block.open import open_device
from dmsnap.errors import DmsnapError
from dmsnap.library.volumes.listing import list_volumes
from dmsnap.library.volumes.rows import VolumeRow
from dmsnap.lvm.assembly import Assembly
from dmsnap.lvm.groups import Group, find_groups
from dmsnap.lvm.kinds import NotAssembled
from dmsnap.lvm.tables import dm_name, tables
from dmsnap.testing.lvm_fixtures import LVMFixture

__all__ = ["GroupMissing", "content_differences", "judge", "list_differences", "table_differences"]


class GroupMissing(DmsnapError):
    """The images do not tell of the group."""


_PIECE_BYTES = 1 << 20

_WHEN_ACTIVE = ("data_percent",)
"""Fields that LVM fills only while a volume is active."""

_WRITTEN_WHEN_STOPPED = re.compile(r"_(rmeta_\d+|mlog)$")
"""Volumes that the kernel writes to when it stops a mirror, after what they held was recorded."""

_KNOWN = {
    # Recorded before the activation that begins the merge; ours is what comes of it.
    "merge-deferred": (
        "lvs origin: data_percent *", "table vgdeferred-*", "content vgdeferred-origin:*", "content vgdeferred-snap:*",
    ),
    # That the merge failed, and on which sector, is not written anywhere.
    "merge-failed": ("* data_percent *", "content vgmergefail-origin-real:*"),
    # The kernel could not read the disk that failed on purpose.
    "degraded": ("content vgdegraded-raid_rimage_0: *",),
    # Refused to be read. The snapshot of the thin volume was never active.
    "refused": (
        "content *: None is ours, *", "content vgrefused-pool-tpool: *",
        "lvs thinsnap: data_percent is '1.56', LVM says ''",
    ),
    # Refused too; and the kernel wrote to the caches when it stopped them. LVM loaded smq by the older name that Linux
    # has for it.
    "cached": (
        "content *: None is ours, *", "content vgcached-fast_cpool_c*: *", "content vgcached-faster_cvol*: *",
        "table vgcached-slower: *smq 0'] is ours, *mq 0'] the kernel's",
        "lvs slow*: data_percent *", "lvs [[]fast_cpool]: data_percent *",
    ),
    # Not active, which they cannot be without the disk: LVM says less, and the kernel nothing.
    "partial-users": (
        *(f"table vgusers-{name}*: * is ours, None the kernel's"
          for name in ("base", "keptcow", "lostbase", "lostcow", "ofthelost", "pool", "thickofthin", "thin")),
        *(f"lvs {name}: data_percent is *, LVM says ''"
          for name in ("keptcow", "ofthelost", "pool", "thickofthin", "thin")),
    ),
}  # fmt: skip
"""Differences that must be, or are known, by case: patterns of what the functions below return."""


def judge(fixture: LVMFixture) -> list[str]:
    """Compares list, tables and contents; returns what differs, in words, except what is known to."""
    found = [*list_differences(fixture), *table_differences(fixture), *content_differences(fixture)]
    known = _KNOWN.get(fixture.name, ())
    return [difference for difference in found if not any(fnmatch.fnmatchcase(difference, one) for one in known)]


def _group_of(fixture: LVMFixture, stack: ExitStack) -> Group:
    """Opens the images of a fixture, read-only, and returns its group; ``stack`` closes them."""
    devices = [stack.enter_context(open_device(str(image))) for image in fixture.images]
    for group in find_groups(devices)[0]:
        if group.group.name == fixture.group:
            return group
    raise GroupMissing(f"no group {fixture.group} in the images of {fixture.name}")


# -- lists ------------------------------------------------------------------------------------------------------------


def list_differences(fixture: LVMFixture) -> list[str]:
    """Compares our list with ``lvs -a``, ``vgs`` and ``pvs``, field by field; returns what differs, in words.

    LVM's are those of a group that is not active, as that in an image; but how full snapshots are it says only of
    active ones. Devices are compared by image, and partitions by the image that they are in.
    """
    images = [str(image) for image in fixture.images]
    (ours,) = [one for one in list_volumes(images, hidden=True).groups if one.group.vg_name == fixture.group]
    facts, nodes = fixture.facts, _nodes(fixture)
    return [
        *_differences("lvs", _ours(ours.volumes), _lvm_volumes(fixture)),
        *_differences("vgs", [ours.group._asdict()], facts.vgs_inactive),
        *_differences(
            "pvs",
            sorted((row._asdict() for row in ours.physical_volumes), key=_uuid),
            sorted(
                ({**row, "pv_name": nodes.get(row["pv_name"], row["pv_name"])} for row in facts.pvs_inactive), key=_uuid
            ),
        ),
    ]


def _uuid(row: Mapping[str, Any]) -> str:
    return str(row["pv_uuid"])


def _ours(rows: Sequence[VolumeRow]) -> list[dict[str, Any]]:
    return sorted((row._asdict() for row in rows), key=_place)


def _lvm_volumes(fixture: LVMFixture) -> list[dict[str, Any]]:
    """Rows of LVM for each segment with the fields of its volume."""
    facts, nodes = fixture.facts, _nodes(fixture)
    active = {row["lv_uuid"]: row for row in facts.lvs}
    volumes = {row["lv_uuid"]: row for row in facts.lvs_inactive}
    rows = []
    for segment in facts.segments_inactive:
        row = {**volumes[segment["lv_uuid"]], **segment}
        row |= {name: active[segment["lv_uuid"]][name] for name in _WHEN_ACTIVE}
        row["devices"] = ",".join(_renamed(part, nodes) for part in row["devices"].split(","))
        rows.append(row)
    return sorted(rows, key=_place)


def _place(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["lv_uuid"], int(row["seg_start"])


def _renamed(part: str, nodes: Mapping[str, str]) -> str:
    node, parenthesis, extent = part.partition("(")
    return nodes.get(node, node) + parenthesis + extent


def _nodes(fixture: LVMFixture) -> dict[str, str]:
    """What our list calls the nodes that LVM speaks of; partitions too."""
    result = {}
    for node, image in fixture.facts.images.items():
        path = str(fixture.images[0].with_name(image))
        result[node] = path
        between = "p" if node[-1].isdigit() else ""
        result |= {f"{node}{between}{number}": f"{path}, partition {number}" for number in range(1, 9)}
    return result


def _differences(report: str, ours: Sequence[Mapping[str, Any]], lvm: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(ours) != len(lvm):
        yield f"{report}: {len(ours)} rows of ours, {len(lvm)} of LVM's"
    for mine, theirs in zip(ours, lvm, strict=False):
        of = mine.get("lv_name") or mine.get("pv_name") or mine["vg_name"]
        for name, value in mine.items():
            if name not in theirs:
                yield f"{report} {of}: LVM has no field {name}"
            elif value != theirs[name]:
                yield f"{report} {of}: {name} is {value!r}, LVM says {theirs[name]!r}"


# -- tables -----------------------------------------------------------------------------------------------------------


def table_differences(fixture: LVMFixture) -> list[str]:
    """Compares our tables with ``dmsetup table``, names of devices in place of numbers; returns what differs."""
    ours, kernels = _our_tables(fixture), {name: fixture.table(name) for name in fixture.facts.table}
    return [
        f"table {name}: {ours.get(name)} is ours, {kernels.get(name)} the kernel's"
        for name in sorted({*ours, *kernels})
        if ours.get(name) != kernels.get(name)
    ]


def _our_tables(fixture: LVMFixture) -> dict[str, list[str]]:
    """The tables of the volumes that the kernel has, except of those that we refuse."""
    with ExitStack() as stack:
        found = _group_of(fixture, stack)
    group, missing = found.group, {volume.name for volume in found.missing}
    nodes = {row["pv_uuid"]: Path(row["pv_name"]).name for row in fixture.facts.pvs}
    names = {volume.name: nodes.get(volume.uuid, volume.name) for volume in group.physical_volumes.values()}
    result: dict[str, list[str]] = {}
    for name, volume in group.logical_volumes.items():
        if "ACTIVATION_SKIP" in volume.flags:
            continue  # activated only when somebody insists
        with contextlib.suppress(NotAssembled):
            for device, lines in tables(group, name, missing=missing):
                result[device] = [" ".join(names.get(word, word) for word in line.split()) for line in lines]
    return result


# -- content ----------------------------------------------------------------------------------------------------------


def content_differences(fixture: LVMFixture) -> list[str]:
    """Compares the bytes of our devices with the kernel's; returns what differs."""
    kernels = {name: digest for name, digest in fixture.facts.sha256.items() if not _WRITTEN_WHEN_STOPPED.search(name)}
    ours = _contents(fixture, set(kernels))
    return [
        f"content {name}: {ours.get(name, 'nothing')} is ours, {kernels[name] or 'nothing'} the kernel's"
        for name in kernels
        if ours.get(name) != kernels[name]
    ]


def _contents(fixture: LVMFixture, wanted: set[str]) -> dict[str, str | None]:
    """Digests by the names of the kernel's devices; None of what is refused or does not read."""
    result: dict[str, str | None] = {}
    with ExitStack() as stack:
        found = _group_of(fixture, stack)
        assembly = Assembly(found.group, found.devices)
        for name in found.group.logical_volumes:
            for layer, opened in (("", assembly.device), ("real", assembly.storage), ("cow", assembly.storage)):
                device = dm_name(fixture.group, name, layer)
                if device in wanted:
                    result[device] = None
                    with contextlib.suppress(DmsnapError), opened(name) as content:
                        result[device] = _digest(content)
    return result


def _digest(device: BlockDevice) -> str:
    digest = hashlib.sha256()
    for offset in range(0, device.size_bytes, _PIECE_BYTES):
        digest.update(device.read_at(offset, min(_PIECE_BYTES, device.size_bytes - offset)))
    return digest.hexdigest()
