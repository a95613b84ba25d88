"""The look of every picture that dmsnap draws, and how it becomes a file: SVG or PNG, the same bytes each time.

matplotlib is an extra (``pip install 'dmsnap[plot]'``) and imported only here and only when a picture is wanted.
No pyplot, no windows; matplotlib's settings are what they were once a picture is done.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dmsnap.library.source import Source

__all__ = [
    "COLOURS",
    "FAINT",
    "INK",
    "BadPlotFile",
    "EndLabel",
    "NoMatplotlib",
    "check_matplotlib",
    "check_plot_file",
    "check_plot_name",
    "enclosing_ticks",
    "label_ends",
    "picture",
    "seconds_axis",
    "seconds_text",
]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Told apart by the colour-blind too (the palette of Okabe and Ito); in the order in which to take them."""
INK = "#222222"
FAINT = "#767676"
"""For marks and notes beside the data; still readable on white."""

_FORMATS = {".svg": "svg", ".png": "png"}
_LOOK = {
    "axes.grid": True,
    "axes.grid.which": "major",
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same text on every machine
    "font.size": 10.5,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "svg.hashsalt": "dmsnap",  # identifiers in an SVG are random otherwise
    "text.parse_math": False,  # a name with a $ in it is a name
    "xtick.color": INK,
    "ytick.color": INK,
}


class NoMatplotlib(DmsnapError):
    """A picture is wanted, and what draws it is not installed."""


class BadPlotFile(DmsnapError, ValueError):
    """A name that does not say which kind of picture is wanted."""


class EndLabel(NamedTuple):
    """What to write at the right end of a line.

    Attributes:
        y: Where the line ends, in data.
        text: One line.
        colour: The line's.
    """

    y: float
    text: str
    colour: str


def check_plot_name(path: str | os.PathLike[str]) -> None:
    """Does nothing if a name says which kind of picture is wanted; else raises `BadPlotFile`."""
    _format_of(os.fspath(path))


def check_plot_file(path: str | os.PathLike[str], beside: Iterable[Source] = ()) -> None:
    """Does nothing if `picture` can be expected to work: asked before long work, of which the picture is the end.

    Args:
        path: The name.
        beside: What the same work reads or writes, which must not be overwritten.

    Raises:
        BadPlotFile: Neither ``.svg`` nor ``.png``.
        BadOutputFile, OutputIsInput, OutputIsStore, CannotWrite: As `dmsnap.library.output_file.check_output_file`.
        NoMatplotlib: It is not installed.
    """
    from dmsnap.library.output_file import check_output_file

    check_plot_name(path)
    check_output_file(os.fspath(path), beside, what="the picture")
    check_matplotlib()


def check_matplotlib() -> None:
    """Does nothing if matplotlib is installed; else raises `NoMatplotlib`."""
    try:
        import matplotlib.figure  # noqa: F401 - only to see whether it is there
    except ImportError as error:
        raise NoMatplotlib("drawing needs matplotlib", hint="pip install 'dmsnap[plot]'") from error


@contextlib.contextmanager
def picture(
    path: str | os.PathLike[str],
    title: str,
    subtitle: str = "",
    *,
    width_inches: float = 9.0,
    height_inches: float = 5.6,
    panels: int = 1,
) -> Iterator[list[Axes]]:
    """Gives empty axes in the project's look; what is drawn on them becomes the file when the block ends well.

    The file appears, or is replaced, in one step, but never a COW store. The same drawing gives the same bytes: no
    date, no random identifiers, none of the user's own settings of matplotlib.

    Args:
        path: The file; how it ends says what it becomes, SVG or PNG (150 dots an inch).
        title: What the picture shows, at the top left; taken as it is, not as mathematics.
        subtitle: What one needs to know to read it; smaller, below the title.
        width_inches: Of the whole; text has 10.5 points, so that 9 inches are readable at the width of a page.
        height_inches: Of the whole.
        panels: How many axes, below each other, with one x axis; given from top to bottom.

    Raises:
        DmsnapError: As `check_plot_file`; `CannotWrite` also where the disk is full.
    """
    from dmsnap.library.output_file import whole_output

    check_plot_file(path)
    name = os.fspath(path)
    kind = _format_of(name)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    look: dict[Any, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if "backend" not in key}
    data = io.BytesIO()
    with mpl.rc_context(look | _LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # in a name: a box stands for it
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained", facecolor="white")
        axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
        axes[0].set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=22 if subtitle else 10)
        place: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points"}
        axes[0].annotate(subtitle, **place, xytext=(0, 7), fontsize=10, color=FAINT)
        yield axes
        maker = {"Date": None, "Creator": "dmsnap"} if kind == "svg" else {"Software": "dmsnap"}
        figure.savefig(data, format=kind, dpi=150, metadata=maker)
    with whole_output(name) as file:
        file.write(data.getbuffer())


