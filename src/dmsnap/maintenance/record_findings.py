"""What is told of records: one finding for each kind, with the place of the first."""

from __future__ import annotations

from collections.abc import Iterator

from dmsnap.maintenance.judging_records import Geometry, Place, RecordFacts
from dmsnap.store.finding import Finding, Kind, Severity
from dmsnap.store.format import record_place
from dmsnap.store.odd_records import (
    DUPLICATE,
    IMPOSSIBLE_ORIGIN,
    INTO_METADATA,
    OUTSIDE_COW,
    REPAIR,
    TOP_BITS,
    Oddity,
    outside_origin,
)

__all__ = ["early_end", "end_lost", "record_findings"]

_SHARED_COPY = Oddity(
    Kind.SHARED_COPY,
    Severity.DAMAGE,
    "with a copy that another one has: the content of at least one of the two is lost",
    REPAIR,
)
_OUT_OF_ORDER = Oddity(
    Kind.OUT_OF_ORDER,
    Severity.NOTE,
    "with a copy before that of the record before, as kernels before snapshot target 1.12.0 wrote them",
    "nothing needs to be done; 'dmsnap compact' brings them into order",
)


def record_findings(facts: RecordFacts, geometry: Geometry) -> Iterator[Finding]:
    """Yields what is wrong or odd in the records that there are."""
    for oddity, place in (
        (_truncated(geometry.cow_chunks), facts.lost),
        (OUTSIDE_COW, facts.outside_cow),
        (INTO_METADATA, facts.into_metadata),
        (TOP_BITS, facts.top_bits),
        (IMPOSSIBLE_ORIGIN, facts.impossible_origin),
        (outside_origin(geometry.origin_chunks or 0), facts.outside_origin),  # of which there are none without one
        (DUPLICATE, facts.duplicate_origin),
        (_SHARED_COPY, facts.shared_copies),
        (_OUT_OF_ORDER, facts.out_of_order),
    ):
        if place.count:
            yield oddity.told(place.count, _place(place, geometry))


def _truncated(cow_chunks: int) -> Oddity:
    what = f"with a copy behind chunk {cow_chunks - 1}, where the device ends: it was cut short"
    return Oddity(Kind.TRUNCATED, Severity.DAMAGE, what, f"get the whole of the store; or else {REPAIR}")


def end_lost(first: int, count: int, geometry: Geometry) -> Finding:
    """Returns the finding for garbage behind the records.

    Args:
        first: Number of the first that is none.
        count: How many records were read in all.
        geometry: Of the store.
    """
    said = f"the {count - first} from there on are not records for the most part"
    message = f"the end marker behind {first} records is missing: {said}"
    advice = "do not activate it; 'dmsnap repair' ends the store there"
    place = _place(Place(count - first, first), geometry)
    return Finding(Kind.END_LOST, Severity.DAMAGE, message, advice, count - first, *place)


def early_end(end: int, place: Place, geometry: Geometry) -> Finding:
    """Returns the finding for records behind the end marker, which is record ``end``."""
    records = "1 record" if place.count == 1 else f"{place.count} records"
    message = f"behind the end marker, record {end}, {records} that fit: the store does not end there"
    advice = "'dmsnap repair --accept early-end' brings back those that can be read"
    return Finding(Kind.EARLY_END, Severity.DAMAGE, message, advice, place.count, *_place(place, geometry))


def _place(place: Place, geometry: Geometry) -> tuple[int, int, int]:
    return record_place(place.first, geometry.per_area, geometry.chunk_bytes)
