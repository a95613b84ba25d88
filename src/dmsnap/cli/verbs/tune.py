"""``dmsnap tune``: prefetch depth against load time on a real device, and how long a store will take to load."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.options import PATH, json_option, plot_option, verb
from dmsnap.cli.output import flush_results, print_json, result_stream
from dmsnap.cli.progress import step_bar
from dmsnap.cli.sizes import chunk_size_callback
from dmsnap.cli.text import printable, readable_size
from dmsnap.library.plotting import seconds_text
from dmsnap.library.tuning.defaults import PREDICT_SECONDS, TUNE_SECONDS

if TYPE_CHECKING:
    from dmsnap.library.tuning.own_load import LoadEstimate
    from dmsnap.library.tuning.prediction import Prediction
    from dmsnap.library.tuning.tuning import TuneResult

LARGEST_NUMBER = {"min": 60, "h": 24}
STOPPED = "tune: stopped; the result is of the trials until then"
MEANT = {
    "own": "the areas of this store",
    "asked": "a store as asked for",
    "none": "no store was found, so as if one filled the device",
    "invalid": "its store is invalid, so as if another one filled the device",
}
PAGE_CACHE = {
    "direct": "past the page cache",
    "dropped": "dropped from the page cache before each read",
    "memory": "of a file that lies in memory and on no device",
    "none": "maybe out of the page cache, which this system cannot bypass",
}


def _seconds_callback(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise click.BadParameter("give a number of seconds above 0")
    return value


@verb("tune")
@click.argument("device", metavar="DEVICE|SNAP", type=PATH)
@click.option("--areas", metavar="N", type=click.IntRange(1, 1 << 40), help="Say it for a store of so many areas.")
@click.option(
    "--chunk-size",
    metavar="SIZE",
    callback=chunk_size_callback,
    help="Of that store, a power of two from 512b to 1G.  [default: SNAP's own, else 4K]",
)
@click.option(
    "--time-limit",
    metavar="SECONDS",
    type=float,
    callback=_seconds_callback,
    help=f"Stop after so long.  [default: {TUNE_SECONDS:g}, with --predict {PREDICT_SECONDS:g}]",
)
@click.option("--predict", "only_predict", is_flag=True, help="Only say how long SNAP takes to load, by a few samples.")
@plot_option
@json_option
def command(
    device: str,
    areas: int | None,
    chunk_size: int | None,
    time_limit: float | None,
    only_predict: bool,
    plot: str | None,
    as_json: bool,
) -> None:
    """Measure how prefetch depth and load time go together on a device, and how long a store takes to load.

    The device may be in use: it is only read, past the page cache. A store (SNAP) is measured by its own areas, another
    DEVICE as if a store filled it. Each depth has several short trials, on places that were not read before. The
    recommended depth is the smallest within 10 % of the fastest.

    Loading is what activating a snapshot waits for. The prediction is for Linux before 3.14, which reads area by area,
    for Linux since then, which prefetches 12, and for dmsnap. Ctrl-C ends the trials and shows what there is.
    """
    for given, option in ((areas, "--areas"), (chunk_size, "--chunk-size"), (plot, "--plot")):
        if only_predict and given is not None:
            raise click.UsageError(f"{option} does not go with --predict", click.get_current_context())
    result_stream()  # without one, nobody would hear the result
    if plot is not None:
        from dmsnap.library.plotting import check_plot_file

        check_plot_file(plot, [device])
    with step_bar(f"tune {printable(device)}", wanted=not as_json) as report:
        if only_predict:
            prediction = dmsnap.predict(device, time_limit_seconds=time_limit or PREDICT_SECONDS, progress=report)
        else:
            result = dmsnap.tune(
                device,
                areas=areas,
                chunk_size_bytes=chunk_size,
                time_limit_seconds=time_limit or TUNE_SECONDS,
                progress=report,
                keep_if_interrupted=True,
            )
    if only_predict:
        _print(prediction.to_json() if as_json else _told(prediction))
        return
    _print(result.to_json() if as_json else [*_table(result), *_told(result.prediction)])
    if plot is not None:
        from dmsnap.library.tuning.plot import plot_tuning

        flush_results()
        plot_tuning(result, plot)
    if result.interrupted:
        raise KeyboardInterrupt(STOPPED)


def _print(what: dict[str, object] | list[str]) -> None:
    if isinstance(what, dict):
        print_json(what)
    else:
        result_stream().write("".join(f"{line}\n" for line in what))


def _table(result: TuneResult) -> list[str]:
    """What was measured, a line for each depth."""
    from dmsnap.library.tuning.tuning import no_clear_difference
    from dmsnap.store.prefetch import KERNEL_DEPTH

    areas = result.prediction.areas
    name = printable(result.prediction.name)
    lines = [f"{name}: load time by prefetch depth, measured: {MEANT[result.prediction.store]}"]
    lines += [f"{'depth':>5}  {'load':>12}  {'fastest':>12}  {'slowest':>12}"]
    for found in result.depths:
        seconds = (found.area_seconds, found.least_area_seconds, found.most_area_seconds)
        cells = "  ".join(f"{duration(areas * each):>12}" for each in seconds)
        marks = [
            *(["as Linux"] if found.depth == KERNEL_DEPTH else []),
            *(["recommended"] if found.depth == result.recommended_depth else []),
        ]
        lines.append(f"{found.depth:>5}  {cells}  {', '.join(marks)}".rstrip())
    if no_clear_difference(result.depths):
        lines.append("The ranges of all depths overlap: there is no clear difference.")
    if not result.complete:
        lines.append("Not all trials were run: " + ("stopped." if result.interrupted else "the time was over."))
    return [*lines, ""]


def _told(found: Prediction) -> list[str]:
    """How long a store takes to load, for people."""
    areas = "1 area" if found.areas == 1 else f"{found.areas:,} areas"
    lines = [
        f"{printable(found.name)}: to load {'' if found.areas_known else 'about '}{areas}"
        f" of {readable_size(found.chunk_size_bytes)} takes",
        f"  Linux before 3.14  {_estimate(found.kernel_before_prefetch)}",
        f"  Linux since 3.14   {_estimate(found.kernel)}",
        f"  dmsnap             {_loaded(found)}",
        f"Samples: {found.sampled_areas:,} areas, {PAGE_CACHE[found.page_cache]}, in {duration(found.seconds)}.",
    ]
    if not found.areas_known:
        lines.append("The number of areas is a guess by some of them: reading all takes longer than the time limit.")
    if found.reread_areas:
        lines.append(
            f"{found.reread_areas:,} of them were read before, for lack of others: the device's cache may have helped."
        )
    return lines


def _estimate(time: LoadEstimate | None) -> str:
    if time is None:
        return "not measured in the time"
    once = time.least_seconds == time.most_seconds
    span = "" if once else f" ({duration(time.least_seconds)} to {duration(time.most_seconds)})"
    return f"{duration(time.seconds)}{span}"


def _loaded(found: Prediction) -> str:
    said = _estimate(found.dmsnap)
    return f"{said}, as it just did" if found.dmsnap is not None and found.dmsnap_loaded else said


def duration(seconds: float) -> str:
    """A time as people say it, to two units or three digits.

    >>> duration(0.0831), duration(75), duration(150), duration(7260), duration(200000)
    ('83.1 ms', '75 s', '2 min 30 s', '2 h 1 min', '2 d 8 h')
    """
    if seconds < 120:
        return seconds_text(seconds)
    for unit, part, length, parts in (("min", "s", 60, 60), ("h", "min", 3600, 60), ("d", "h", 86400, 24)):
        whole, rest = divmod(round(seconds / length * parts), parts)
        if unit == "d" or whole < LARGEST_NUMBER[unit]:
            return f"{whole:,} {unit} {rest} {part}"
    raise AssertionError
