"""``dmsnap dump``: what a store holds, as XML, as lines of JSON, or packed."""

from __future__ import annotations

import sys

import click

import dmsnap
from dmsnap.cli.options import PATH, prefetch_option, snap_argument, verb
from dmsnap.cli.output import for_eyes, result_stream
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.text import printable
from dmsnap.cli.tracing import trace_option, traced
from dmsnap.errors import DmsnapError


class TerminalInTheWay(DmsnapError):
    """A packed dump would go to a terminal."""


@verb("dump")
@snap_argument
@click.option("-o", "--output", "out", metavar="OUT", type=PATH, help="A file to write to, in place of stdout.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["xml", "json", "packed"]),
    default="xml",
    show_default=True,
    help="json is one object a line; packed is small, for bug reports: it never has user data in it.",
)
@click.option("--data", is_flag=True, help="Also what the chunks hold, in base64; not with packed.")
@click.option("--force", is_flag=True, help="Replace OUT, if it is a file that exists.")
@prefetch_option
@trace_option
def command(snap: str, out: str | None, form: str, data: bool, force: bool, prefetch: str, trace: str | None) -> None:
    """Write down what the store SNAP holds: its header and each exception, in their order.

    'dmsnap restore' makes the same metadata of it again, byte for byte, also of a store that is invalid or has odd
    numbers in it. A dump that was cut short is noticed.
    """
    if data and form == "packed":
        raise click.UsageError("--data does not go with --format packed, which never has user data in it")
    if out is None and form == "packed" and for_eyes():
        raise TerminalInTheWay("a packed dump would garble the terminal", hint="name a file with -o, or pipe it on")
    with traced(trace, snap, out) as recorder:
        with progress_bar(f"dump {printable(snap)}", wanted=out is not None or not for_eyes()) as report:
            count = dmsnap.dump(
                snap,
                sys.stdout.buffer if out is None else out,
                format=form,
                data=data,
                overwrite=force,
                prefetch=prefetch,
                trace=recorder,
                progress=report,
            )
        if out is not None:
            result_stream().write(f"{printable(out)}: {count} exceptions{' and their data' if data else ''}\n")
