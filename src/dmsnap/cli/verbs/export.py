"""``dmsnap export``: a snapshot's content as a raw image."""

from __future__ import annotations

import sys

import click

import dmsnap
from dmsnap.cli.options import PATH, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import OutputClosed, print_warning
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.text import printable, readable_size
from dmsnap.cli.tracing import trace_option, traced
from dmsnap.errors import DmsnapError


class TerminalInTheWay(DmsnapError):
    """A raw image would go to a terminal, and nobody said that it may."""


@verb("export")
@snap_argument
@origin_option(required=True)
@click.argument("out", metavar="OUT", type=PATH)
@click.option(
    "--force",
    is_flag=True,
    help="Overwrite OUT: a file, a block device, or a terminal with '-'. Take an ORIGIN that cannot be the right one.",
)
@prefetch_option
@trace_option
def command(snap: str, origin: str | None, out: str, force: bool, prefetch: str, trace: str | None) -> None:
    """Write the content of the snapshot SNAP as the raw image OUT; '-' is stdout.

    SNAP may also be any volume in LVM: lvm:VG/LV@IMAGE[,IMAGE...].

    Holes stay holes. A file appears under the name OUT only once it is whole. What SNAP and ORIGIN lie on, and
    whatever is itself a COW store, is never overwritten.
    """
    if out == "-":
        if sys.stdout is None:
            raise OutputClosed("standard output is closed", hint="name a file instead of '-'")
        if sys.stdout.isatty() and not force:
            raise TerminalInTheWay("a raw image would garble the terminal", hint="name a file, or pipe it on")
    with traced(trace, snap, origin, out if out != "-" else None) as recorder:
        with progress_bar("export" if out == "-" else f"export {printable(out)}") as report:
            result = dmsnap.export(
                snap,
                origin,
                sys.stdout.buffer if out == "-" else out,
                overwrite=force,
                any_origin=force,
                prefetch=prefetch,
                trace=recorder,
                progress=report,
                warn=print_warning,
            )
        if report is not None and out != "-":
            size, written = readable_size(result.size_bytes), readable_size(result.written_bytes)
            click.echo(f"{printable(out)}: {size}, of which {written} are data", err=True)
