"""``dmsnap merge``: a snapshot goes back into its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.options import PATH, json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import print_json, print_warning, result_stream
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.sizes import rate_callback
from dmsnap.cli.text import printable, readable_size
from dmsnap.cli.tracing import trace_option, traced

if TYPE_CHECKING:
    from dmsnap.library.merging import MergeResult

STOPPED = "merge: stopped; run the same command to go on"


@verb("merge")
@snap_argument
@origin_option(required=True)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be written.")
@click.option(
    "--max-rate", metavar="SIZE", callback=rate_callback, help="Write at most this much a second to ORIGIN: 50M, 512K."
)
@click.option(
    "--other",
    "others",
    metavar="SNAP",
    type=PATH,
    multiple=True,
    help="The store of another snapshot of ORIGIN, which is to keep its content; may be given many times.",
)
@prefetch_option
@trace_option
@json_option
def command(
    snap: str,
    origin: str | None,
    dry_run: bool,
    max_rate: int | None,
    others: tuple[str, ...],
    prefetch: str,
    trace: str | None,
    as_json: bool,
) -> None:
    """Write the content of the snapshot SNAP back into its origin; afterwards SNAP is empty and can be deleted.

    The snapshot and its origin must not be in use: unmount and deactivate them first. Ctrl-C stops the merge; the same
    command goes on where it stopped, also after a 'kill -9' or a power failure, and so can a kernel.

    Other snapshots of the same ORIGIN lose their content by a merge, unless each is named with --other: they get copies
    of what is overwritten. Of a snapshot in LVM the others in its group are known. LVM's metadata stays as it is: what
    is to be run so that LVM lets go of the snapshot is printed at the end.
    """
    result_stream()  # without one, nobody would hear what was done
    with traced(trace, snap, origin, *others) as recorder:
        try:
            with progress_bar(f"merge {printable(snap)}", wanted=not as_json) as report:
                result = dmsnap.merge(
                    snap,
                    origin,
                    others=others,
                    dry_run=dry_run,
                    max_rate_bytes=max_rate,
                    prefetch=prefetch,
                    trace=recorder,
                    progress=report,
                    warn=print_warning,
                )
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(STOPPED) from interrupt
        if as_json:
            print_json(result.to_json())
        else:
            where = "its origin" if origin is None else printable(origin)
            result_stream().write(sentence(result, printable(snap), where) + "\n")
            if result.still_to_run and not dry_run:
                result_stream().write("LVM does not know that yet; run: " + "; ".join(result.still_to_run) + "\n")


def sentence(result: MergeResult, snap: str, origin: str) -> str:
    """What a merge did, or would do, for people."""
    if not result.chunks:
        return f"{snap}: nothing to merge, the snapshot is empty"
    size, runs = readable_size(result.written_bytes), "1 run" if result.runs == 1 else f"{result.runs:,} runs"
    text = f"{snap}: {size} in {runs} {'would be' if result.dry_run else 'were'} written to {origin}"
    if result.kept_bytes:
        text += f", {readable_size(result.kept_bytes)} copied to other snapshots before"
    return text
