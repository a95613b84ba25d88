"""What is told of records: one finding for each kind, with the place of the first."""

from __future__ import annotations

from collections.abc import Iterator

from dmsnap.maintenance.finding import Finding, Kind, Severity
from dmsnap.maintenance.judging_records import Geometry, Place, RecordFacts
from dmsnap.store.format import RECORD_BYTES, area_chunk

__all__ = ["early_end", "end_lost", "placed", "record_findings"]

_REPAIR = "'dmsnap repair' saves what can be had and lists what is lost"
_DAMAGE, _WARNING, _NOTE = Severity.DAMAGE, Severity.WARNING, Severity.NOTE


def record_findings(facts: RecordFacts, geometry: Geometry) -> Iterator[Finding]:
    """Yields what is wrong or odd in the records that there are."""
    origin = f"the origin, which has {geometry.origin_chunks} chunks"
    for kind, severity, place, what, advice in (
        (
            Kind.TRUNCATED,
            _DAMAGE,
            facts.lost,
            f"with a copy behind chunk {geometry.cow_chunks - 1}, where the device ends: it was cut short",
            f"get the whole of the store; or else {_REPAIR}",
        ),
        (Kind.OUTSIDE_COW, _DAMAGE, facts.outside_cow, "with a copy past the end of the COW device", _REPAIR),
        (Kind.INTO_METADATA, _DAMAGE, facts.into_metadata, "with a copy in the header or a metadata area", _REPAIR),
        (Kind.TOP_BITS, _DAMAGE, facts.top_bits, "with some of bits 56-63 set, which no kernel writes", _REPAIR),
        (Kind.OUTSIDE_ORIGIN, _DAMAGE, facts.impossible_origin, "for a chunk that no device can have", _REPAIR),
        (
            Kind.OUTSIDE_ORIGIN,
            _WARNING,
            facts.outside_origin,
            f"for a chunk past the end of {origin}",
            "is it the right origin, and has it its full size?",
        ),
        (
            Kind.DUPLICATE_ORIGIN,
            _DAMAGE,
            facts.duplicate_origin,
            "for a chunk that an earlier one is for: kernels read one of them, mostly the first, and cannot merge",
            "'dmsnap repair' keeps the one that kernels read",
        ),
        (
            Kind.DUPLICATE_COW,
            _DAMAGE,
            facts.shared_copies,
            "with a copy that another one has: the content of at least one of the two is lost",
            _REPAIR,
        ),
        (
            Kind.OUT_OF_ORDER,
            _NOTE,
            facts.out_of_order,
            "with a copy before that of the record before, as kernels before snapshot target 1.12.0 wrote them",
            "nothing needs to be done; 'dmsnap compact' brings them into order",
        ),
    ):
        if place.count:
            records = "1 record" if place.count == 1 else f"{place.count} records"
            yield placed(kind, severity, f"{records} {what}", advice, place, geometry)


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
    return placed(Kind.END_LOST, _DAMAGE, message, advice, Place(count - first, first), geometry)


def early_end(end: int, place: Place, geometry: Geometry) -> Finding:
    """Returns the finding for records behind the end marker, which is record ``end``."""
    records = "1 record" if place.count == 1 else f"{place.count} records"
    message = f"behind the end marker, record {end}, {records} that fit: the store does not end there"
    advice = "'dmsnap repair --accept early-end' brings back those that can be read"
    return placed(Kind.EARLY_END, _DAMAGE, message, advice, place, geometry)


def placed(kind: Kind, severity: Severity, message: str, advice: str, place: Place, geometry: Geometry) -> Finding:
    """Returns a finding about records, with the place of the first one."""
    area, index = divmod(place.first, geometry.per_area)
    offset = area_chunk(area, geometry.per_area) * geometry.chunk_bytes + index * RECORD_BYTES
    return Finding(kind, severity, message, advice, place.count, area, index, offset)
