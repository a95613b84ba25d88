"""``dmsnap status``: the words that ``dmsetup status`` prints after the target's name."""

from __future__ import annotations

import dmsnap
from dmsnap.cli.options import prefetch_option, snap_argument, verb
from dmsnap.cli.output import result_stream
from dmsnap.cli.tracing import trace_option, traced


@verb("status")
@snap_argument
@prefetch_option
@trace_option
def command(snap: str, prefetch: str, trace: str | None) -> None:
    """Print the kernel's status words for the store SNAP.

    These are 'ALLOCATED/TOTAL METADATA' in sectors of 512 bytes, or 'Invalid', exactly as 'dmsetup status' prints
    them for the same store.
    """
    with traced(trace, snap) as recorder:
        words = dmsnap.status(snap, prefetch=prefetch, trace=recorder)
        result_stream().write(words + "\n")
