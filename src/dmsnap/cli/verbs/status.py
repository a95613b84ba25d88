"""``dmsnap status``: the words that ``dmsetup status`` prints after the target's name."""

from __future__ import annotations

import dmsnap
from dmsnap.cli.options import prefetch_option, snap_argument, verb
from dmsnap.cli.output import result_stream


@verb("status")
@snap_argument
@prefetch_option
def command(snap: str, prefetch: str) -> None:
    """Print the kernel's status words for the store SNAP.

    These are 'ALLOCATED/TOTAL METADATA' in sectors of 512 bytes, or 'Invalid', exactly as 'dmsetup status' prints
    them for the same store.
    """
    result_stream().write(dmsnap.status(snap, prefetch=prefetch) + "\n")
