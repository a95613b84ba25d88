"""``dmsnap simulate``: load time against prefetch depth, on drives that are modelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.block.model import DRIVES
from dmsnap.cli.options import PATH, json_option, plot_option, verb
from dmsnap.cli.output import flush_results, for_eyes, print_json, print_warning, result_stream
from dmsnap.cli.progress import step_bar
from dmsnap.cli.sizes import chunk_size_callback, place_callback
from dmsnap.cli.text import printable, readable_size
from dmsnap.library.simulation.defaults import (
    DEFAULT_AREAS,
    DEFAULT_CHUNK_SIZE_BYTES,
    DEFAULT_DEPTHS,
    DEFAULT_ROOM_AREAS,
    MOST_DEPTHS,
    MOST_METADATA_BYTES,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dmsnap.library.simulation.simulation import ModelLoads, Simulation

SHOWN_DEPTHS = (0, 4, 12, 64)
"""Those that have a column, where more than `MOST_COLUMNS` were asked for, or none by name."""
MOST_COLUMNS = 6
EXPLAINED = "auto: (≤ N) is how many reads it had in flight at most"
DESCRIBING = {"areas": "--areas", "chunk_size": "--chunk-size", "room": "--room"}


def _depths_callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    from dmsnap.store.prefetch import MAX_DEPTH

    if value is None:
        return None
    words = value.split(",")
    if len(words) <= MOST_DEPTHS and all(word.strip().isdecimal() and len(word) < 10 for word in words):
        depths = tuple(int(word) for word in words)
        if max(depths) <= MAX_DEPTH:
            return depths
    raise click.BadParameter(f"not 1 to {MOST_DEPTHS} depths from 0 to {MAX_DEPTH}, as in 0,12,64")


@verb("simulate")
@click.argument("snap", metavar="[SNAP]", type=PATH, required=False)
@click.option(
    "--areas",
    metavar="N",
    type=click.IntRange(min=1),
    help=f"Metadata areas, at most {MOST_METADATA_BYTES >> 30}G of them:"
    f" {MOST_METADATA_BYTES // DEFAULT_CHUNK_SIZE_BYTES} of {DEFAULT_CHUNK_SIZE_BYTES >> 10}K."
    f"  [default: {DEFAULT_AREAS}]",
)
@click.option(
    "--chunk-size",
    metavar="SIZE",
    callback=chunk_size_callback,
    help=f"A power of two from 512b to 1G.  [default: {DEFAULT_CHUNK_SIZE_BYTES >> 10}K]",
)
@click.option(
    "--room",
    metavar="N",
    type=click.IntRange(min=0),
    help=f"Areas that are still free after those in use.  [default: {DEFAULT_ROOM_AREAS}, up to 64G]",
)
@click.option(
    "--model",
    "models",
    metavar="NAME",
    type=click.Choice(list(DRIVES)),
    multiple=True,
    help=f"A drive, may be given many times: {', '.join(DRIVES)}.  [default: all]",
)
@click.option(
    "--depths",
    metavar="LIST",
    callback=_depths_callback,
    help=f"Prefetch depths; up to {MOST_COLUMNS} are all shown.  [default: {','.join(map(str, DEFAULT_DEPTHS))}]",
)
@click.option(
    "--start",
    metavar="SIZE",
    callback=place_callback,
    help="Where on the drive SNAP begins.  [default: a tenth in, where a disk turns]",
)
@click.option("--seed", metavar="N", type=int, default=0, show_default=True, help="Makes another drive of each kind.")
@plot_option
@json_option
def command(
    snap: str | None,
    areas: int | None,
    chunk_size: int | None,
    room: int | None,
    models: tuple[str, ...],
    depths: tuple[int, ...] | None,
    start: int | None,
    seed: int,
    plot: str | None,
    as_json: bool,
) -> None:
    """Show how long loading a store takes with each prefetch depth, on drives that are simulated.

    The store is SNAP, or else one as described by --areas, --chunk-size and --room: its areas are full, and free room
    follows them, where reading ahead costs useless reads. The time is that of the drive alone, from its model; nothing
    is measured on this machine. The same line always gives the same numbers.

    The knee is the smallest depth that takes at most 10 % longer than the best.
    """
    described = {"areas": areas, "chunk_size": chunk_size, "room": room}
    for name, option in DESCRIBING.items():
        if snap is not None and described[name] is not None:
            raise click.UsageError(f"{option} describes a store, and SNAP is one", click.get_current_context())
    result_stream()  # without one, nobody would hear the result
    if plot is not None:
        from dmsnap.library.plotting import check_plot_file

        check_plot_file(plot, [] if snap is None else [snap])
    from dmsnap.library.simulation.described_store import BadDescription

    try:
        with step_bar("simulate", wanted=not as_json) as report:
            result = dmsnap.simulate(
                snap,
                areas=DEFAULT_AREAS if areas is None else areas,
                chunk_size_bytes=DEFAULT_CHUNK_SIZE_BYTES if chunk_size is None else chunk_size,
                room_areas=room,
                models=models,
                depths=DEFAULT_DEPTHS if depths is None else depths,
                start_bytes=start,
                seed=seed,
                progress=report,
            )
    except BadDescription as error:  # nothing but options describes it
        raise click.UsageError(f"{error.message}; {error.hint}", click.get_current_context()) from error
    if as_json:
        print_json(result.to_json())
    else:
        print_loads(result, depths)
        for name in result.too_small:
            size = readable_size(result.device_size_bytes)
            where = " from --start on" if start else ""
            print_warning(f"{name} is left out: {size} of COW device do not fit{where}")
    if plot is not None:
        from dmsnap.library.simulation.plot import plot_simulation

        flush_results()
        plot_simulation(result, plot)


def heading(result: Simulation) -> str:
    """What was simulated, in one line."""
    name = "described store" if result.name is None else printable(result.name)
    areas = "1 area" if result.areas == 1 else f"{result.areas:,} areas"
    return f"{name}: {areas} of {readable_size(result.chunk_size_bytes)}; load time by prefetch depth, simulated"


def table_of(result: Simulation, depths: Sequence[int] | None) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and a row for each drive; ``depths`` are those that the user named."""
    from dmsnap.store.prefetch import KERNEL_DEPTH

    simulated = [load.depth for load in result.models[0].loads]
    all_shown = depths is not None and len(simulated) <= MOST_COLUMNS
    shown = [depth for depth in simulated if all_shown or depth in SHOWN_DEPTHS]
    names = [f"{depth} (Linux)" if depth == KERNEL_DEPTH else f"{depth}" for depth in shown]
    return ["drive", *names, "knee", "best", "auto"], [row_of(model, shown) for model in result.models]


