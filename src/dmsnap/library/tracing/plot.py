"""A trace as a picture: areas over time, what the loader waited for, and the reads in flight.

A store of many areas is thinned out: its picture shows all of the time, and of the areas as many as can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from dmsnap.block.medium import printable
from dmsnap.library.plotting import COLOURS, FAINT, INK, picture, seconds_text
from dmsnap.library.tracing.reads import TracedRead, reads_in_flight, reads_of, waited_seconds
from dmsnap.store.load_trace import LoadTrace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import Locator

__all__ = ["draw"]

MOST_LOADS = 4
MOST_BARS = 300
"""Areas drawn of a load: more could not be told apart."""
MOST_STEPS = 1500
"""Moments drawn of a load, which is about one a pixel."""
MOST_NAME = 36

HEADER, AHEAD, KEPT, WAITS, WASTED, EVICTED, FAILED = (
    "reads the header",
    "read ahead: under way",
    "there, not used yet",
    "the loader waits",
    "read for nothing",
    "evicted",
    "failed",
)
_COLOURS = {
    HEADER: COLOURS[2],
    AHEAD: COLOURS[0],
    KEPT: "#b8dcf2",
    WAITS: COLOURS[1],
    WASTED: "#a9a9a9",
    EVICTED: INK,
    FAILED: INK,
}
"""What is drawn in which colour, in the order in which to explain it."""
_HEIGHTS = (6.0, 0.55, 1.5)
_Span = tuple[float, float]
_Bar = tuple[float, float, float]
"""Where on the y axis, from when, to when."""


@dataclass(frozen=True, slots=True)
class _Load:
    """A load and what was made of its events."""

    trace: LoadTrace
    reads: list[TracedRead]
    end: float

    @classmethod
    def of(cls, trace: LoadTrace) -> _Load:
        reads = reads_of(trace)
        end = max((read.arrived or read.started for read in reads), default=0.0)
        return cls(trace, reads, end if trace.left_out else max(end, trace.seconds))


def draw(loads: Sequence[LoadTrace], path: str) -> None:
    """Draws loads below each other, on one axis of time, and writes the picture.

    Raises:
        DmsnapError: As `dmsnap.library.plotting.save`; matplotlib is not installed.
    """
    shown = [_Load.of(load) for load in loads[:MOST_LOADS]]
    title, subtitle = (_title(shown[0]), _subtitle(shown[0])) if shown else ("No store was loaded", "")
    panels = 3 * max(1, len(shown))
    with picture(path, title, subtitle, height_inches=1.0 + 5.0 * panels / 3, panels=panels) as axes:
        grid = axes[0].get_gridspec()
        assert grid is not None
        grid.set_height_ratios(_HEIGHTS * (panels // 3))
        end = max((load.end for load in shown), default=0.0)
        unit, per_second = _unit(end)
        for number, load in enumerate(shown):
            areas, loader, in_flight = axes[3 * number : 3 * number + 3]
            if number:
                _head(areas, load)
            _draw_areas(areas, load, per_second)
            _draw_loader(loader, load, per_second)
            _draw_in_flight(in_flight, load, per_second)
        axes[0].figure.align_ylabels(axes)
        more = f"; {_count(len(loads) - len(shown), 'more load')} not shown" if len(loads) > len(shown) else ""
        axes[-1].set_xlabel(f"time since the load began ({unit}){more}")
        axes[-1].set_xlim(0, end * per_second * 1.01 or 1)
        _explain_colours(axes)


def _explain_colours(axes: Sequence[Axes]) -> None:
    """Says below the picture what its colours mean, where they can hide nothing."""
    found = [each.get_legend_handles_labels() for each in axes]
    keys = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    keys = {label: keys[label] for label in _COLOURS if label in keys}
    figure = axes[0].get_figure(root=True)
    if keys and figure is not None:
        columns = len(keys) if len(keys) <= 4 else -(-len(keys) // 2)
        figure.legend(
            list(keys.values()), list(keys), loc="outside lower center", ncols=columns, frameon=False, fontsize=10
        )


def _head(axes: Axes, load: _Load) -> None:
    """Says which load follows, as the picture's own title does of the first."""
    axes.set_title(_title(load), loc="left", fontsize=13, fontweight="bold", color=INK, pad=22, parse_math=False)
    above = {"xy": (0, 1), "xycoords": "axes fraction", "xytext": (0, 7), "textcoords": "offset points"}
    axes.annotate(_subtitle(load), **above, fontsize=10, color=FAINT, parse_math=False)  # type: ignore[arg-type]


def _title(load: _Load) -> str:
    name = printable(load.trace.device)
    name = name if len(name) <= MOST_NAME else "…" + name[1 - MOST_NAME :]
    return f"Loading {name}, prefetch {printable(str(load.trace.prefetch))}"


def _subtitle(load: _Load) -> str:
    trace, reads = load.trace, load.reads
    used = len({read.area for read in reads if read.used is not None})
    text = f"{_count(used, 'area')} of {_size_text(trace.chunk_size_bytes)}" if trace.chunk_size_bytes else "no areas"
    text += f" in {seconds_text(load.end)}, {seconds_text(waited_seconds(trace, reads))} of it waiting for them"
    if trace.counters.prefetch_wasted:
        text += f"; {_count(trace.counters.prefetch_wasted, 'read')} for nothing"
    if trace.error is not None:
        text += "; then it failed"
    if _every(reads) > 1:
        text += f"; one in {_every(reads):,} drawn"
    if trace.left_out:
        text += "; the end was not recorded"
    return text


