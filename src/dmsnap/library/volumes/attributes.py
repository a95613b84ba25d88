"""The ten letters that ``lvs`` shows of a volume (lvs(8), "lv_attr"), as far as metadata alone tells them.

What only a kernel knows is a ``-`` or, where LVM then assumes the worst, its letter for that: state and open (letters 5
and 6), and whether images of a mirror are in sync.
"""

from __future__ import annotations

from collections.abc import Container

from dmsnap.library.volumes.relations import Relations
from dmsnap.lvm.model import LogicalVolume

__all__ = ["attributes"]

_ALLOCATION = {"contiguous": "c", "cling": "l", "cling_by_tags": "C", "normal": "n", "anywhere": "a"}


def attributes(volume: LogicalVolume, relations: Relations, partial: Container[str]) -> str:
    """Returns the letters of a volume.

    Args:
        volume: The volume.
        relations: Of its group.
        partial: The names of all volumes that need a physical volume that is missing.
    """
    return "".join(
        (
            _kind(volume, relations),
            _permission(volume),
            _allocation(volume),
            "m" if "FIXED_MINOR" in volume.status else "-",
            "-",
            "-",
            _target(volume, relations),
            "z" if _zeroes(volume) else "-",
            "p" if volume.name in partial else "-",
            "k" if "ACTIVATION_SKIP" in volume.flags | volume.status else "-",
        )
    )


def _segment_kind(volume: LogicalVolume) -> str:
    return volume.segments[0].kind if volume.segments else ""


def _kind(volume: LogicalVolume, relations: Relations) -> str:
    """Letter 1: what it is; being an origin comes before how it is laid out."""
    name, kind = volume.name, _segment_kind(volume)
    role = relations.roles.get(name, "")
    if "PVMOVE" in volume.status:
        return "p"
    if "CONVERTING" in volume.status:
        return "c"
    if name in relations.snapshots:
        return "O" if name in relations.merging_into else "o"
    if name in relations.external_origins:
        return "o"
    if role in ("metadata", "raid metadata"):
        return "e"
    if kind in ("cache", "cache-pool", "writecache"):
        return "C"
    if kind.startswith("raid"):
        return "R" if "NOTSYNCED" in volume.status else "r"
    if kind == "mirror":
        return "M" if "NOTSYNCED" in volume.status else "m"
    if kind == "thin":
        return "V"
    if kind == "thin-pool":
        return "t"
    if kind == "vdo":
        return "v"
    if kind == "vdo-pool":
        return "d"
    if kind in ("zero", "error"):
        return "v"
    if name in relations.origins:
        return "S" if name in relations.merging else "s"
    return {"thin data": "T", "vdo data": "D", "image": "I", "raid image": "I", "log": "l", "cache origin": "o"}.get(
        role, "-"
    )


def _permission(volume: LogicalVolume) -> str:
    if "PVMOVE" in volume.status:
        return "-"
    return "w" if "WRITE" in volume.status else "r" if "READ" in volume.status else "-"


def _allocation(volume: LogicalVolume) -> str:
    letter = _ALLOCATION.get(str(volume.fields.get("allocation_policy", "")), "i")
    return letter.upper() if "LOCKED" in volume.status else letter


def _target(volume: LogicalVolume, relations: Relations) -> str:
    """Letter 7: the kind of target that a kernel would have for it."""
    name, kind = volume.name, _segment_kind(volume)
    role = relations.roles.get(name, "")
    if kind.startswith("thin") or role in ("thin data", "metadata") or name in relations.external_origins:
        return "t"
    if kind in ("cache", "cache-pool", "writecache"):
        return "C"
    if kind.startswith("raid") or role.startswith("raid"):
        return "r"
    if kind == "mirror" or role in ("image", "log") or "PVMOVE" in volume.status:
        return "m"
    if name in relations.snapshots or name in relations.origins:
        return "s"
    if kind.startswith("vdo"):
        return "d"
    return "v" if kind in ("zero", "error") else "-"


def _zeroes(volume: LogicalVolume) -> bool:
    return bool(volume.segments) and volume.segments[0].fields.get("zero_new_blocks") == 1
