"""Two snapshots of one origin side by side, judged sector by sector."""

from __future__ import annotations

import io
import random

import pytest

from dmsnap.block import MemoryDevice
from dmsnap.library.difference import diff
from dmsnap.maintenance.comparing import DiffRange, joined, side_by_side
from dmsnap.testing.random_snapshots import RandomSnapshot, random_snapshot, read_plainly
from dmsnap.testing.store_builder import build_store, fill_chunk, in_allocation_order

SECTOR = 512


def device(content: bytes) -> MemoryDevice:
    return MemoryDevice(content[: len(content) // SECTOR * SECTOR], read_only=True)


def kept(snapshot: RandomSnapshot, sectors: int) -> set[int]:
    size = snapshot.chunk_sectors
    return {sector for chunk, _ in snapshot.records for sector in range(chunk * size, min((chunk + 1) * size, sectors))}


def pair(seed: int) -> tuple[RandomSnapshot, RandomSnapshot]:
    """Two snapshots, of which the second is taken for one of the first's origin."""
    a, b = random_snapshot(2 * seed), random_snapshot(2 * seed + 1)
    return (a, b) if len(a.origin) >= len(b.origin) else (b, a)


def told(ranges: list[DiffRange]) -> dict[int, tuple[str, bool | None]]:
    """Each sector that is in a range, once."""
    found: dict[int, tuple[str, bool | None]] = {}
    for each in ranges:
        for sector in range(each.offset // SECTOR, (each.offset + each.length) // SECTOR):
            assert sector not in found
            found[sector] = each.where, each.differs
    return found


@pytest.mark.parametrize("seed", range(30))
def test_every_sector_is_where_it_belongs(seed: int) -> None:
    a, b = pair(seed)
    sectors = len(a.origin) // SECTOR
    ranges = list(diff(device(a.cow), device(b.cow), origin=device(a.origin)))
    assert ranges == sorted(ranges)
    in_a, in_b = kept(a, sectors), kept(b, sectors)
    sides = {sector: ("a" if sector not in in_b else "b" if sector not in in_a else "both") for sector in in_a | in_b}
    assert told(ranges) == {sector: (side, None) for sector, side in sides.items()}, f"seed {seed}"
    assert list(joined(iter(ranges))) == ranges, "as long as can be"


@pytest.mark.parametrize("seed", range(30))
def test_what_is_compared_differs_or_does_not(seed: int) -> None:
    a, b = pair(seed)
    content = read_plainly(b.cow, a.origin)
    ranges = list(diff(device(a.cow), device(b.cow), origin=device(a.origin), compare=True))
    unit = min(a.chunk_sectors, b.chunk_sectors)
    for sector, (_, differs) in told(ranges).items():
        at = sector // unit * unit * SECTOR
        end = at + unit * SECTOR
        assert differs == (a.content[at:end] != content[at:end]), f"seed {seed}, sector {sector}"
    assert list(joined(iter(ranges))) == ranges


def stored(changed: range, sectors: int, size_chunks: int | None = None) -> MemoryDevice:
    out = io.BytesIO()
    build_store(
        out,
        in_allocation_order(changed, sectors),
        chunk_size_sectors=sectors,
        data=fill_chunk(sectors),
        size_chunks=size_chunks,
    )
    return MemoryDevice(out.getvalue(), read_only=True)


def test_without_an_origin_only_what_both_keep_is_compared() -> None:
    ranges = list(diff(stored(range(4), 1), stored(range(2, 6), 1), compare=True))
    assert ranges == [
        DiffRange(0, 1024, "a", None),
        DiffRange(1024, 1024, "both", True),
        DiffRange(2048, 1024, "b", None),
    ]


def test_ranges_longer_than_a_batch_stay_whole() -> None:
    a = stored(range(40), 2048)
    assert list(diff(a, stored(range(40), 2048), compare=True)) == [DiffRange(0, 40 << 20, "both", False)]


def test_what_is_never_asked_for_is_closed_all_the_same() -> None:
    ranges = diff(stored(range(2), 1), stored(range(2), 1), compare=True)
    del ranges


def test_lists_of_ranges_are_put_side_by_side() -> None:
    rng = random.Random(7)
    for _ in range(200):
        edges = [sorted(rng.sample(range(40), 2 * rng.randint(0, 6))) for _ in "ab"]
        a, b = [list(zip(each[::2], each[1::2], strict=True)) for each in edges]
        found = list(side_by_side(a, b))
        covered = {
            side: {x for first, stop in ranges for x in range(first, stop)} for side, ranges in (("a", a), ("b", b))
        }
        for each in found:
            points = set(range(each.offset, each.offset + each.length))
            assert points <= covered["a"] if each.where != "b" else not points & covered["a"]
            assert points <= covered["b"] if each.where != "a" else not points & covered["b"]
        assert sum(each.length for each in found) == len(covered["a"] | covered["b"])
