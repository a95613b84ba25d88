"""``dmsnap diff``: two snapshots of one origin side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.options import PATH, json_option, origin_option, prefetch_option, verb
from dmsnap.cli.output import for_eyes, print_json_array, print_warning, result_stream
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.text import printable
from dmsnap.cli.tracing import trace_option, traced

if TYPE_CHECKING:
    from dmsnap.maintenance.comparing import DiffRange

NOT_COMPARED = "what only one store keeps was not compared: that needs --origin"


@verb("diff")
@click.argument("a", metavar="A", type=PATH)
@click.argument("b", metavar="B", type=PATH)
@origin_option(required=False)
@click.option("--compare", is_flag=True, help="Read both snapshots, and say where they really differ.")
@prefetch_option
@trace_option
@json_option
def command(a: str, b: str, origin: str | None, compare: bool, prefetch: str, trace: str | None, as_json: bool) -> None:
    """List the byte ranges of the origin that the stores A and B of two snapshots of it keep content for.

    Each is in A only, in B only, or in both. What neither keeps is the same in both snapshots; what is in both may be
    equal, and --compare finds that out. Differences are an answer and no failure: the exit status is 0. With --json the
    output is an array of {"offset", "length", "where", "differs"}.
    """
    with traced(trace, a, b, origin) as recorder:
        unknown: list[DiffRange] = []
        alone = not as_json and not for_eyes()  # ranges that come out on the terminal are progress enough
        with progress_bar(f"diff {printable(a)} {printable(b)}", wanted=compare and alone) as report:
            ranges = dmsnap.diff(
                a,
                b,
                origin=origin,
                compare=compare,
                prefetch=prefetch,
                trace=recorder,
                progress=report,
                warn=print_warning,
            )
            told = _noting(ranges, unknown) if compare else ranges
            if as_json:
                print_json_array(each.to_json() for each in told)
            else:
                _print_lines(told, compare=compare)
        if unknown:
            print_warning(NOT_COMPARED)


def _noting(ranges: Iterable[DiffRange], unknown: list[DiffRange]) -> Iterator[DiffRange]:
    """Yields the ranges, and keeps the first one that was not compared."""
    for each in ranges:
        if each.differs is None and not unknown:
            unknown.append(each)
        yield each


def _print_lines(ranges: Iterable[DiffRange], *, compare: bool) -> None:
    words = {True: "differ", False: "equal", None: "unknown"}
    stream = result_stream()
    stream.write(f"{'offset':>16}  {'length':>16}  in" + ("    content\n" if compare else "\n"))
    for each in ranges:
        where = "both" if each.where == "both" else each.where.upper()
        end = f"{where:<4}  {words[each.differs]}" if compare else where
        stream.write(f"{each.offset:>16}  {each.length:>16}  {end}\n")
