"""``dmsnap export``: a snapshot's content as a raw image."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import click

import dmsnap
from dmsnap.cli.options import PATH, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import OutputClosed
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.text import printable, readable_size
from dmsnap.errors import DmsnapError


class OutputInTheWay(DmsnapError):
    """Something is where the result would go, and nobody said that it may be lost."""


@verb("export")
@snap_argument
@origin_option(required=True)
@click.argument("out", metavar="OUT", type=PATH)
@click.option("--force", is_flag=True, help="Overwrite OUT: a file, a block device, or a terminal with '-'.")
@prefetch_option
def command(snap: str, origin: str, out: str, force: bool, prefetch: str | int) -> None:
    """Write the content of the snapshot SNAP as the raw image OUT; '-' is stdout.

    Holes stay holes. A file appears under the name OUT only once it is whole.
    """
    if out == "-":
        _export_to_stdout(snap, origin, force=force, prefetch=prefetch)
        return
    if not force:
        _refuse_to_overwrite(out)
    with progress_bar(f"export {printable(out)}") as report:
        result = dmsnap.export(snap, origin, out, prefetch=prefetch, progress=report)
    if report is not None:
        size, written = readable_size(result.size_bytes), readable_size(result.written_bytes)
        click.echo(f"{printable(out)}: {size}, of which {written} are data", err=True)


def _export_to_stdout(snap: str, origin: str, *, force: bool, prefetch: str | int) -> None:
    if sys.stdout is None:
        raise OutputClosed("standard output is closed", hint="name a file instead of '-'")
    if sys.stdout.isatty() and not force:
        raise OutputInTheWay("a raw image would garble the terminal", hint="name a file, or pipe it on")
    with progress_bar("export") as report:
        dmsnap.export(snap, origin, sys.stdout.buffer, prefetch=prefetch, progress=report)


def _refuse_to_overwrite(out: str) -> None:
    try:
        mode = Path(out).stat().st_mode
    except OSError:  # not there, or not reachable, which the export itself says better
        return
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        raise OutputInTheWay(f"{out} exists", hint="--force overwrites it")
