"""How long the command takes to say what it can do."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from row import Row, in_turn, spread, timed

MOST_SECONDS = 0.2


def help_page(folder: Path) -> Iterator[Row]:  # noqa: ARG001
    """``dmsnap --help``, with compiled files, beside a Python that does nothing."""
    command = str(Path(sys.executable).with_name("dmsnap"))

    def seconds(*words: str) -> float:
        started = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    ours, bare = in_turn(10, lambda: seconds(command, "--help"), lambda: seconds(sys.executable, "-c", "pass"))
    met = statistics.median(ours) < MOST_SECONDS
    yield Row("dmsnap --help", spread(ours), "", f"< {MOST_SECONDS:g} s", met, tuple(ours))
    yield timed("python -c pass", bare)
