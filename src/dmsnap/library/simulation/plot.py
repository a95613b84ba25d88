"""The picture of a simulation: load time against prefetch depth, a line for each drive."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dmsnap.block.medium import printable
from dmsnap.library.plotting import COLOURS, FAINT, INK, EndLabel, label_ends, picture, seconds_axis
from dmsnap.library.simulation.simulation import ModelLoads, Simulation
from dmsnap.library.size_text import readable_size
from dmsnap.store.prefetch import KERNEL_DEPTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_simulation"]

_AUTO_BEYOND = 2.1
"""Where ``auto`` stands on the logarithmic axis of depths: so many times the deepest one, in a column of its own."""
_LONGEST_NAME = 50


def plot_simulation(simulation: Simulation, path: str | os.PathLike[str]) -> None:
    """Draws a simulation as the file ``path``, SVG or PNG.

    Each drive is a line, in both directions logarithmic (but for depth 0, which has its place too). A ring marks its
    knee, a diamond to the right of all depths what ``auto`` took, and a vertical line the 12 of Linux.

    Raises:
        BadPlotFile, CannotWrite, NoMatplotlib: As `dmsnap.library.plotting.picture`.
    """
    with picture(path, "Load time by prefetch depth", _subtitle(simulation)) as (axes,):
        deepest = max(KERNEL_DEPTH, *(load.depth for model in simulation.models for load in model.loads))
        auto_at = deepest * _AUTO_BEYOND
        colours = [COLOURS[number % len(COLOURS)] for number in range(len(simulation.models))]
        _depth_axis(axes, deepest, auto_at)
        for model, colour in zip(simulation.models, colours, strict=True):
            _draw(axes, model, colour, auto_at)
        seconds_axis(axes, logarithmic=True)
        axes.set_ylabel("load time, logarithmic")
        _mark_the_kernels(axes)
        _explain_marks(axes)
        label_ends(
            axes,
            [
                EndLabel(model.auto_seconds, f"{model.model} (auto: {model.auto_reads_in_flight:,})", colour)
                for model, colour in zip(simulation.models, colours, strict=True)
            ],
        )


def _subtitle(simulation: Simulation) -> str:
    chunk = readable_size(simulation.chunk_size_bytes)
    areas = "1 metadata area" if simulation.areas == 1 else f"{simulation.areas:,} metadata areas"
    if simulation.name is None:
        what = "a store of"
    else:
        name = printable(simulation.name)
        what = (name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :]) + ":"
    given = [f"seed {simulation.seed}"]
    if simulation.room_areas is not None:
        given.append(f"room for {simulation.room_areas:,} more")
    if simulation.start_bytes is not None:
        given.append(f"from {readable_size(simulation.start_bytes)} on")
    drives = "a simulated drive" if len(simulation.models) == 1 else "simulated drives"
    return f"{what} {areas} of {chunk}, on {drives} ({', '.join(given)})"


def _draw(axes: Axes, model: ModelLoads, colour: str, auto_at: float) -> None:
    """Draws one drive."""
    depths, seconds = [load.depth for load in model.loads], [load.seconds for load in model.loads]
    axes.plot(depths, seconds, color=colour, marker="o", markersize=3.2, zorder=3)
    axes.plot([depths[-1], auto_at], [seconds[-1], model.auto_seconds], color=colour, linewidth=1, linestyle=":")
    ring = {"marker": "o", "markersize": 10, "markerfacecolor": "none", "markeredgewidth": 1.8}
    axes.plot(model.knee_depth, model.knee_seconds, color=colour, zorder=4, **ring)  # type: ignore[arg-type]
    axes.plot(auto_at, model.auto_seconds, color=colour, marker="D", markersize=7, zorder=4, clip_on=False)


def _depth_axis(axes: Axes, deepest: int, auto_at: float) -> None:
    """Makes the x axis: 0, then powers of two, then ``auto``."""
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=1)
    powers = deepest.bit_length()
    ticks = [0, *(1 << power for power in range(0, powers, 1 if powers <= 11 else 2)), auto_at]
    axes.set_xticks(ticks, [*(f"{tick:,}" for tick in ticks[:-1]), "auto"])
    axes.minorticks_off()
    axes.set_xlim(-0.25, auto_at)
    axes.set_xlabel("prefetch depth: areas asked for ahead of the next one")


def _mark_the_kernels(axes: Axes) -> None:
    axes.axvline(KERNEL_DEPTH, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
    axes.annotate(
        f"Linux: {KERNEL_DEPTH}",
        xy=(KERNEL_DEPTH, 1),
        xycoords=("data", "axes fraction"),
        xytext=(5, -4),
        textcoords="offset points",
        va="top",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _explain_marks(axes: Axes) -> None:
    """Says below the axes what ring and diamond mean."""
    from matplotlib.lines import Line2D

    ring = Line2D(
        [], [], color=FAINT, linestyle="", marker="o", markersize=10, markerfacecolor="none", markeredgewidth=1.8
    )
    diamond = Line2D([], [], color=FAINT, linestyle="", marker="D", markersize=7)
    axes.legend(
        [ring, diamond],
        ["knee: the smallest depth within 10 % of the best", "auto, and its most reads in flight at once"],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=2,
        frameon=False,
        labelcolor=INK,
    )
