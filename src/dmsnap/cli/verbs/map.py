"""``dmsnap map``: which byte ranges of the origin a snapshot keeps content of its own for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import dmsnap
from dmsnap.cli.options import json_option, origin_option, prefetch_option, snap_argument, verb
from dmsnap.cli.output import print_json_array, print_warning, result_stream
from dmsnap.cli.tracing import trace_option, traced

if TYPE_CHECKING:
    from dmsnap.transfer.changes import ChangedRange


@verb("map")
@snap_argument
@origin_option(required=False)
@prefetch_option
@trace_option
@json_option
def command(snap: str, origin: str | None, prefetch: str, trace: str | None, as_json: bool) -> None:
    """List which byte ranges of the origin changed since the snapshot SNAP was taken, or were written through it.

    Ranges ascend and are as long as they can be. With --origin they end where it ends. With --json the output is an
    array of {"offset", "length", "exists"}, in bytes.
    """
    with traced(trace, snap, origin) as recorder:
        changes = dmsnap.map_changes(snap, origin=origin, prefetch=prefetch, trace=recorder, warn=print_warning)
        if as_json:
            print_json_array(change.to_json() for change in changes)
        else:
            _print_lines(changes)


def _print_lines(changes: Iterable[ChangedRange]) -> None:
    stream = result_stream()
    stream.write(f"{'offset':>16}  {'length':>16}\n")
    for change in changes:
        stream.write(f"{change.offset:>16}  {change.length:>16}{'' if change.exists else '  zeros'}\n")
