"""Where sectors lie."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dmsnap.block.model.geometry import Geometry, Skew, Zone

SKEW = Skew(track=0.1, head=0.25, stretch=0.4)


def small() -> Geometry:
    return Geometry([Zone(7, 10), Zone(6, 8)], heads=3, stretch_tracks=3, skew=SKEW)


def track_starts(geometry: Geometry) -> list[int]:
    starts = [0]
    while (after := starts[-1] + geometry.place(starts[-1]).left_sectors) < geometry.sectors:
        starts.append(after)
    return starts


def test_tracks_run_in_serpentines() -> None:
    geometry = small()
    tracks = [geometry.place(sector)[:2] for sector in track_starts(geometry)]
    assert tracks[:18] == [
        *((0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1), (0, 2), (1, 2), (2, 2)),
        *((3, 2), (4, 2), (5, 2), (5, 1), (4, 1), (3, 1), (3, 0), (4, 0), (5, 0)),
    ]


def test_the_next_zone_begins_with_its_own_cylinders_and_what_is_over_stays_spare() -> None:
    geometry = small()
    assert geometry.sectors == 6 * 3 * 10 + 6 * 3 * 8
    assert geometry.cylinders == 13
    assert geometry.place(180)[:2] == (7, 0)
    assert geometry.place(180).sectors_per_track == 8


def test_no_two_sectors_lie_in_the_same_place() -> None:
    geometry = small()
    places = {geometry.place(sector)[:3] for sector in range(geometry.sectors)}
    assert len(places) == geometry.sectors


def test_along_a_track_the_angle_grows_and_what_is_left_shrinks() -> None:
    geometry = small()
    for before, after in pairwise(range(20, 30)):
        first, second = geometry.place(before), geometry.place(after)
        assert (second.angle - first.angle + 0.5) % 1 == pytest.approx(0.6)
        assert second.left_sectors == first.left_sectors - 1


def test_tracks_are_skewed_by_what_lies_between_them() -> None:
    geometry = small()
    places = [geometry.place(sector) for sector in track_starts(geometry)[:18]]
    for number, (before, after) in enumerate(pairwise(places), 1):
        skew = SKEW.stretch if number % 9 == 0 else SKEW.head if number % 3 == 0 else SKEW.track
        assert (after.angle - before.angle - skew + 0.5) % 1 == pytest.approx(0.5), number
