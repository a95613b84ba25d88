"""A trace as a picture: areas over time, what the loader waited for, and the reads in flight.

A store of many areas is thinned out: its picture shows all of the time, and of the areas as many as can be told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmsnap.block.medium import printable
from dmsnap.library.plotting import COLOURS, FAINT, INK, picture, seconds_text
from dmsnap.library.trace_reads import TracedRead, reads_in_flight, reads_of, waited_seconds
from dmsnap.store.load_trace import LoadTrace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

MOST_LOADS = 4
MOST_BARS = 300
"""Areas drawn of a load: more could not be told apart."""
MOST_STEPS = 1500
"""Moments drawn of a load, which is about one a pixel."""
MOST_NAME = 44

UNDER_WAY, KEPT, WAITS, WASTED, HEADER = COLOURS[0], "#b8dcf2", COLOURS[1], "#a9a9a9", COLOURS[2]
_HEIGHTS = (6.0, 0.55, 1.5)
_Span = tuple[float, float]


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
                heading = f"{_title(load)}\n{_subtitle(load)}"
                areas.set_title(heading, loc="left", fontsize=10.5, color=INK, parse_math=False)
            _draw_areas(areas, load, per_second)
            _draw_loader(loader, load, per_second)
            _draw_in_flight(in_flight, load, per_second)
        more = f"; {_count(len(loads) - len(shown), 'more load')} not shown" if len(loads) > len(shown) else ""
        axes[-1].set_xlabel(f"time since the load began ({unit}){more}")
        axes[-1].set_xlim(0, end * per_second * 1.01 or 1)
        _explain_colours(axes)


def _explain_colours(axes: Sequence[Axes]) -> None:
    """Says below the picture what its colours mean, where they can hide nothing."""
    found = [each.get_legend_handles_labels() for each in axes]
    keys = {label: handle for handles, labels in found for handle, label in zip(handles, labels, strict=True)}
    figure = axes[0].get_figure(root=True)
    if keys and figure is not None:
        figure.legend(list(keys.values()), list(keys), loc="outside lower center", ncols=3, frameon=False, fontsize=10)


def _title(load: _Load) -> str:
    name = printable(load.trace.device)
    name = name if len(name) <= MOST_NAME else "…" + name[1 - MOST_NAME :]
    return f"Loading {name}, prefetch {printable(str(load.trace.prefetch))}"


def _subtitle(load: _Load) -> str:
    trace, reads = load.trace, load.reads
    used = len({read.area for read in reads if read.used is not None})
    text = f"{_count(used, 'area')} of {_size_text(trace.chunk_size_bytes)}" if trace.chunk_size_bytes else "no areas"
    text += f" in {seconds_text(load.end)}; the loader waited {seconds_text(waited_seconds(trace, reads))} for them"
    step = _every(reads)
    if step > 1:
        text += f"; one in {step} is drawn"
    if trace.left_out:
        text += "; what followed was not recorded"
    if trace.error is not None:
        text += "; then it failed"
    return text


def _draw_areas(axes: Axes, load: _Load, per_second: float) -> None:
    step = _every(load.reads)
    reads = load.reads[::step]
    per_area = max(1, load.trace.chunk_size_bytes // max(1, load.trace.block_size_bytes))
    height = 0.8 * step / per_area if step == 1 else step / per_area
    bars: dict[tuple[str, str], list[tuple[float, float, float]]] = {}

    def bar(colour: str, label: str, y: float, began: float, ended: float) -> None:
        bars.setdefault((colour, label), []).append((y, began * per_second, ended * per_second))

    marks: dict[str, list[tuple[float, float]]] = {}
    for read in reads:
        y = read.area + read.block % per_area / per_area
        arrived = load.end if read.arrived is None else read.arrived
        if read.wanted is None and load.trace.error is None:
            bar(WASTED, "read ahead for nothing", y, read.started, arrived)
        elif read.ahead:
            bar(UNDER_WAY, "read ahead, under way", y, read.started, arrived)
        else:
            bar(WAITS, "read when wanted; the loader waits", y, read.started, arrived)
        if read.used is not None and read.used > arrived:
            bar(KEPT, "there, to be used", y, arrived, read.used)
        if read.evicted is not None:
            marks.setdefault("evicted", []).append((read.evicted * per_second, y))
        if read.failed:
            marks.setdefault("failed", []).append((arrived * per_second, y))
    for (colour, label), places in bars.items():
        _bars(axes, places, height, colour, label)
    for label, points in marks.items():
        axes.plot(*zip(*points, strict=True), "x" if label == "evicted" else "X", color=INK, label=label, zorder=4)
    axes.margins(y=0.03)
    axes.autoscale_view()
    axes.set_ylabel("area")
    axes.yaxis.get_major_locator().set_params(integer=True)
    if not reads:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no areas were read", transform=axes.transAxes, ha="center", color=FAINT)


def _draw_loader(axes: Axes, load: _Load, per_second: float) -> None:
    """The lane that tells what the loader waited for; where it is blank, the loader was at work."""
    header = load.trace.header_seconds
    close = load.end * per_second / MOST_STEPS
    waits = (read.waits(load.end) for read in load.reads)
    lanes: list[tuple[str, str, Iterable[_Span]]] = [
        (HEADER, "reads the header", [(0.0, load.end if header is None else header)]),
        (WAITS, "read when wanted; the loader waits", [wait for wait in waits if wait is not None]),
        (WASTED, "read ahead for nothing", _end_wait(load)),
    ]
    for colour, label, spans in lanes:
        places = [(0.0, *span) for span in _joined(((a * per_second, b * per_second) for a, b in spans), close)]
        if places:
            _bars(axes, places, 0.8, colour, label)
    axes.set_ylim(-0.6, 0.6)
    axes.set_yticks([0], ["loader"])
    axes.grid(visible=False, axis="y")


def _draw_in_flight(axes: Axes, load: _Load, per_second: float) -> None:
    steps = reads_in_flight(load.reads, load.end)
    thinned: dict[int, tuple[float, int]] = {}  # of each stretch of time, the most reads that were in flight
    width = load.end / MOST_STEPS or 1.0
    for seconds, count in steps:
        place = int(seconds / width) if len(steps) > MOST_STEPS else len(thinned)
        if place not in thinned or count > thinned[place][1]:
            thinned[place] = (seconds, count)
    points = [(0.0, 0), *thinned.values(), (load.end, 0)]
    axes.fill_between(
        [seconds * per_second for seconds, _ in points],
        [count for _, count in points],
        step="post",
        color=UNDER_WAY,
        alpha=0.75,
        linewidth=0,
    )
    axes.set_ylim(0, max(1.0, 1.15 * max(count for _, count in points)))
    axes.set_ylabel("reads\nin flight")
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)


def _end_wait(load: _Load) -> list[_Span]:
    """After the last area the loader waits for what is still under way, since its memory is being written to."""
    begin = max((read.used for read in load.reads if read.used is not None), default=None)
    if begin is None or load.trace.left_out:
        return []
    ends = max((read.arrived for read in load.reads if read.arrived is not None), default=begin)
    return [(begin, ends)] if ends > begin else []


def _bars(axes: Axes, places: Sequence[tuple[float, float, float]], height: float, colour: str, label: str) -> None:
    """Draws (y, from, to) as bars, all as one thing: a picture of thousands of patches would take seconds."""
    from matplotlib.collections import PolyCollection

    half = height / 2
    corners = [[(a, y - half), (b, y - half), (b, y + half), (a, y + half)] for y, a, b in places]
    # The line keeps what is shorter than a pixel visible.
    axes.add_collection(
        PolyCollection(corners, facecolors=colour, edgecolors=colour, linewidths=0.4, label=label, zorder=3)
    )


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
