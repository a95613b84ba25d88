"""``dmsnap restore``: a store made of a dump."""

from __future__ import annotations

import sys

import click

import dmsnap
from dmsnap.cli.options import PATH, json_option, verb
from dmsnap.cli.output import flush_results, print_json, print_warning, result_stream
from dmsnap.cli.progress import progress_bar
from dmsnap.cli.sizes import size_callback
from dmsnap.cli.text import printable, readable_size
from dmsnap.errors import DmsnapError


class InputClosed(DmsnapError):
    """The command was started without a standard input."""


def _size(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    return None if value is None else size_callback(context, parameter, value)


@verb("restore")
@click.argument("dump", metavar="DUMP", type=PATH)
@click.option("-o", "--output", "out", metavar="NEW", type=PATH, required=True, help="The file to make.")
@click.option("--size", metavar="SIZE", callback=_size, help="The size of NEW: 64M, 10G; otherwise as in the dump.")
@click.option(
    "--data-from", metavar="OLD", type=PATH, help="The store that was dumped: what its chunks hold is copied from it."
)
@click.option("--force", is_flag=True, help="Replace NEW, if it is a file that exists and no store.")
@json_option
def command(dump: str, out: str, size: int | None, data_from: str | None, force: bool, as_json: bool) -> None:
    """Make the store NEW of what 'dmsnap dump' wrote; DUMP '-' is stdin. The format is found out.

    The metadata is what it was, byte for byte. The data is what is in the dump (dump --data) or comes from OLD;
    without either, NEW is for looking at its metadata only. NEW appears under its name once it is whole.
    """
    stream = result_stream()
    if dump == "-" and sys.stdin is None:
        raise InputClosed("standard input is closed", hint="name a file instead of '-'")
    with progress_bar(f"restore {printable(out)}", wanted=not as_json) as report:
        result = dmsnap.restore(
            sys.stdin.buffer if dump == "-" else dump,
            out,
            size_bytes=size,
            data_from=data_from,
            overwrite=force,
            progress=report,
        )
    if as_json:
        print_json(result.to_json())
    else:
        stream.write(
            f"{printable(out)}: {result.exceptions} exceptions, {readable_size(result.data_bytes)} of data,"
            f" in {readable_size(result.size_bytes)}\n"
        )
    flush_results()
    if result.exceptions and not result.data_bytes:
        print_warning("the chunks of the new store are zeros: dump with --data, or restore with --data-from")
