"""What a benchmark has to say: rows of one table, and a few ways to measure without fooling oneself."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What was measured.
        figure: What came out, with its unit.
        against: The same for what it is compared with; empty without one.
        goal: What it should be; empty for a figure that is only told.
        met: Whether it is; None without a goal.
    """

    name: str
    figure: str
    against: str = ""
    goal: str = ""
    met: bool | None = None


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
    lines = str(said or error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Takes each measure once a round, in turn, so that a machine that slows down slows them all; one warm-up round."""
    figures: list[list[float]] = [[] for _ in measures]
    for round_number in range(rounds + 1):
        for kept, measure in zip(figures, measures, strict=True):
            figure = measure()
            if round_number:
                kept.append(figure)
    return figures


def ratio_of(figures: list[float], against: list[float]) -> float:
    """The median of the ratios, round by round."""
    return statistics.median(one / other for one, other in zip(figures, against, strict=True))


def spread(seconds: list[float]) -> str:
    """Median, minimum and maximum of some times."""
    return f"{statistics.median(seconds):.3f} s ({min(seconds):.3f}-{max(seconds):.3f})"
