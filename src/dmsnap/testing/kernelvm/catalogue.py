"""The scenarios: which stores the kernel writes, for our code to read."""

from __future__ import annotations

import random

from dmsnap.testing.kernelvm.content import Side
from dmsnap.testing.kernelvm.scenario import Grow, Merge, Reload, Scenario, Together, Write

__all__ = ["SCENARIOS"]


def _chunks(chunk_sectors: int, *numbers: int, device: Side = "snapshot") -> tuple[Write, ...]:
    """Whole chunks, one write each."""
    return tuple(Write(device, number * chunk_sectors, chunk_sectors) for number in numbers)


def _run(chunk_sectors: int, first: int, count: int, device: Side = "snapshot") -> Write:
    """A row of whole chunks, one request each, in one go."""
    return Write(device, first * chunk_sectors, count * chunk_sectors, chunk_sectors)


def _any_chunk_size(name: str, chunk_sectors: int, chunks: int, *more: Write) -> Scenario:
    """Whole and partial chunks through both devices, backwards too; the origin ends within a chunk."""
    some = max(1, chunk_sectors // 4)
    writes = (
        *_chunks(chunk_sectors, 3, 1),
        _run(chunk_sectors, 4, 2, "origin"),
        Write("snapshot", 4 * chunk_sectors, some),
        Write("origin", 0, some),
        *more,
    )
    size = (chunks - 1) * chunk_sectors + some
    purpose = f"chunks of {chunk_sectors} sectors, whole and partial writes"
    return Scenario(name, purpose, size, (chunks + 4) * chunk_sectors, writes, chunk_sectors)


def _scattered(seed: int, chunks: int, count: int) -> list[int]:
    return random.Random(seed).sample(range(chunks), count)  # noqa: S311 - the same chunks each time


_MIXED = random.Random(2)  # noqa: S311 - the same writes each time


def _any_write(device: Side, sectors: int) -> Write:
    start = _MIXED.randrange(sectors - 40)
    return Write(device, start, _MIXED.randrange(1, 40))


SCENARIOS: tuple[Scenario, ...] = (
    _any_chunk_size("chunk-512b", 1, 200, _run(1, 50, 100)),
    _any_chunk_size("chunk-1k", 2, 200, _run(2, 50, 130)),
    _any_chunk_size("chunk-4k", 8, 64),
    _any_chunk_size("chunk-16k", 32, 16),
    _any_chunk_size("chunk-64k", 128, 9),
    _any_chunk_size("chunk-512k", 1024, 8),
    _any_chunk_size("chunk-1m", 2048, 8),
    Scenario("chunk-default", "no chunk size in the table", 1024, 2048, _chunks(32, 7, 2), chunk_sectors=0),
    Scenario("fresh", "a store nothing was written to", 1024, 1000, ()),
    Scenario(
        "areas-several", "three areas of 4 KiB chunks, rows in both directions", 8 * 1024, 8 * 700,
        (_run(8, 100, 300), *_chunks(8, 99, 98, 97, 700), _run(8, 500, 150, "origin"), _run(8, 700, 200)),
    ),
    Scenario(
        "areas-scattered", "ten areas, records in no order", 1024, 600,
        (_run(1, 600, 250), *_chunks(1, *_scattered(1, 500, 20)), _run(1, 900, 50, "origin")), chunk_sectors=1,
    ),
    Scenario("area-full", "an area exactly full, and its empty successor", 8 * 300, 8 * 300, (_run(8, 7, 256),)),
    Scenario(
        "area-full-reloaded", "allocation goes on behind the next area after a load", 128, 256,
        (_run(1, 10, 32), Reload(), _run(1, 60, 8)), chunk_sectors=1,
    ),
    Scenario(
        "run-long", "a row longer than a run of the kernel's, across areas and groups of 256", 2048, 2048,
        (_run(1, 200, 700),), chunk_sectors=1,
    ),
    Scenario(
        "mixed", "snapshot and origin written in turn, at any sector", 4096, 8192,
        tuple(write for _ in range(12) for write in (_any_write("snapshot", 4096), _any_write("origin", 4096))),
    ),
    Scenario(
        "parallel", "eight writers at once, four of them to the origin, over the same chunks", 4096, 8192,
        (
            Together((
                *(Write("snapshot", 512 * writer + 3, 500, 5) for writer in range(4)),
                *(Write("origin", 512 * writer + 1, 400, 16) for writer in range(4)),
            )),
        ),
    ),
    Scenario("stale", "a COW device that was wiped for 4 KiB only", 1024, 2048, (_run(1, 30, 64),), 1, stale=True),
    Scenario("last-chunk", "the partial last chunk written through both", 8 * 8 + 3, 8 * 12,
             (Write("origin", 66, 1), Write("snapshot", 65, 2))),
    Scenario("last-chunk-whole", "the snapshot's partial last chunk overwritten", 8 * 8 + 3, 8 * 12,
             (Write("snapshot", 64, 3),)),
    Scenario("overflow-snapshot", "a write to the snapshot finds no room", 512, 8 * 10, (_run(8, 20, 20),)),
    Scenario("overflow-origin", "a write to the origin finds no room", 512, 8 * 10, (_run(8, 20, 20, "origin"),)),
    Scenario("overflow-po", "no room, but the table says that it may overflow", 512, 8 * 10,
             (_run(8, 20, 20), *_chunks(8, 20)), store="PO"),
    Scenario("overflow-po-origin", "the same from the origin", 512, 8 * 10, (_run(8, 20, 20, "origin"),), store="PO"),
    Scenario("full", "every chunk used, none missing", 512, 8 * 3 + 7, _chunks(8, 5)),
    Scenario("trap-258", "256 chunks would fit, but not the area behind them", 8 * 300, 8 * 258, (_run(8, 3, 256),)),
    Scenario("trap-258-before", "one chunk before the trap", 8 * 300, 8 * 258, (_run(8, 3, 255),)),
    Scenario("trap-259", "256 chunks and the area behind them", 8 * 300, 8 * 259, (_run(8, 3, 256),)),
    Scenario("trap-260", "one data chunk in the second area", 8 * 300, 8 * 260, (_run(8, 3, 257),)),
    Scenario("header-wins", "a table with a larger chunk size than the header", 1024, 2048,
             (*_chunks(16, 9, 3), Reload(64), *_chunks(16, 4)), chunk_sectors=16),
    Scenario("header-wins-smaller", "a table with a smaller chunk size than the header", 1024, 2048,
             (*_chunks(16, 9, 3), Reload(8), *_chunks(16, 4)), chunk_sectors=16),
    Scenario("grown", "the COW device grew when full", 1024, 8 * 6, (_run(8, 40, 4), Grow(8 * 20), _run(8, 50, 8))),
    Scenario("transient", "leaves nothing that could be loaded", 1024, 2048, (_run(8, 40, 4),), store="N"),
    Scenario("merge-done", "all merged", 2048, 8 * 200, (_run(8, 10, 100), *_chunks(8, 3, 1), Merge())),
    # Records 0…19 are a row, 20…43 single chunks; an area has 32 of them. Record 30 is the last to be merged.
    Scenario("merge-half", "a merge stopped within the first of two areas", 512, 128,
             (_run(1, 200, 20), *_chunks(1, *range(100, 52, -2)), Merge("delay", 80, 33)), chunk_sectors=1),
    Scenario("merge-failed", "a merge that could not write to the origin", 512, 128,
             (_run(1, 200, 20), *_chunks(1, *range(100, 72, -2)), Merge("error", 80)), chunk_sectors=1),
)  # fmt: skip
"""Each with what it is for; `tests/fixtures` keeps what Linux 6.1 made of them."""
