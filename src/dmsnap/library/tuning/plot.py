"""The picture of a tuning: load time against prefetch depth on one device, with the spread of the trials."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dmsnap.block.medium import printable
from dmsnap.library.plotting import COLOURS, FAINT, INK, picture, seconds_axis, seconds_text
from dmsnap.library.size_text import readable_size
from dmsnap.library.tuning.tuning import TuneResult, no_clear_difference
from dmsnap.store.prefetch import KERNEL_DEPTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_tuning"]

_LONGEST_NAME = 50


def plot_tuning(result: TuneResult, path: str | os.PathLike[str]) -> None:
    """Draws a tuning as the file ``path``, SVG or PNG.

    A line goes through the medians, and bars from the fastest to the slowest trial. A ring marks the recommended depth,
    a vertical line the 12 of Linux, and a dotted one how long dmsnap takes.

    Raises:
        BadPlotFile, CannotWrite, NoMatplotlib: As `dmsnap.library.plotting.picture`.
    """
    with picture(path, "Load time by prefetch depth, measured", _subtitle(result)) as (axes,):
        areas = result.prediction.areas
        depths = [found.depth for found in result.depths]
        middles = [areas * found.area_seconds for found in result.depths]
        below = [areas * (found.area_seconds - found.least_area_seconds) for found in result.depths]
        above = [areas * (found.most_area_seconds - found.area_seconds) for found in result.depths]
        colour = COLOURS[0]
        bars: dict[str, Any] = {"elinewidth": 1.2, "capsize": 3.5, "markersize": 4.5, "zorder": 3}
        shown = axes.errorbar(depths, middles, yerr=(below, above), color=colour, marker="o", **bars)
        _depth_axis(axes, depths)
        axes.set_ylabel(f"time to load {areas:,} area" + ("" if areas == 1 else "s") + ", logarithmic")
        best = next(found for found in result.depths if found.depth == result.recommended_depth)
        ring: dict[str, Any] = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "markeredgewidth": 2}
        ringed = axes.plot(best.depth, areas * best.area_seconds, color=COLOURS[1], linestyle="", zorder=4, **ring)[0]
        handles: list[Any] = [shown, ringed]
        names = ["median, fastest to slowest trial", f"recommended: {best.depth}"]
        own = result.prediction.dmsnap
        if own is not None:
            line: dict[str, Any] = {"color": COLOURS[2], "linewidth": 1.6, "linestyle": (0, (1, 1.5)), "zorder": 2}
            handles.append(axes.axhline(own.seconds, **line))
            names.append(f"dmsnap, auto: {seconds_text(own.seconds)}")
        seconds_axis(axes, logarithmic=True)
        axes.legend(
            handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False, labelcolor=INK
        )


def _subtitle(result: TuneResult) -> str:
    found = result.prediction
    name = printable(found.name)
    chunk = readable_size(found.chunk_size_bytes)
    areas = "1 metadata area" if found.areas == 1 else f"{found.areas:,} metadata areas"
    unclear = "; all ranges overlap: no clear difference" if no_clear_difference(result.depths) else ""
    about = "" if found.areas_known else "about "
    return (
        f"{name if len(name) <= _LONGEST_NAME else '…' + name[1 - _LONGEST_NAME :]}: {about}{areas} of {chunk}{unclear}"
    )


def _depth_axis(axes: Axes, depths: list[int]) -> None:
    """Makes the x axis logarithmic but for depth 0, with ticks at powers of two, and marks the kernel's depth."""
    deepest = max(*depths, 1)
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=1)
    ticks = [0, *(1 << power for power in range(deepest.bit_length()))]
    if deepest >= 1.5 * ticks[-1]:
        ticks.append(deepest)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-0.25, deepest * (1.25 if deepest > 2 * KERNEL_DEPTH else 1.6))
    axes.set_xlabel("prefetch depth: areas asked for ahead of the next one")
    if deepest < KERNEL_DEPTH:
        return
    axes.axvline(KERNEL_DEPTH, color=FAINT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"Linux: {KERNEL_DEPTH}",
        xy=(KERNEL_DEPTH, 1),
        xycoords=("data", "axes fraction"),
        xytext=(5, -4) if deepest > KERNEL_DEPTH else (-5, -4),
        textcoords="offset points",
        ha="left" if deepest > KERNEL_DEPTH else "right",  # inside the picture
        va="top",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )
