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
_LETTERS = {"thin": "V", "thin-pool": "t", "vdo": "v", "vdo-pool": "d", "zero": "v", "error": "v"}
_CACHES = ("cache", "cache-pool", "writecache")
_CACHE_VOLUME = "CACHE_VOL"
"""The flag of a volume that is a cache by itself, without a pool."""


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
            "z" if _zeroes(volume, relations) else "-",
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
    if role in ("metadata", "raid metadata") or volume.is_pool_spare:
        return "e"
    if kind in _CACHES or role == "cache data" or _CACHE_VOLUME in volume.flags:
        return "C"
    if kind.startswith("raid"):
        return "R" if "NOTSYNCED" in volume.status else "r"
    if kind == "mirror":
        return "M" if "NOTSYNCED" in volume.status else "m"
    if kind in _LETTERS:
        return _LETTERS[kind]
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
    if kind in ("thin", "thin-pool"):
        return "t"
    if kind in _CACHES or role == "cache origin" or _CACHE_VOLUME in volume.flags:
        return "C"
    if kind.startswith("raid") or role.startswith("raid"):
        return "r"
    if kind == "mirror" or role in ("image", "log") or "PVMOVE" in volume.status:
        return "m"
    if name in relations.snapshots or name in relations.origins:
        return "s"
    return "v" if kind in ("vdo", "zero", "error") else "-"


def _zeroes(volume: LogicalVolume, relations: Relations) -> bool:
    """Letter 8: whether new blocks are filled with zeros, which a thin volume has from its pool."""
    kind = _segment_kind(volume)
    pool = volume.segments[0].fields.get("thin_pool") if kind == "thin" else volume.name
    return kind in ("thin", "thin-pool") and pool in relations.zeroing
