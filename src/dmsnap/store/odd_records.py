"""What is told of odd records: in the same words whoever finds them, with the place of the first one."""

from __future__ import annotations

from typing import NamedTuple

from dmsnap.store.finding import Finding, Kind, Severity

__all__ = [
    "DUPLICATE",
    "IMPOSSIBLE_ORIGIN",
    "INTO_METADATA",
    "OUTSIDE_COW",
    "REPAIR",
    "TOP_BITS",
    "Oddity",
    "outside_origin",
]

REPAIR = "'dmsnap repair' saves what can be had and lists what is lost"
"""Advice."""


class Oddity(NamedTuple):
    """Something that records can have.

    Attributes:
        kind: What it is.
        severity: How bad.
        what: Behind the words "2 records".
        advice: What to do.
    """

    kind: Kind
    severity: Severity
    what: str
    advice: str

    def told(self, count: int, place: tuple[int, int, int] | None) -> Finding:
        """Returns the finding: so many records, the first of them at a place, if that is known."""
        records = "1 record" if count == 1 else f"{count} records"
        return Finding(self.kind, self.severity, f"{records} {self.what}", self.advice, count, *place or ())


OUTSIDE_COW = Oddity(Kind.OUTSIDE_COW, Severity.DAMAGE, "with a copy past the end of the COW device", REPAIR)
INTO_METADATA = Oddity(Kind.INTO_METADATA, Severity.DAMAGE, "with a copy in the header or a metadata area", REPAIR)
TOP_BITS = Oddity(Kind.TOP_BITS, Severity.DAMAGE, "with some of bits 56-63 set, which no kernel writes", REPAIR)
IMPOSSIBLE_ORIGIN = Oddity(Kind.OUTSIDE_ORIGIN, Severity.DAMAGE, "for a chunk that no device can have", REPAIR)
DUPLICATE = Oddity(
    Kind.DUPLICATE,
    Severity.DAMAGE,
    "for a chunk that an earlier one is for: kernels read one of them, mostly the first, and cannot merge",
    "'dmsnap repair' keeps the one that kernels read",
)


def outside_origin(origin_chunks: int) -> Oddity:
    """Returns what records beyond an origin of so many chunks have."""
    chunks = "1 chunk" if origin_chunks == 1 else f"{origin_chunks} chunks"
    what = f"for a chunk past the end of the origin, which has {chunks}"
    return Oddity(Kind.OUTSIDE_ORIGIN, Severity.WARNING, what, "is it the right origin, and has it its full size?")
