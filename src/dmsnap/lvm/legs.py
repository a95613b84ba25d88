"""Which leg of a mirror holds what the mirror holds.

As long as it is there, Linux itself takes the first leg for the right one wherever two may differ: of a ``mirror``
always, of ``raid1`` among those that are not being filled from the others (Linux dm-raid1, md raid1). Another one is
right where something says so.

Where legs are missing, the leg that is read may be one that the mirror had lost before and went on without, which only
the missing ones would tell. It is current where the leg itself, or the log, was written after those were lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dmsnap.lvm.model import Segment
from dmsnap.lvm.raid_superblock import RaidSuperblock

__all__ = ["Raid1Leg", "is_moved", "mirror_doubt", "mirror_leg", "raid1_doubt", "raid1_leg"]


class Raid1Leg(NamedTuple):
    """What is known of a leg.

    Attributes:
        usable: Whether it can be read.
        superblock: Its own; None where there is none, or it cannot be read.
        rebuilding: Whether the group's metadata say that it is to be filled from the others.
    """

    usable: bool
    superblock: RaidSuperblock | None
    rebuilding: bool = False


def is_moved(segment: Segment) -> bool:
    """Whether a mirror is a stretch that ``pvmove`` has moved: then its second leg is the place, and the first is old.

    LVM counts the extents it has moved in the metadata, and lets go of the old place with the last stretch only.
    """
    return len(segment.areas) > 1 and segment.fields.get("extents_moved") == segment.extent_count


def mirror_leg(usable: list[bool], out_of_sync: int | None) -> int | None:
    """Returns the number of the leg to read of a ``mirror``, or None where none is known to be right.

    Args:
        usable: Of each leg, whether it can be read.
        out_of_sync: How many regions the log does not know to be in sync; None where no log tells.
    """
    if usable[:1] == [True]:
        return 0
    return next((number for number, can in enumerate(usable) if can), None) if out_of_sync == 0 else None


def mirror_doubt(usable: Sequence[bool], number: int, out_of_sync: int | None) -> str:
    """Returns why the leg to read of a ``mirror`` may be old, or an empty string; arguments as for `mirror_leg`.

    A mirror that has lost its first leg goes on with the others, and what is written then is out of sync.
    """
    if all(usable) or number or out_of_sync == 0:
        return ""
    return "no log tells" if out_of_sync is None else f"regions not known to be in sync: {out_of_sync}"


def raid1_leg(legs: Sequence[Raid1Leg]) -> int | None:
    """Returns the number of the leg to read of a ``raid1``, or None where none is known to be right.

    A leg counts when its superblock is one of the newest, none of those says that it failed, and it is not being
    filled. Before the legs were first made the same only the first of these counts, and one that is not there may be
    that. Without any superblock the array was never active: the first leg is what it will begin with.
    """
    superblocks = [
        leg.superblock if leg.superblock and leg.superblock.position == number else None
        for number, leg in enumerate(legs)
    ]
    events = max((superblock.events for superblock in superblocks if superblock), default=None)
    if events is None:
        if any(leg.superblock for leg in legs):  # of other arrays, or in another order
            return None
        first = next((number for number, leg in enumerate(legs) if not leg.rebuilding), None)
        return first if first is not None and legs[first].usable else None
    newest = [superblock for superblock in superblocks if superblock and superblock.events == events]
    failed = 0
    for superblock in newest:
        failed |= superblock.failed_legs
    synced = all(superblock.synced for superblock in newest)
    for number, (leg, own) in enumerate(zip(legs, superblocks, strict=True)):
        if failed >> number & 1 or leg.rebuilding:
            continue
        if leg.usable and own is not None and own in newest and own.recovered:
            return number
        if not synced and not leg.usable:
            return None
    return None


def raid1_doubt(legs: Sequence[Raid1Leg], number: int) -> str:
    """Returns why a leg of a ``raid1`` that is complete, by what is there, may be old all the same; else nothing.

    An array that goes on without a leg notes that in the superblocks of the others, so that one which does not is no
    newer than the loss of the leg: the missing leg may have gone on without this one.

    Args:
        legs: All of them.
        number: That to read, as `raid1_leg` returned it.
    """
    own = legs[number].superblock
    failed = own.failed_legs if own is not None else 0
    unknown = [
        str(other)
        for other, leg in enumerate(legs)
        if leg.superblock is None and not leg.usable and not leg.rebuilding and not failed >> other & 1
    ]
    return f"it does not say that the array went on without leg {', '.join(unknown)}" if unknown else ""
