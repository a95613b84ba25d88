"""``dmsnap check``: everything that is wrong or odd with a store, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.findings import COLOURS, finding_lines
from dmsnap.cli.options import json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import for_eyes, print_json, result_stream
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.text import printable, readable_size
from dmsnap.cli.tracing import trace_option, traced

if TYPE_CHECKING:
    from dmsnap.maintenance.checking import CheckReport


@verb("check")
@snap_argument
@origin_option(required=False)
@prefetch_option
@trace_option
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing: the exit status tells.")
@click.pass_context
def command(
    context: click.Context,
    snap: str,
    origin: str | None,
    prefetch: str,
    trace: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find what is wrong or odd with the store SNAP, and say what to do about it.

    Notes and warnings are told, and the exit status is 0; damage makes it 1. With --origin, records for chunks that
    the origin does not have are found too. Nothing is written to the store.
    """
    if as_json and quiet:
        raise click.UsageError("--json and --quiet exclude each other")
    with traced(trace, snap, origin) as recorder:
        with progress_bar(f"check {printable(snap)}", wanted=not as_json and not quiet) as progress:
            report = dmsnap.check(snap, origin=origin, prefetch=prefetch, trace=recorder, progress=progress)
        if as_json:
            print_json(report.to_json())
        elif not quiet:
            coloured = for_eyes()
            stream = result_stream()
            for severity, line in lines(report):
                stream.write(click.style(line, fg=COLOURS[severity], bold=True) if severity and coloured else line)
    if report.damaged:
        context.exit(1)


def lines(report: CheckReport) -> Iterator[tuple[str, str]]:
    """Yields what to tell a person, in pieces: each with the severity whose colour it gets, or none."""
    yield "", f"{printable(report.name)}: {'; '.join([_verdict(report), *_numbers(report)])}\n"
    yield from finding_lines(report.findings)


def _verdict(report: CheckReport) -> str:
    if report.damaged:
        return "damaged"
    return "sound, but see below" if report.findings else "sound"


def _numbers(report: CheckReport) -> Iterator[str]:
    if report.chunk_size_bytes is None:
        return
    areas = "1 area" if report.areas == 1 else f"{report.areas} areas"
    yield f"{report.exceptions} exceptions in {areas}, chunks of {readable_size(report.chunk_size_bytes)}"
    yield f"{report.left_chunks} left"
