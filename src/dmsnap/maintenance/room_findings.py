"""What is told of the room in a store: how it was lost, wasted, or is about to run out."""

from __future__ import annotations

from collections.abc import Iterator

from dmsnap.maintenance.judging_records import Geometry, RecordFacts
from dmsnap.store.finding import Finding, Kind, Severity

__all__ = ["chunks_near_the_end", "invalid", "leaked", "may_have_been_under_way", "room_findings"]

_IN_FLIGHT = 2048
"""Chunks that a kernel has under way at once: their records are not written if the snapshot becomes invalid then."""
_SMALL_STORE = 4
"""Of a small store, one chunk in so many may have been under way."""


def room_findings(facts: RecordFacts, geometry: Geometry, distinct_origins: int) -> Iterator[Finding]:
    """Yields what there is to tell of a store that is valid and whole.

    Args:
        facts: Of its records.
        geometry: Of the store.
        distinct_origins: Chunks of the origin that have been copied.
    """
    left = geometry.capacity - facts.highest - 1
    may_grow = geometry.origin_chunks is None or distinct_origins < geometry.origin_chunks
    if left <= 0 and may_grow:
        message = "no chunk is left: at the next new one a kernel makes the snapshot invalid"
        yield Finding(Kind.FULL, Severity.WARNING, message, "make the COW device larger, or merge the snapshot")
    elif _no_next_area(geometry) and (geometry.origin_chunks is None or geometry.origin_chunks >= geometry.capacity):
        message = (
            f"the last of {geometry.capacity} chunks for data cannot be used: as soon as it is, a kernel looks for the"
            f" next metadata area past the end of the device, and makes the snapshot invalid; {left} are left"
        )
        advice = f"make the COW device larger, by {geometry.chunk_bytes} bytes or more"
        yield Finding(Kind.NEXT_AREA, Severity.WARNING, message, advice)


def chunks_near_the_end(geometry: Geometry) -> int:
    """How few chunks have to be left of an invalid store for it to be called full."""
    return max(2, min(_IN_FLIGHT, geometry.capacity // _SMALL_STORE))


def may_have_been_under_way(left: int, geometry: Geometry) -> bool:
    """Tells whether so many chunks at the end of an invalid store may have been copied without a record.

    Records wait until no copy is under way or their area is full (Linux dm-snapshot), and are not written then.
    """
    return left <= _IN_FLIGHT + geometry.per_area


def invalid(facts: RecordFacts, geometry: Geometry, *, reached_the_end: bool) -> Finding:
    """Returns the finding for a store that is marked invalid, with what is the likeliest cause.

    Args:
        facts: Of its records.
        geometry: Of the store.
        reached_the_end: Whether chunks near the end hold data, though there are no records of them.
    """
    left = max(0, geometry.capacity - facts.highest - 1)
    marked = f"marked invalid, so that kernels give nothing of it; {left} of {geometry.capacity} chunks were left"
    if left > chunks_near_the_end(geometry):
        if not reached_the_end:
            cause = "not full: probably an error of a device, or memory ran out, unless it was made larger since"
            if may_have_been_under_way(left, geometry):
                cause += ", or it overflowed by copies of zeros, which leave no trace before there are records of them"
            advice = (
                "look for errors in the kernel's log; 'dmsnap repair --accept invalid-error' brings back what there is"
            )
            return Finding(Kind.INVALID_ERROR, Severity.DAMAGE, f"{marked}: {cause}", advice, offset_bytes=4)
        marked += ", and the last of them hold data, though there are no records of them"
    cause = "the next metadata area lies past the end" if _no_next_area(geometry) else "it probably overflowed"
    advice = "'dmsnap repair --accept invalid-full' brings it back as it was then; later changes of the origin show"
    return Finding(Kind.INVALID_FULL, Severity.DAMAGE, f"{marked}: {cause}", advice, offset_bytes=4)


def leaked(facts: RecordFacts) -> Finding:
    """Returns the finding for chunks that nothing points at."""
    message = f"{facts.leaked} of {facts.highest + 1} chunks are lost to the store: no record points at them"
    return Finding(Kind.LEAKED, Severity.WARNING, message, "'dmsnap compact' gives them back", facts.leaked)


def _no_next_area(geometry: Geometry) -> bool:
    """Whether all areas can fill up, and the one that must follow lies past the end (C = 1 modulo the stride)."""
    return geometry.cow_chunks % (geometry.per_area + 1) == 1
