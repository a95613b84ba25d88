"""``dmsnap compact``: the smallest store with the same content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import dmsnap
from dmsnap.cli.options import PATH, json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import print_json, print_warning, result_stream
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.sizes import chunk_size_callback, size_callback
from dmsnap.cli.text import printable, readable_size
from dmsnap.cli.tracing import trace_option, traced
from dmsnap.library.volumes.address import is_lvm_address

if TYPE_CHECKING:
    from dmsnap.library.compaction import CompactResult


@verb("compact")
@snap_argument
@click.option("-o", "--output", "out", metavar="NEW", type=PATH, required=True, help="The new store, a new file.")
@origin_option(required=False)
@click.option("--drop-unchanged", is_flag=True, help="Leave out chunks that are equal to ORIGIN.")
@click.option(
    "--chunk-size", metavar="SIZE", callback=chunk_size_callback, help="Another chunk size: 4K, 64K; needs ORIGIN."
)
@click.option("--sort", is_flag=True, help="Put the chunks in the order of the origin.")
@click.option(
    "--size", metavar="SIZE", callback=size_callback, default="0", help="Make NEW at least that large: room to grow."
)
@click.option("--extra", metavar="SIZE", callback=size_callback, default="0", help="Make NEW larger by that.")
@prefetch_option
@trace_option
@json_option
def command(
    snap: str,
    out: str,
    origin: str | None,
    drop_unchanged: bool,
    chunk_size: int | None,
    sort: bool,
    size: int,
    extra: int,
    prefetch: str,
    trace: str | None,
    as_json: bool,
) -> None:
    """Write the smallest store that has the same content as SNAP, which is only read.

    Chunks that nothing points at are gone, and so is all room to grow: a snapshot that is to be written to further, or
    whose origin is, needs --size or --extra. With --chunk-size and --drop-unchanged it is read beside its ORIGIN.
    """
    result_stream()  # without one, nobody would hear what was done
    if origin is None and not is_lvm_address(snap) and (drop_unchanged or chunk_size is not None):
        raise click.UsageError("--drop-unchanged and --chunk-size need --origin")
    with traced(trace, snap, origin, out) as recorder:
        with progress_bar(f"compact {printable(snap)}", wanted=not as_json) as report:
            result = dmsnap.compact(
                snap,
                out,
                origin=origin,
                drop_unchanged=drop_unchanged,
                chunk_size_bytes=chunk_size,
                sort=sort,
                size_bytes=size,
                extra_bytes=extra,
                prefetch=prefetch,
                trace=recorder,
                progress=report,
                warn=print_warning,
            )
        if as_json:
            print_json(result.to_json())
        else:
            result_stream().write(sentence(result, printable(out)) + "\n")


def sentence(result: CompactResult, out: str) -> str:
    """What became of a store, for people."""
    chunks = f"{result.exceptions:,} chunk{'' if result.exceptions == 1 else 's'} of"
    before = f"{readable_size(result.size_before_bytes)} and {result.exceptions_before:,}"
    return f"{out}: {readable_size(result.size_bytes)}, {chunks} {readable_size(result.chunk_size_bytes)}; was {before}"