def row_of(model: ModelLoads, shown: list[int]) -> list[str]:
    """One drive's times; with knee and best their depths, with ``auto`` its most reads in flight."""
    from dmsnap.library.plotting import seconds_text

    seconds = {load.depth: load.seconds for load in model.loads}
    return [
        model.model,
        *(seconds_text(seconds[depth]) for depth in shown),
        f"{seconds_text(model.knee_seconds)} ({model.knee_depth})",
        f"{seconds_text(model.best_seconds)} ({model.best_depth})",
        f"{seconds_text(model.auto_seconds)} (≤ {model.auto_reads_in_flight})",
    ]


def print_loads(result: Simulation, depths: Sequence[int] | None) -> None:
    """Prints the table: with colours for a terminal that it fits on, else as plain columns."""
    names, rows = table_of(result, depths)
    widths = [max(len(row[column]) for row in [names, *rows]) for column in range(len(names))]
    if for_eyes() and print_in_colour(result, names, rows, sum(widths) + 2 * len(widths) - 2):
        return
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [names, *rows]]
    result_stream().write("".join(f"{line.rstrip()}\n" for line in [heading(result), *lines, EXPLAINED]))


def print_in_colour(result: Simulation, names: list[str], rows: list[list[str]], width: int) -> bool:
    """Prints the table with colours; returns False, with nothing printed, if the terminal is too narrow or dumb."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if console.is_dumb_terminal or console.width < width:
        return False
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold cyan")
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(heading(result), soft_wrap=True)
    console.print(table)
    console.print(EXPLAINED, soft_wrap=True)
    return True
