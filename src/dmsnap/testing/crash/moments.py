"""The moments of a timeline at which the power may go: between any two events, and at both ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.testing.crash.recorder import Change, Event, FlushBegun, FlushEnded, Forced, Grown, Mark, Timeline
from dmsnap.testing.crash.volatile_disk import VolatileDisk

__all__ = ["Moment", "Place", "moments"]

Place = tuple[int, int]
"""A disk's number and a sector on it."""


class Moment(NamedTuple):
    """The power goes after ``number`` events.

    Attributes:
        number: How many events took effect.
        event: The last of them; None at the very beginning.
        disks: What each device may be left with. They change with the next moment.
        fresh: By place, the content that a crash leaves only since this event. A crash that leaves none of it could
            have come one event earlier.
        anew: Whether what is right has narrowed with this event, so that everything that a crash leaves counts as new.
    """

    number: int
    event: Event | None
    disks: tuple[VolatileDisk, ...]
    fresh: dict[Place, bytes]
    anew: bool


def moments(timeline: Timeline) -> Iterator[Moment]:
    """Yields every moment in order; those with neither ``fresh`` nor ``anew`` leave nothing that is new."""
    disks = tuple(VolatileDisk(content) for content in timeline.initial)
    yield Moment(0, None, disks, {}, True)
    for number, event in enumerate(timeline.events, 1):
        fresh: dict[Place, bytes] = {}
        match event:
            case Change(disk, offset, data, sure):
                added = disks[disk].write(offset, data, number, sure=sure)
                fresh = {(disk, sector): content for sector, content in added}
            case FlushEnded(disk, begun):
                disks[disk].settle(begun)
            case Forced(disk, before, offset, length):
                disks[disk].settle(before, range(offset // SECTOR_BYTES, (offset + length) // SECTOR_BYTES))
            case Grown(disk, content):
                disks[disk].grow(content)
            case Mark() | FlushBegun():
                pass
        yield Moment(number, event, disks, fresh, isinstance(event, Mark) and event.narrows)
