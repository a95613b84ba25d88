"""What is odd in a store, as values: a finding is told, and only becomes an error where somebody asks for the data."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "FindingKind"]


class FindingKind(enum.StrEnum):
    """The kinds of oddity that loading notices."""

    DUPLICATE = "duplicate"
    """An origin chunk has more than one record; the one that Linux would find counts, mostly the first."""
    OUTSIDE_COW = "outside-cow"
    """A record points past the end of the COW device (a store cut short, or a damaged number)."""
    INTO_METADATA = "into-metadata"
    """A record points at the header or at a metadata area."""
    OUTSIDE_ORIGIN = "outside-origin"
    """A record is for a chunk that the origin does not have."""
    TOP_BITS = "top-bits"
    """A record has some of bits 56-63 set, which no kernel writes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of oddity and where it was first seen.

    Attributes:
        kind: What is odd.
        count: How many records are.
        area: Metadata area of the first one; None where only the number is known (duplicates).
        index: Its record number within the area, or None.
        offset_bytes: Where that record lies on the COW device, or None.
        message: One line for people.
    """

    kind: FindingKind
    count: int
    area: int | None
    index: int | None
    offset_bytes: int | None
    message: str
