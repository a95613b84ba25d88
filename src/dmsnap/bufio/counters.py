"""What a client counts, so that people can see why prefetch helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Counters", "Trace"]

Trace = Callable[[float, str, int], object]
"""Hears ``(time, event, block)``, the time of the device's `BlockDevice.clock`.

It is called with the client's lock taken, maybe from a thread of the device: it must be quick, must not raise and must
not call the client. Events: ``hit``, ``wait`` (a hit on a pending read), ``miss`` (a read starts), ``new``,
``prefetch`` (a read starts), ``arrived`` (a read ended), ``release``, ``forget``, ``evict``, ``drop`` (after an error),
``write`` (submitted), ``written``.
"""


@dataclass(slots=True)
class Counters:
    """Counts since the client was made, and the state at the moment of asking.

    Attributes:
        hits: Reads, gets and news that found the block cached, pending reads included.
        misses: Reads and news that did not.
        prefetched: Reads started ahead of demand.
        prefetch_wasted: Prefetched blocks that were dropped before anybody asked for them.
        waits: Hits that had to wait for a pending read.
        sleeps: Times a caller slept until another released a buffer.
        evicted: Blocks dropped to make room.
        writes: Writes submitted.
        read_errors: Reads that failed.
        write_errors: Writes that failed.
        in_flight: Reads pending now.
        max_in_flight: The most reads that were ever pending at once.
        writes_in_flight: Writes queued or on their way now.
        held: Buffers held now.
        clean: Buffers in the CLEAN list now.
        dirty: Buffers in the DIRTY list now, written ones that were not moved yet included.
        memory_blocks: Blocks of memory in use now.
    """

    hits: int = 0
    misses: int = 0
    prefetched: int = 0
    prefetch_wasted: int = 0
    waits: int = 0
    sleeps: int = 0
    evicted: int = 0
    writes: int = 0
    read_errors: int = 0
    write_errors: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    writes_in_flight: int = 0
    held: int = 0
    clean: int = 0
    dirty: int = 0
    memory_blocks: int = 0
