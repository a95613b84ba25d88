"""The tables of docs/disk-models.md: ``python -m dmsnap.block.model.report`` prints them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from dmsnap.block.model.drives import DRIVES
from dmsnap.block.model.judging import FIGURES, Judgement, judge
from dmsnap.block.model.spec import Parameter

__all__ = ["report"]


def report() -> str:
    """Returns, drive by drive, what is published beside what the model does, and what the model is made from."""
    return "\n".join(line for name in DRIVES for line in _drive(name))


def _drive(name: str) -> Iterator[str]:
    spec = DRIVES[name]
    yield from (f"### `{name}`", "", f"{spec.description[0].upper()}{spec.description[1:]}. Sources:", "")
    yield from (f"- *{short}*: {document}" for short, document in spec.sources.items())
    yield ""
    yield from _table(("figure", "published", "model", "off by", "published in"), map(_judgement, judge(name)))
    yield ""
    yield from _table(
        ("parameter", "value", "unit", "source"),
        ((f"`{key}`", _value(one), one.unit, one.source) for key, one in spec.parameters.items()),
    )
    yield ""


def _judgement(judgement: Judgement) -> Sequence[str]:
    what, unit = FIGURES[judgement.key]
    modelled = f"{_number(judgement.modelled)} {unit}"
    published, difference = judgement.published, judgement.difference
    if published is None or difference is None:
        return what, "", modelled, "", "nothing found"
    mark = " (a parameter comes from it)" if published.given else ""
    return (
        what,
        f"{_number(published.value)} {unit}",
        modelled,
        f"{round(100 * difference):+d} %".replace("+0", "0"),
        published.source + mark,
    )


def _value(parameter: Parameter) -> str:
    value = parameter.value
    if isinstance(value, tuple):
        return "; ".join(f"{first:g} {second:g}" for first, second in value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _number(value: float) -> str:
    """Three digits that count."""
    if value < 100:
        return f"{value:.3g}"
    step = 10 ** (len(str(int(value))) - 3)
    return f"{round(value / step) * step:,}"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    sys.stdout.write(report())
