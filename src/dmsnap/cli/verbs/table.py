"""``dmsnap table``: how to activate a snapshot in a kernel."""

from __future__ import annotations

import click

import dmsnap
from dmsnap.cli.options import json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import print_json, print_warning, result_stream
from dmsnap.cli.tracing import trace_option, traced


@verb("table")
@snap_argument
@origin_option(required=True)
@click.option("--name", default=None, help="What to call the device under /dev/mapper; default: snap, or as LVM does.")
@prefetch_option
@trace_option
@json_option
def command(snap: str, origin: str | None, name: str | None, prefetch: str, trace: str | None, as_json: bool) -> None:
    """Print the commands that activate the store SNAP in a kernel, the device-mapper table among them.

    Of a volume in LVM these are the devices and tables that LVM itself would make.

    Nothing is run: the commands need root. Regular files get loop devices. Names with characters that do not print are
    quoted as $'...', which bash, zsh and busybox know.
    """
    with traced(trace, snap, origin) as recorder:
        activation = dmsnap.table(snap, origin, name=name, prefetch=prefetch, trace=recorder, warn=print_warning)
        if as_json:
            print_json(activation._asdict())
            return
        result_stream().write(f"{activation}\n")
