"""Content on its way out: ``map`` and ``export``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from dmsnap.library.opening import Source
from dmsnap.transfer.changes import ChangedRange
from dmsnap.transfer.raw import ExportResult, Progress

__all__ = ["export", "map_changes"]


def map_changes(cow: Source, *, origin: Source | None = None) -> Iterator[ChangedRange]:
    """Yields the byte ranges of the origin that changed, ascending, as neighbouring as possible.

    ``ChangedRange(offset, length, exists)``; ``range.to_json()`` is the object of ``map --json``. The store is opened
    by the call (errors as `open_snapshot`) and closed when the iterator is exhausted or closed. With an origin the
    ranges are clipped to its size.
    """
    raise NotImplementedError


def export(
    cow: Source,
    origin: Source,
    out: str | os.PathLike[str] | BinaryIO,
    *,
    progress: Progress | None = None,
) -> ExportResult:
    """Writes the snapshot's content as a raw image.

    Args:
        cow: The COW store.
        origin: The device that the snapshot was taken of.
        out: A path (a new sparse file takes that name once it is whole; a block device is written in place), or an
            open binary file such as ``sys.stdout.buffer``, which gets everything in order, zeros too.
        progress: Called as ``progress(done_bytes, total_bytes)`` now and then and at the end, in the calling thread.

    Raises:
        DmsnapError: As `open_snapshot`; a chunk cannot be read; ``out`` cannot be written, is one of the inputs, or
            (`ReaderGone`, also a BrokenPipeError) nobody reads it any more.
    """
    raise NotImplementedError
