"""Progress of long work: a bar on stderr when that is a terminal, silence otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["progress_bar", "step_bar"]


@contextmanager
def progress_bar(label: str, *, wanted: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """Shows a bar while the block runs; yields ``report(done_bytes, total_bytes)``, or None where nobody would see.

    What the block prints on a terminal comes above the bar: by few and large writes, since each draws the bar anew.

    Args:
        label: What is done, to what.
        wanted: Whether to show one at all: not where a program is to read the result, or nobody.
    """
    with _bar(label, in_bytes=True, wanted=wanted) as report:
        yield report


@contextmanager
def step_bar(label: str, *, wanted: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """As `progress_bar` for work that is counted in steps: yields ``report(done, total)``."""
    with _bar(label, in_bytes=False, wanted=wanted) as report:
        yield report


@contextmanager
def _bar(label: str, *, in_bytes: bool, wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount = (DownloadColumn(binary_units=True), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *amount,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # results in a file or pipe stay there
    )
    with bar:
        task = bar.add_task(label, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report
