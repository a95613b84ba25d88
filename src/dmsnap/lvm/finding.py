"""What is odd in a volume group, as values: told, and an error only where somebody asks for what cannot be had."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "FindingKind"]


class FindingKind(enum.StrEnum):
    """The kinds of oddity."""

    DAMAGED_LABEL = "damaged-label"
    """A label or physical volume header that cannot be used, beside one that can."""
    DAMAGED_PARTITIONS = "damaged-partitions"
    """A partition table, or a copy of it, that cannot be used."""
    DAMAGED_METADATA = "damaged-metadata"
    """A copy of the metadata that cannot be read, or contradicts its checksum."""
    OLDER_METADATA = "older-metadata"
    """Only an older copy of the metadata could be read than the newest there was."""
    DIFFERENT_METADATA = "different-metadata"
    """Physical volumes hold copies of different age; the newest counts."""
    MISSING_VOLUME = "missing-volume"
    """A physical volume of the group is in none of the images."""
    DUPLICATE_VOLUME = "duplicate-volume"
    """A physical volume is there more than once; the first counts."""
    SHORT_VOLUME = "short-volume"
    """A physical volume is shorter than its extents need."""
    BAD_STORE = "bad-store"
    """The store of a snapshot cannot be read."""
    OLD_LEG = "old-leg"
    """A mirror that is not all there, of which the leg that is read may be one that was lost before."""
    BAD_VOLUME = "bad-volume"
    """A logical volume that contradicts itself or others: overlap, gap, loop, out of bounds, unknown names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity.

    Attributes:
        kind: What is odd.
        message: One line for people.
        group: Of which group, or empty.
        volume: Of which physical or logical volume, or empty.
        device: In which image, or empty.
        offset_bytes: Where there, or None.
    """

    kind: FindingKind
    message: str
    group: str = ""
    volume: str = ""
    device: str = ""
    offset_bytes: int | None = None
