"""Rows for servers: how many requests a second, and what each costs of processor."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from row import Row, in_turn, rates, ratios_of, times
from serving_load import Taken

ROUNDS = 4
OURS = "dmsnap"


def rows(
    what: str, measures: Mapping[str, Callable[[], Taken]], goals: Mapping[str, float], *, sound: bool = True
) -> Iterator[Row]:
    """Measures all in turn; one row each.

    Args:
        what: Is asked, in a few words.
        measures: By name; the first is what the others are compared with.
        goals: For some names: the median of dmsnap's time divided by theirs.
        sound: Whether all serve the same bytes; otherwise goals are missed.
    """
    figures = in_turn(ROUNDS, *measures.values())
    yield from rows_of(what, dict(zip(measures, figures, strict=True)), goals, sound=sound)


def rows_of(
    what: str, figures: Mapping[str, list[Taken]], goals: Mapping[str, float], *, sound: bool = True
) -> Iterator[Row]:
    """The same of what was measured already."""
    first, *others = figures
    ours = [taken.seconds for taken in figures[first]]
    yield _row(f"{what}: {first}", figures[first])
    for name in others:
        ratios = ratios_of(ours, [taken.seconds for taken in figures[name]])
        goal = goals.get(name)
        met = None if goal is None else sound and statistics.median(ratios) <= goal
        yield _row(f"  {name}", figures[name], ratios, "" if goal is None else f"<= {goal:.2f}x", met)


def _row(name: str, taken: list[Taken], ratios: Sequence[float] = (), goal: str = "", met: bool | None = None) -> Row:
    thousands = [1e-3 / each.seconds for each in taken]
    cost = statistics.median(each.processor for each in taken)
    return Row(
        f"{name}, {cost * 1e6:.0f} us" if cost else name,
        rates(thousands, "k/s"),
        times(ratios) if ratios else "",
        goal,
        met,
        tuple(thousands),
        tuple(ratios),
    )
