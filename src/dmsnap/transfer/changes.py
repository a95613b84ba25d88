"""Which byte ranges of the origin a snapshot keeps: the list that ``map`` prints.

The JSON form is that of ``rbd diff --format json``, with a JSON boolean, so that backup tools that take it as hints can
use it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dmsnap.store import Store

__all__ = ["ChangedRange", "changed_ranges"]


class ChangedRange(NamedTuple):
    """A range of the origin for which the store keeps content of its own.

    Attributes:
        offset: First byte.
        length: Bytes.
        exists: Always true. False would say "reads as zeros", and the list serves both sides: a range may be zeros in
            the snapshot and data on the origin, or the other way round, so that each reader has to look at its own.
    """

    offset: int
    length: int
    exists: bool = True

    def to_json(self) -> dict[str, object]:
        """Returns the object of ``map --json``."""
        return self._asdict()


def changed_ranges(store: Store, size_bytes: int | None = None) -> Iterator[ChangedRange]:
    """Yields the ranges that changed: ascending, none touching the next, in memory independent of their number.

    Args:
        store: A valid store. Exceptions whose copy is lost count too: their chunks did change.
        size_bytes: The origin's size where it is known; ranges end there. Without it the last one covers its whole
            last chunk.
    """
    chunk_bytes = store.chunk_size_bytes
    for first, stop in _stretches(store):
        offset, end = first * chunk_bytes, stop * chunk_bytes
        if size_bytes is not None:
            if offset >= size_bytes:
                return
            end = min(end, size_bytes)
        yield ChangedRange(offset, end - offset)


def _stretches(store: Store) -> Iterator[tuple[int, int]]:
    """Yields (first chunk, chunk after the last) of each stretch of changed chunks, wherever their copies lie."""
    held: tuple[int, int] | None = None
    for runs in store.table.batches():
        ends = runs.origin + runs.length
        gaps = np.flatnonzero(runs.origin[1:] != ends[:-1])
        firsts = runs.origin[np.concatenate(([0], gaps + 1))].tolist()
        stops = ends[np.concatenate((gaps, [len(ends) - 1]))].tolist()
        for first, stop in zip(firsts, stops, strict=True):
            if held is not None and held[1] == first:
                held = (held[0], stop)
                continue
            if held is not None:
                yield held
            held = (first, stop)
    if held is not None:
        yield held
