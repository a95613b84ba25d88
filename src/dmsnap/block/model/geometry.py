"""Where on the platters a sector lies: zones, cylinders, heads and skew.

Tracks follow one another as they do on drives of this century, in serpentines: a stretch of tracks inwards on one
surface, the same stretch back outwards on the next, and so on, then the next stretch::

    head 0   0  1  2 | 15 ...
    head 1   5  4  3 | 14      here: stretches of three tracks, three surfaces;
    head 2   6  7  8 |  9 ...  the numbers are those of the tracks in the order of addresses

Each track begins a little later in the turn than the one before (skew), so that reading on does not miss its start.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["SECTOR_BYTES", "Geometry", "Place", "Skew", "Zone"]

SECTOR_BYTES = 512


class Zone(NamedTuple):
    """Neighbouring cylinders whose tracks have the same number of sectors.

    Attributes:
        cylinders: How many; what is more than whole stretches is left unused, as spare tracks.
        sectors_per_track: On each.
    """

    cylinders: int
    sectors_per_track: int


class Skew(NamedTuple):
    """By what part of a turn a track begins after the track before it.

    Attributes:
        track: On the same surface.
        head: On another surface, same cylinder.
        stretch: At the begin of the next stretch.
    """

    track: float
    head: float
    stretch: float


class Place(NamedTuple):
    """Where a sector begins.

    Attributes:
        cylinder: Counted from the outside.
        head: The surface.
        angle: As a part of a turn, 0 to 1.
        left_sectors: From here to the end of the track.
        sectors_per_track: Of the track.
    """

    cylinder: int
    head: int
    angle: float
    left_sectors: int
    sectors_per_track: int


class Geometry:
    """A drive's layout.

    Attributes:
        heads: Surfaces.
        cylinders: All, spare ones among them.
        sectors: That can be addressed.
        skew: Between tracks.
    """

    def __init__(self, zones: Sequence[Zone], heads: int, stretch_tracks: int, skew: Skew) -> None:
        self.heads = heads
        self.skew = skew
        self._stretch = stretch_tracks
        self._zones: list[tuple[int, int, int]] = []  # first sector, first cylinder, sectors per track
        sector = cylinder = 0
        for zone in zones:
            self._zones.append((sector, cylinder, zone.sectors_per_track))
            whole = zone.cylinders - zone.cylinders % stretch_tracks
            sector += whole * heads * zone.sectors_per_track
            cylinder += zone.cylinders
        self.sectors = sector
        self.cylinders = cylinder
        self._firsts = [first for first, _, _ in self._zones]

    def place(self, sector: int) -> Place:
        """Returns where a sector lies; it must be one of `sectors`."""
        first, first_cylinder, per_track = self._zones[bisect_right(self._firsts, sector) - 1]
        track, before = divmod(sector - first, per_track)
        length, heads = self._stretch, self.heads
        run, step = divmod(track, length)  # a run is what one head has of a stretch
        stretch, leg = divmod(run, heads)
        head = heads - 1 - leg if stretch % 2 else leg
        inwards = step if leg % 2 == 0 else length - 1 - step
        skew = self.skew
        turns = (track - run) * skew.track + (run - stretch) * skew.head + stretch * skew.stretch
        return Place(
            first_cylinder + stretch * length + inwards,
            head,
            (turns + before / per_track) % 1.0,
            per_track - before,
            per_track,
        )
