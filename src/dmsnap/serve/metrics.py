"""Numbers for Prometheus: metrics as values, and the text that a scrape gets.

Source: the Prometheus text exposition format, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

__all__ = ["CONTENT_TYPE", "Metric", "Sample", "metrics_text"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Sample(NamedTuple):
    """One number.

    Attributes:
        labels: Names and values; a value may be any text.
        value: The number.
    """

    labels: tuple[tuple[str, str], ...]
    value: int | float


class Metric(NamedTuple):
    """One kind of number.

    Attributes:
        name: In snake case, with its unit; of a counter it ends in ``_total``.
        kind: A counter only grows, a gauge goes up and down.
        help: What it says, in one line.
        samples: A number for each set of labels.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Sequence[Sample]


def metrics_text(metrics: Iterable[Metric]) -> str:
    r"""Returns what a scrape gets.

    >>> up = Metric("up", "gauge", "Whether it is.", [Sample((("export", "a"),), 1)])
    >>> metrics_text([up])
    '# HELP up Whether it is.\n# TYPE up gauge\nup{export="a"} 1\n'
    """
    lines = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {metric.help.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for labels, value in metric.samples:
            pairs = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels)
            lines.append(f"{metric.name}{{{pairs}}} {value}" if pairs else f"{metric.name} {value}")
    return "".join(line + "\n" for line in lines)
