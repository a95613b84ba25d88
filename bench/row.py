"""What a benchmark has to say: rows of one table, and a few ways to measure without fooling oneself."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

BENCH = Path(__file__).parent
Figure = TypeVar("Figure")


@dataclass(frozen=True)
class Row:
    """One line of the table: what one of those that are compared did.

    Attributes:
        name: Who, or which case.
        figure: What came out, with its unit: the median, and in brackets the least and the most.
        ratio: The time of dmsnap divided by this one's, in the same words; empty without a comparison.
        goal: What the ratio, or else the figure, should be; empty where there is none.
        met: Whether it is; None without a goal.
        runs: Every single figure, in seconds if it is a time.
        ratios: Every single ratio, round by round.
    """

    name: str
    figure: str
    ratio: str = ""
    goal: str = ""
    met: bool | None = None
    runs: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()


def timed(name: str, seconds: Sequence[float]) -> Row:
    """A row that tells some times, and no more."""
    return Row(name, spread(seconds), runs=tuple(seconds))


def compared(
    name: str, seconds: Sequence[float], ours: Sequence[float], at_most: float | None = None, *, sound: bool = True
) -> Row:
    """A row for what dmsnap is compared with.

    Args:
        name: Of the other.
        seconds: Its times.
        ours: The times of dmsnap in the same rounds; of another number of rounds, only the medians are compared.
        at_most: The goal: the median of the ratios.
        sound: Whether both did the same at all; otherwise the goal is missed and the row says so.
    """
    ratios = ratios_of(ours, seconds)
    met = None if at_most is None else sound and statistics.median(ratios) <= at_most
    return Row(
        name if sound else f"{name}: ANOTHER RESULT",
        spread(seconds),
        times(ratios),
        "" if at_most is None else f"<= {at_most:g}x",
        met,
        tuple(seconds),
        tuple(ratios),
    )


def ratios_of(figures: Sequence[float], against: Sequence[float]) -> list[float]:
    """The ratios, round by round; where the rounds do not pair, the one of the medians."""
    if len(figures) != len(against):
        return [statistics.median(figures) / statistics.median(against)]
    return [one / other for one, other in zip(figures, against, strict=True)]


def spread(seconds: Sequence[float]) -> str:
    """Median, least and most of some times: ``1.234 s (1.200-1.301)``, or in ms where that reads better."""
    if statistics.median(seconds) < 0.1:
        return _around(seconds, 1000, " ms", 2)
    return _around(seconds, 1, " s", 3)


def times(ratios: Sequence[float]) -> str:
    """Median, least and most of some ratios: ``0.78x (0.70-0.85)``, ``41x (28-49)``."""
    return _around(ratios, 1, "x", 2 if statistics.median(ratios) < 10 else 0)


def rates(values: Sequence[float], unit: str) -> str:
    """Median, least and most of some figures that are not times."""
    return _around(values, 1, f" {unit}", 1)


def _around(values: Sequence[float], scale: float, unit: str, digits: int) -> str:
    middle, *ends = (value * scale for value in (statistics.median(values), min(values), max(values)))
    said = f"{middle:.{digits}f}{unit}"
    return said if len(values) == 1 else f"{said} ({ends[0]:.{digits}f}-{ends[1]:.{digits}f})"


def in_turn(rounds: int, *measures: Callable[[], Figure]) -> list[list[Figure]]:
    """Takes each measure once a round, each other round in the opposite order (A B B A): all of them meet a machine
    that slows down, and each comes as often right behind another as the other behind it. One warm-up round.
    """
    figures: list[list[Figure]] = [[] for _ in measures]
    for round_number in range(rounds + 1):
        order = range(len(measures)) if round_number % 2 else range(len(measures) - 1, -1, -1)
        for which in order:
            figure = measures[which]()
            if round_number:
                figures[which].append(figure)
    return figures


def settle() -> None:
    """Waits until nothing is left to be written, so that no run pays for what the one before it left behind.

    For the same reason the blocks of files that were removed are given back to the disk now (on filesystems that
    discard), and not during the next run.
    """
    os.sync()


def in_fresh_process(module: str, *arguments: object) -> Any:
    """Runs ``bench/<module>.py`` with arguments in a process of its own and returns the JSON it prints.

    Raises:
        subprocess.SubprocessError: It failed, or took too long; see `reason_of`.
    """
    command = [sys.executable, str(BENCH / f"{module}.py"), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return json.loads(done.stdout)


def reason_of(error: Exception) -> str:
    """Why something could not be measured, in one line: of a process that failed, the last that it said."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
    if isinstance(said, bytes):
        said = said.decode(errors="replace")
    lines = str(said or error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