def seconds_text(seconds: float) -> str:
    """A time in the unit that suits it, to three digits.

    >>> seconds_text(0.00042), seconds_text(0.0831), seconds_text(1.5), seconds_text(75)
    ('420 µs', '83.1 ms', '1.5 s', '75 s')
    """
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 0.9995 or unit == "µs":
            number = seconds * factor
            return f"{number:.0f} {unit}" if number >= 999.5 else f"{number:.3g} {unit}"
    raise AssertionError


def enclosing_ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis, ascending: two at least, of which the outermost enclose the data.

    >>> enclosing_ticks(0.53, 0.555), enclosing_ticks(0.012, 3.0)
    ([0.5, 0.55, 0.6], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0])
    """
    steps: Sequence[float] = [step / 2 for step in range(2, 20)]
    for ratio, coarser in ((2, range(1, 10)), (8, (1, 2, 5)), (1000, (1,))):
        steps = coarser if high > low * ratio else steps
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
    first = max(number for number, tick in enumerate(ticks) if tick <= low)
    last = min(number for number, tick in enumerate(ticks) if tick >= high and number > first)
    return ticks[first : last + 1]


def seconds_axis(axes: Axes, *, logarithmic: bool) -> None:
    """Makes the y axis one of seconds, written as people say them: 50 ms, 1 s, 20 s.

    A logarithmic one ends in a labelled tick on both sides. Called once the data are drawn.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    if logarithmic:
        axes.set_yscale("log")
        ticks = enclosing_ticks(*axes.dataLim.intervaly)
        margin = (ticks[-1] / ticks[0]) ** 0.02
        axes.set_ylim(ticks[0] / margin, ticks[-1] * margin)
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds_text(value) if value > 0 else "0"))


def label_ends(axes: Axes, labels: Sequence[EndLabel], *, size_points: float = 10.5) -> None:
    """Writes each line's name at its right end, in its colour, moved apart where they would overlap.

    Called last, since scales and limits decide where lines end.
    """
    if not labels:
        return
    from matplotlib.colors import to_rgb

    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout gives the axes their height
    height_points = axes.bbox.height * 72 / figure.dpi
    at = [float(axes.transAxes.inverted().transform(axes.transData.transform((1, label.y)))[1]) for label in labels]
    order = sorted(range(len(labels)), key=at.__getitem__)
    placed = _apart([at[number] for number in order], size_points * 1.35 / height_points)
    for number, y in zip(order, placed, strict=True):
        label = labels[number]
        line = {
            "arrowstyle": "-",
            "color": label.colour,
            "linewidth": 0.8,
            "shrinkA": 2,
            "shrinkB": 5,
            "relpos": (0, 0.5),
        }
        axes.annotate(
            label.text,
            xy=(1, at[number]),
            xycoords="axes fraction",
            xytext=(1.04, y),
            textcoords="axes fraction",
            va="center",
            fontsize=size_points,
            color=[0.75 * part for part in to_rgb(label.colour)],  # letters are thin, and want more contrast
            arrowprops=line,
            annotation_clip=False,
        )


def _apart(places: list[float], gap: float) -> list[float]:
    """Ascending places, moved as little as keeps them ``gap`` apart: those in each other's way share their middle."""
    groups: list[list[float]] = []
    for place in places:
        group = [place]
        while groups and _first(group, gap) < _first(groups[-1], gap) + len(groups[-1]) * gap:
            group = groups.pop() + group
        groups.append(group)
    return [_first(group, gap) + number * gap for group in groups for number in range(len(group))]


def _first(group: list[float], gap: float) -> float:
    return sum(group) / len(group) - gap * (len(group) - 1) / 2


def _format_of(name: str) -> str:
    kind = _FORMATS.get(os.path.splitext(name)[1].lower())  # noqa: PTH122
    if kind is None:
        raise BadPlotFile(f"{printable(name)}: not the name of a picture", hint="use .svg or .png", path=name)
    return kind
