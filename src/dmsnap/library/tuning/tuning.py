"""Prefetch depth against load time, measured on a device: ``tune``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from dmsnap.library.source import Source
from dmsnap.library.tuning.defaults import TUNE_SECONDS
from dmsnap.library.tuning.measured_device import BadMeasure, open_measured
from dmsnap.library.tuning.own_load import load_by_dmsnap
from dmsnap.library.tuning.prediction import Prediction, predicted, until_after
from dmsnap.library.tuning.trials import LADDER, DepthTime, Progress, Trials, depths_for

__all__ = ["TuneResult", "no_clear_difference", "recommended", "tune"]

ROUNDS = 7
LOAD_SHARE = 0.25
WORTH = 1.1
"""A depth that takes at most so many times as long as the best is as good: deeper ones only cost memory."""


@dataclass(frozen=True, slots=True)
class TuneResult:
    """What loading takes on a device, by prefetch depth.

    Attributes:
        depths: What each depth came to, ascending.
        recommended_depth: The smallest one within 10 % of the fastest.
        complete: Whether all trials could be run; else the time was over, or Ctrl-C came.
        interrupted: Whether Ctrl-C came.
        prediction: How long the store on it, or the one asked for, takes to load.
    """

    depths: tuple[DepthTime, ...]
    recommended_depth: int
    complete: bool
    interrupted: bool
    prediction: Prediction

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        return asdict(self)


def tune(
    device: Source,
    *,
    areas: int | None = None,
    chunk_size_bytes: int | None = None,
    time_limit_seconds: float = TUNE_SECONDS,
    seed: int = 0,
    progress: Progress | None = None,
    keep_if_interrupted: bool = False,
) -> TuneResult:
    """Measures how prefetch depth and load time go together on a device. It only reads, past the page cache.

    The very loader reads areas as they lie in a store, at depths of 0 to 256, in several short trials of each, in
    random order; none reads what another read before, as long as the device has other places. Reads that are under way
    when the time is over are waited for.

    Args:
        device: A COW store, whose own areas are measured, or any other device, as if a store filled it; a path, or a
            device that is open, which is read as it is.
        areas: Measure for a store of so many areas instead.
        chunk_size_bytes: And of this chunk size. With one given, what the device holds is not looked at; without, it is
            that of the store there, or 4 KiB.
        time_limit_seconds: How long it may take.
        seed: Of the order and the places of trials.
        progress: Called as ``progress(done, total)``, in trials.
        keep_if_interrupted: Return what there is when Ctrl-C comes, with `TuneResult.complete` False, once there is
            anything.

    Raises:
        BadMeasure: No areas or no time, not even for one trial, or nothing but holes.
        TooSmallToMeasure: No room for one area.
        DmsnapError: As `info`, where there is a store; a place cannot be read.
    """
    with ExitStack() as stack:
        measured = open_measured(device, stack, areas=areas, chunk_size_bytes=chunk_size_bytes)
        clock = measured.device.clock
        started = clock()
        until = until_after(started, time_limit_seconds)

        longest = 2 * (LADDER[-1] + 1) + 1
        own = load_by_dmsnap(measured, started + LOAD_SHARE * time_limit_seconds, until, longest=longest, seed=seed)
        depths = depths_for(own.measured.areas, measured.chunk_size_bytes)
        trials = Trials(own.measured, own.places, depths, until - own.again_seconds, seed=seed)
        interrupted = complete = False
        try:
            complete = trials.run(ROUNDS, progress)
        except KeyboardInterrupt:
            if not keep_if_interrupted or not trials.results():
                raise
            interrupted = True
        results = trials.results()
        if not results:
            raise BadMeasure(
                f"{measured.device.name}: not one trial ended within {time_limit_seconds:g} s",
                hint="allow more time",
                device=measured.device.name,
            )
        own = own if interrupted else own.repeated(trials.areas, until)
        prediction = predicted(own, trials, depths, clock() - started)
        return TuneResult(tuple(results), recommended(results), complete, interrupted, prediction)


def no_clear_difference(results: Sequence[DepthTime]) -> bool:
    """Whether the ranges of all depths, from the fastest trial to the slowest, overlap: the best is chance then."""
    slowest_least = max(result.least_area_seconds for result in results)
    return len(results) > 1 and slowest_least <= min(result.most_area_seconds for result in results)


def recommended(results: Sequence[DepthTime]) -> int:
    """Returns the smallest depth that is within 10 % of the fastest."""
    best = min(result.area_seconds for result in results)
    return min(result.depth for result in results if result.area_seconds <= best * WORTH)
