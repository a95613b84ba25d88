"""Joining extents."""

from __future__ import annotations

from collections.abc import Iterator

from dmsnap.block import Extent, ExtentKind, joined

DATA, HOLE = ExtentKind.DATA, ExtentKind.HOLE


def test_alike_neighbours_become_one() -> None:
    row = [Extent(0, 512, DATA), Extent(512, 512, DATA), Extent(1024, 512, HOLE), Extent(1536, 512, HOLE, 2)]
    assert list(joined(row)) == [Extent(0, 1024, DATA), Extent(1024, 512, HOLE), Extent(1536, 512, HOLE, 2)]


def test_empty_ones_are_dropped_and_do_not_part_neighbours() -> None:
    row = [
        Extent(0, 0, HOLE),
        Extent(0, 512, DATA),
        Extent(512, 0, HOLE),
        Extent(512, 512, DATA),
        Extent(1024, 0, HOLE),
    ]
    assert list(joined(row)) == [Extent(0, 1024, DATA)]


def test_nothing_gives_nothing() -> None:
    assert list(joined([])) == []


def test_no_more_is_taken_than_needed() -> None:
    def endless() -> Iterator[Extent]:
        offset = 0
        while True:
            yield Extent(offset, 512, DATA if offset % 1024 else HOLE)
            offset += 512

    assert next(joined(endless())) == Extent(0, 512, HOLE)
