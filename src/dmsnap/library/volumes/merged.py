"""What the merge of a snapshot volume means for its group: other snapshots, and what LVM has to be told."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from dmsnap.library.volumes.opened import Volume, VolumeInUse
from dmsnap.store.persistent import read_header

__all__ = ["refuse_other_merge", "siblings", "still_to_run"]


def siblings(volume: Volume, named: Collection[str]) -> Iterator[Volume]:
    """Yields all other snapshots of a snapshot's origin that are still valid.

    Args:
        volume: The snapshot.
        named: Those to leave out, ``VG/LV``.
    """
    for name in volume.other_snapshots:
        if f"{volume.group.group.name}/{name}" not in named:
            sibling = replace(volume, logical=volume.group.group.logical_volumes[name])
            if read_header(sibling.storage()).valid:
                yield sibling


def refuse_other_merge(volume: Volume) -> None:
    """Does nothing unless another snapshot is being merged into the origin of this one.

    Raises:
        VolumeInUse: It is: the origin is then what that one makes of it.
    """
    origin = volume.origin
    other = None if origin is None else volume.assembly.snapshots.merging_into(origin)
    if other is not None and other.name != volume.logical.name:
        group = volume.group.group.name
        raise VolumeInUse(
            f"{group}/{origin}: {other.name} is being merged into it",
            hint=f"finish that first: merge {group}/{other.name}",
        )


def still_to_run(volume: Volume) -> tuple[str, ...]:
    """Returns the commands that make LVM let go of a snapshot that is merged, whose store is empty then."""
    group = volume.group.group.name
    if volume.merging:  # LVM ends such a merge by itself, when it sees that nothing is left of it
        return (f"lvchange --activate y {group}/{volume.origin}",)
    return (f"lvremove {volume.name}",) if volume.is_snapshot else ()
