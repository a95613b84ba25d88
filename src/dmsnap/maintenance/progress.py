"""How far a stream of events has come in its store: for those who wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions
from dmsnap.store.format import area_chunk, exceptions_per_area

__all__ = ["Progress", "telling"]

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done_bytes, total_bytes)``, called now and then in the calling thread."""

_STEP_BYTES = 8 << 20
"""It is told no more often than that: data may come chunk by chunk."""


def telling(events: Events, progress: Progress | None) -> Events:
    """Returns the same events, and tells on the way up to which byte of the COW device they have come.

    Kernels give out a device from its beginning to its end, so that a store which is full comes there evenly; with one
    that has room left the end comes at once.
    """
    return events if progress is None else _telling(events, progress)


def _telling(events: Events, progress: Progress) -> Events:
    total = told = chunk_bytes = per_area = 0
    for event in events:
        done = told
        if isinstance(event, Begin):
            total, chunk_bytes = event.cow_size_bytes, event.chunk_bytes
            per_area = exceptions_per_area(event.header.chunk_size_sectors)
            progress(0, total)
        elif isinstance(event, Exceptions):
            done = area_chunk(event.first // per_area, per_area) * chunk_bytes
        elif isinstance(event, Data):
            done = event.cow_chunk * chunk_bytes
        elif isinstance(event, End):
            progress(total, total)
        if done >= told + _STEP_BYTES:
            told = done
            progress(min(done, total), total)
        yield event