def _draw_areas(axes: Axes, load: _Load, per_second: float) -> None:
    step = _every(load.reads)
    per_area = load.trace.chunk_size_bytes // load.trace.block_size_bytes if load.reads else 1
    bars: dict[str, list[_Bar]] = {}
    for read in load.reads[::step]:
        y = read.area + read.block % per_area / per_area
        for label, began, ended in _phases(read, load):
            bars.setdefault(label, []).append((y, began * per_second, ended * per_second))
    for label, places in bars.items():
        if label in (EVICTED, FAILED):
            points = [(began, y) for y, began, _ in places]
            axes.plot(*zip(*points, strict=True), "x" if label == EVICTED else "X", color=INK, label=label, zorder=4)
        else:
            _draw_bars(axes, places, (0.8 if step == 1 else step) / per_area, label)
    axes.margins(y=0.03)
    axes.autoscale_view()
    axes.set_ylabel("area")
    axes.yaxis.set_major_locator(_whole_numbers(8))
    if not load.reads:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no areas were read", transform=axes.transAxes, ha="center", color=FAINT)


def _phases(read: TracedRead, load: _Load) -> Iterator[tuple[str, float, float]]:
    """Yields what is to be drawn of a read: what it is, from when, to when."""
    arrived = load.end if read.arrived is None else read.arrived
    if not read.ahead:
        yield WAITS, read.started, arrived
    elif read.wanted is None and not load.trace.left_out:  # else nobody knows
        yield WASTED, read.started, arrived
    else:
        yield AHEAD, read.started, arrived
    if read.used is not None and read.used > arrived:
        yield KEPT, arrived, read.used
    if read.evicted is not None:
        yield EVICTED, read.evicted, read.evicted
    if read.failed:
        yield FAILED, arrived, arrived


def _draw_loader(axes: Axes, load: _Load, per_second: float) -> None:
    """The lane that tells what the loader waited for; where it is blank, the loader was at work."""
    header = load.trace.header_seconds
    close = load.end * per_second / MOST_STEPS
    waits = (read.waits(load.end) for read in load.reads)
    lanes: list[tuple[str, Iterable[_Span]]] = [
        (HEADER, [(0.0, load.end if header is None else header)]),
        (WAITS, [wait for wait in waits if wait is not None]),
        (WASTED, _end_wait(load)),
    ]
    for label, spans in lanes:
        scaled = ((begin * per_second, end * per_second) for begin, end in spans)
        if places := [(0.0, *span) for span in _joined(scaled, close)]:
            _draw_bars(axes, places, 0.8, label)
    axes.set_ylim(-0.6, 0.6)
    axes.set_yticks([0], ["loader"])
    axes.grid(visible=False, axis="y")


def _draw_in_flight(axes: Axes, load: _Load, per_second: float) -> None:
    points = [(0.0, 0), *_thinned(reads_in_flight(load.reads, load.end), load.end / MOST_STEPS), (load.end, 0)]
    axes.fill_between(
        [seconds * per_second for seconds, _ in points],
        [count for _, count in points],
        step="post",
        color=_COLOURS[AHEAD],
        linewidth=0,
        zorder=3,
    )
    axes.set_ylim(0, max(1.0, 1.15 * max(count for _, count in points)))
    axes.set_ylabel("reads\nin flight")
    axes.yaxis.set_major_locator(_whole_numbers(4))


def _thinned(steps: list[tuple[float, int]], width: float) -> list[tuple[float, int]]:
    """Of many steps: in each stretch of time the most reads in flight, and those at its end."""
    if len(steps) <= 2 * MOST_STEPS:
        return steps
    stretches: dict[int, list[tuple[float, int]]] = {}
    for step in steps:
        stretches.setdefault(int(step[0] / width), []).append(step)
    kept = ((max(stretch, key=itemgetter(1)), stretch[-1]) for stretch in stretches.values())
    return [step for pair in kept for step in pair]


def _end_wait(load: _Load) -> list[_Span]:
    """After the last area the loader waits for what is still under way, since its memory is being written to."""
    read = [(read.arrived, read.wanted) for read in load.reads if read.arrived is not None]
    begin = max((max(arrived, wanted) for arrived, wanted in read if wanted is not None), default=load.end)
    ends = max((arrived for arrived, _ in read), default=0.0)
    if load.trace.left_out:
        return []
    return [(begin, ends)] if ends > begin else []


def _draw_bars(axes: Axes, places: Sequence[_Bar], height: float, label: str) -> None:
    """Draws bars, all as one thing: a picture of thousands of things would take seconds."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    half, colour = height / 2, _COLOURS[label]
    corners = [((a, y - half), (b, y - half), (b, y + half), (a, y + half), (a, y - half)) for y, a, b in places]
    steps = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(places)
    outline = Path([corner for four in corners for corner in four], steps)
    # The line around keeps visible what is shorter than a pixel.
    axes.add_patch(
        PathPatch(outline, facecolor=colour, edgecolor=colour, linewidth=0.4, label=label, snap=False, zorder=3)
    )


def _whole_numbers(most: int) -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)


def _joined(spans: Iterable[_Span], gap: float) -> list[_Span]:
    """Spans in their order, those less than ``gap`` apart made one."""
    joined: list[_Span] = []
    for begin, end in sorted(spans):
        if joined and begin - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _every(reads: Sequence[TracedRead]) -> int:
    return -(-len(reads) // MOST_BARS) or 1


def _unit(seconds: float) -> tuple[str, float]:
    for unit, per_second in (("s", 1.0), ("ms", 1e3)):
        if seconds * per_second >= (10 if unit == "s" else 1):
            return unit, per_second
    return "µs", 1e6


def _size_text(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes >= 1 << 20 else f"{size_bytes / 1024:g} KiB"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
