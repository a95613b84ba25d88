"""The depth that ``auto`` finds, judged by the best fixed one, wherever the store lies."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from row import Row, in_turn, ratios_of, spread, times
from stores import CHUNKS_A_GIB, metadata_store

from dmsnap.block import BlockDevice, FileDevice
from dmsnap.block.model import DRIVES, ModelDevice, make_drive
from dmsnap.block.wrap import DelayDevice
from dmsnap.store import open_store

LARGE, SMALL = 1563, 100
"""Areas: a store that takes long to load, and one that ends before much can be learned, which has no goal."""
DELAYS_MS = (0.1, 1, 5, 20, 50)
DEPTHS = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1, 0)
"""From the deepest on, which no sensible device is slowest at by far."""
WORST = 1.15
FINALISTS = 3
SEEDS = (0, 1, 2)
SECONDS_EACH = 1.5
"""About how long a final may last for each of those in it."""

Load = Callable[[str | int], float]
"""Loads once with this prefetch; returns the seconds."""


def against_fixed_depths(folder: Path) -> Iterator[Row]:
    """On delays of 0.1 to 50 ms, where any number of reads wait at once; on a file; and on modelled drives."""
    for areas in (LARGE, SMALL):
        path = folder / f"{areas}.cow"
        metadata_store(path, areas - 1, 256 * CHUNKS_A_GIB, allocated=True)
        for delay in DELAYS_MS:
            yield judged(f"{delay} ms", areas, partial(_seconds, partial(_delayed, path, delay / 1000)))
        yield judged("page cache", areas, partial(_seconds, partial(FileDevice, path)))
        yield judged("not cached", areas, partial(_seconds, partial(_uncached, path)))
        for drive in DRIVES:
            yield simulated(drive, areas, path)
        path.unlink()


def judged(where: str, areas: int, load: Load) -> Row:
    """The row of ``auto`` beside the best fixed depth, as found by `best_depths` and decided in rounds of their own."""
    best = best_depths(load)
    rounds = max(4, min(20, round(SECONDS_EACH / load(best[0]))))
    auto, *fixed = in_turn(rounds, partial(load, "auto"), *(partial(load, depth) for depth in best))
    return _row(where, areas, auto, dict(zip(best, fixed, strict=True)))


def simulated(drive: str, areas: int, path: Path) -> Row:
    """The same in simulated time, which is exact: every depth, on some drives of a kind."""

    def seconds(prefetch: str | int) -> list[float]:
        return [
            _seconds(lambda seed=seed: ModelDevice(FileDevice(path), make_drive(drive, seed)), prefetch)  # type: ignore[misc]
            for seed in SEEDS
        ]

    return _row(f"{drive} model", areas, seconds("auto"), {depth: seconds(depth) for depth in DEPTHS})


def _row(where: str, areas: int, auto: list[float], fixed: dict[int, list[float]]) -> Row:
    depth, theirs = min(fixed.items(), key=lambda each: statistics.median(each[1]))
    ratios = ratios_of(auto, theirs)
    return Row(
        f"{where}, {areas:,} areas; best {depth}: {spread([statistics.median(theirs)])}",
        spread(auto),
        times(ratios),
        f"<= {WORST:g}x" if areas == LARGE else "",
        statistics.median(ratios) <= WORST if areas == LARGE else None,
        tuple(auto),
        tuple(ratios),
    )


def best_depths(load: Load) -> list[int]:
    """The fastest few fixed depths, the fastest first.

    From the deepest to none, each the best of three; it ends where a depth takes twice as long as the best so far.
    """
    seconds: dict[int, float] = {}
    load(DEPTHS[0])
    for depth in DEPTHS:
        first = load(depth)
        if seconds and first > 2 * min(seconds.values()) and min(first, load(depth)) > 2 * min(seconds.values()):
            break
        seconds[depth] = min(first, load(depth), load(depth))
    return sorted(seconds, key=lambda depth: seconds[depth])[:FINALISTS]


def _seconds(opened: Callable[[], BlockDevice], prefetch: str | int) -> float:
    with opened() as device:
        started = device.clock()
        open_store(device, prefetch=prefetch)
        seconds: float = device.clock() - started
        return seconds


def _delayed(path: Path, seconds: float) -> BlockDevice:
    return DelayDevice(FileDevice(path), seconds)


def _uncached(path: Path) -> BlockDevice:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return FileDevice(path)
