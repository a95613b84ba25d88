"""``dmsnap table``: how to activate a snapshot in a kernel."""

from __future__ import annotations

import click

import dmsnap
from dmsnap.cli.options import json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import print_json, result_stream
from dmsnap.cli.text import printable


@verb("table")
@snap_argument
@origin_option(required=True)
@click.option("--name", default="snap", show_default=True, help="What to call the device under /dev/mapper.")
@prefetch_option
@json_option
def command(snap: str, origin: str, name: str, prefetch: str | int, as_json: bool) -> None:
    """Print the commands that activate the store SNAP in a kernel, the device-mapper table among them.

    Nothing is run: the commands need root. Regular files get loop devices.
    """
    activation = dmsnap.table(snap, origin, name=name, prefetch=prefetch)
    if as_json:
        print_json(activation._asdict())
        return
    result_stream().write("".join(printable(line) + "\n" for line in activation.commands))
