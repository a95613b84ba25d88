"""Where a tuning reads: one stride apart, each place once as long as there are others, and no holes."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from dmsnap.block import BlockDevice, ExtentKind, FileDevice, MemoryDevice
from dmsnap.library.tuning.places import Places
from dmsnap.store.format import area_chunk
from dmsnap.testing import need

SECTORS = 1  # chunks of 512 bytes: 32 records an area, a stride of 33
STRIDE = 33
AREAS = 40


def device(areas: int = AREAS) -> BlockDevice:
    """Has room for so many areas, each with its data chunks."""
    return MemoryDevice(b"\1" * (area_chunk(areas, STRIDE - 1) * 512))


def test_places_are_those_of_areas_one_after_another() -> None:
    places = Places(device(), SECTORS, AREAS, longest=8).take(8)
    assert all(place % STRIDE == 1 for place in places)
    assert all(after - before == STRIDE for before, after in pairwise(places))


def test_no_place_is_given_twice_while_there_are_others() -> None:
    places = Places(device(), SECTORS, AREAS, longest=5)
    given = [place for _ in range(40) for place in places.take(5)]
    assert len(given) == len(set(given)) == 200
    assert places.reread == 0
    assert {place for place in given if place % STRIDE == 1} == {area_chunk(area, STRIDE - 1) for area in range(AREAS)}


def test_places_between_areas_are_a_stride_apart_too() -> None:
    places = Places(device(), SECTORS, AREAS, used=AREAS, longest=8)
    taken = places.take(8)
    assert taken[0] % STRIDE != 1
    assert all(after - before == STRIDE for before, after in pairwise(taken))


def test_areas_that_were_read_already_are_left_out() -> None:
    taken = Places(device(), SECTORS, AREAS, used=30, longest=8).take(10)
    assert taken == [area_chunk(area, STRIDE - 1) for area in range(30, 40)]


def test_what_was_read_before_is_counted() -> None:
    places = Places(device(2), SECTORS, 2, longest=2)
    given = [place for _ in range(40) for place in places.take(2)]
    assert len(given) == 80
    assert places.reread == 80 - len(set(given))


def test_trials_come_from_all_over_a_large_device() -> None:
    places = Places(device(1000), SECTORS, 1000, longest=10)
    firsts = sorted(places.take(10)[0] // STRIDE for _ in range(16))
    assert firsts[0] < 250
    assert firsts[-1] >= 750


def test_the_same_seed_gives_the_same_places() -> None:
    def some(seed: int) -> list[list[int]]:
        places = Places(device(1000), SECTORS, 1000, longest=10, seed=seed)
        return [places.take(10) for _ in range(9)]

    assert some(1) == some(1)
    assert some(1) != some(2)


@pytest.mark.parametrize("areas", [1, 2, 3])
def test_small_devices_give_what_they_have(areas: int) -> None:
    places = Places(device(areas), SECTORS, areas, longest=515)
    assert len(places.take(areas)) == areas


def test_a_place_beyond_the_device_is_none() -> None:
    small = MemoryDevice(b"\1" * 1024)  # header and one area
    places = Places(small, SECTORS, 1000, longest=5)
    assert set(places.take(3)) == {1}


def need_holes(sparse: FileDevice) -> None:
    need(next(sparse.extents(0, 4096)).kind is ExtentKind.HOLE, "the temporary folder does not tell of holes")


class TestSparseFile:
    CHUNK = 4096

    def sparse(self, path: Path, areas: int, data: list[int]) -> FileDevice:
        with path.open("wb") as out:
            out.truncate(area_chunk(areas, 256) * self.CHUNK)
            for area in data:
                os.pwrite(out.fileno(), b"x" * self.CHUNK, area_chunk(area, 256) * self.CHUNK)
        return FileDevice(path)

    def test_holes_are_passed_over(self, tmp_path: Path) -> None:
        with self.sparse(tmp_path / "sparse.img", 64, [3, 4, 50]) as sparse:
            need_holes(sparse)
            taken = Places(sparse, 8, 64, longest=64).take(3)
        assert taken == [area_chunk(area, 256) for area in (3, 4, 50)]

    def test_nothing_but_holes_gives_nothing(self, tmp_path: Path) -> None:
        with self.sparse(tmp_path / "empty.img", 64, []) as sparse:
            need_holes(sparse)
            assert Places(sparse, 8, 64, longest=64).take(3) == []

    def test_a_huge_sparse_file_is_looked_at_quickly(self, tmp_path: Path) -> None:
        areas = 1 << 22  # 4 TiB
        with self.sparse(tmp_path / "huge.img", areas, [areas - 1]) as sparse:
            need_holes(sparse)
            looked = []
            extents = sparse.extents
            sparse.extents = lambda *at: (looked.append(at), extents(*at))[1]  # type: ignore[method-assign]
            assert Places(sparse, 8, areas, longest=3).take(1) == [area_chunk(areas - 1, 256)]
        assert len(looked) < 1000
