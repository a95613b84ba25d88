"""Short trials of loading at several prefetch depths, in random order and on fresh places, within bounded time."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmsnap.library.tuning.measured_device import MeasuredDevice
from dmsnap.library.tuning.places import Places
from dmsnap.library.tuning.rehearsal import rehearse
from dmsnap.store.prefetch import KERNEL_DEPTH, MEMORY_BYTES

__all__ = ["LADDER", "DepthTime", "Progress", "Trials", "depths_for"]

LADDER = (0, 1, 2, 4, 8, KERNEL_DEPTH, 16, 32, 64, 128, 256)
"""Depths that are tried; the kernel's among them."""

TRIAL_SECONDS = 0.1
LEAST_AREAS = 8
MOST_AREAS = 1024
PIECE_BYTES = 1 << 20
"""The loader reads larger chunks in pieces of this size, and counts those ahead."""

Progress = Callable[[int, int], object]
"""Hears how many trials are over, and of how many."""


@dataclass(frozen=True, slots=True)
class DepthTime:
    """What the trials of one depth came to.

    Attributes:
        depth: Areas read ahead besides the next one; 0 is one after another.
        trials: How many there were.
        area_seconds: The time for one area: the median of the trials.
        least_area_seconds: Of the fastest trial.
        most_area_seconds: Of the slowest.
    """

    depth: int
    trials: int
    area_seconds: float
    least_area_seconds: float
    most_area_seconds: float


def depths_for(areas: int, chunk_size_bytes: int) -> list[int]:
    """Returns the depths worth a trial: not more than there are areas, nor than the loader has memory for."""
    most = max(0, MEMORY_BYTES // chunk_size_bytes - 1)
    enough = next((depth for depth in LADDER if depth >= max(KERNEL_DEPTH, areas - 1)), LADDER[-1])
    return [depth for depth in LADDER if depth <= min(most, enough)]


class Trials:
    """Runs the trials and keeps what they came to, also where they are broken off.

    A first round of short ones warms up and tells how long the others should be; it counts only for a depth that has
    no others. A trial is whole windows of its depth, since reads come in such waves where all take equally long.

    Args:
        measured: The device.
        places: Where to read.
        depths: What to try.
        until: When to stop, by the device's clock.
        seed: Of the order of the trials.

    Attributes:
        areas: How many areas were read for it.
    """

    def __init__(
        self, measured: MeasuredDevice, places: Places, depths: Sequence[int], until: float, *, seed: int = 0
    ) -> None:
        self.areas = 0
        self._measured = measured
        self._places = places
        self._until = until
        self._random = random.Random(seed)  # noqa: S311 - an order, not a secret
        self._pilots: dict[int, float] = {}
        self._seconds: dict[int, list[float]] = {depth: [] for depth in depths}

    def run(self, rounds: int, progress: Progress | None) -> bool:
        """Runs the first round, and ``rounds`` more; returns whether all of them could be run in the time.

        Raises:
            IOFailed: A place cannot be read.
        """
        complete, done, total = True, 0, (rounds + 1) * len(self._seconds)
        for number in range(rounds + 1):
            order = list(self._seconds)
            self._random.shuffle(order)
            for depth in order:
                if progress is not None:
                    progress(done, total)
                done += 1
                seconds = self._try(depth)
                if seconds is None:
                    complete = False
                elif number:
                    self._seconds[depth].append(seconds)
                else:
                    self._pilots[depth] = seconds
        return complete

    def results(self) -> list[DepthTime]:
        """Returns what was found so far, of the depths that had a trial at least; by depth."""
        found = []
        for depth in sorted(self._seconds):
            seconds = self._seconds[depth] or [self._pilots[depth]] if depth in self._pilots else []
            if seconds:
                found.append(DepthTime(depth, len(seconds), statistics.median(seconds), min(seconds), max(seconds)))
        return found

    def _try(self, depth: int) -> float | None:
        """Runs one trial and returns the seconds for one area; None where there is no time or no place for it."""
        device, window = self._measured.device, depth + 1
        expected = self._pilots.get(depth)
        count = LEAST_AREAS // 2
        if expected is not None:
            count = max(LEAST_AREAS, 2 * window, min(MOST_AREAS, int(TRIAL_SECONDS / max(expected, 1e-9))))
        count = min(-(-count // window) * window, self._measured.areas)
        if device.clock() + (expected or 0.0) * count >= self._until:
            return None
        whole = count == self._measured.areas  # then all that reading ahead finds behind them counts too
        room = max(0, min(depth, self._measured.areas_on_device - count)) if whole else 0
        places = self._places.take(count + room + (not whole))
        if len(places) > 1 and not whole:
            # Whatever was done before, the heads of a disk start from the place before the first.
            self.areas += 1
            device.read_at(places.pop(0) * self._measured.chunk_size_bytes, device.logical_block_size_bytes)
        if not places:
            return None
        pieces = max(1, self._measured.chunk_size_bytes // PIECE_BYTES)
        loading = rehearse(
            device,
            self._measured.chunk_size_sectors,
            window * pieces - 1,
            places,
            self._until,
            room=max(0, len(places) - count),
        )
        self.areas += len(places)
        return loading.seconds / loading.areas if loading.finished else None
