"""How long the command takes to say what it can do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from row import Row, in_turn, spread


def help_page(folder: Path) -> Iterator[Row]:  # noqa: ARG001
    """``dmsnap --help``, with compiled files, beside a Python that does nothing."""
    command = str(Path(sys.executable).with_name("dmsnap"))

    def timed(*words: str) -> float:
        started = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    ours, bare = in_turn(9, lambda: timed(command, "--help"), lambda: timed(sys.executable, "-c", "pass"))
    middle = sorted(ours)[len(ours) // 2]
    yield Row("dmsnap --help", spread(ours), f"python -c pass: {spread(bare)}", "< 0.2 s", middle < 0.2)
