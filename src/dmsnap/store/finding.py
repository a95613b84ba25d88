"""What is wrong or odd in a store, as values: what it is, how bad, where, and what to do about it.

Opening a store finds what single records tell, and `dmsnap.maintenance.checking` all the rest; a finding becomes an
error only where somebody asks for what cannot be had.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Finding", "Kind", "Severity", "worst_first"]


class Severity(enum.StrEnum):
    """How bad a finding is. Only damage makes a check fail."""

    NOTE = "note"
    """Worth knowing: the store is sound, and loads and merges in any kernel."""
    WARNING = "warning"
    """Nothing is lost yet: room is wasted, or a trap lies ahead."""
    DAMAGE = "damage"
    """Content is lost or doubtful, or a kernel would refuse the store or read something else from it."""


class Kind(enum.StrEnum):
    """What can be found; the words are those that ``--accept`` takes."""

    MAGIC = "magic"
    """The header does not begin with the magic number, though what follows looks like a store."""
    VERSION = "version"
    """The header has a version that no kernel has written."""
    CHUNK_SIZE = "chunk-size"
    """The header has a chunk size that cannot be, or another one fits the areas and this one does not."""
    INVALID_FULL = "invalid-full"
    """Marked invalid, and there is no room left: it overflowed."""
    INVALID_ERROR = "invalid-error"
    """Marked invalid, though there is room: a device failed, memory ran out, or it was made larger since."""
    TRUNCATED = "truncated"
    """The device ends within the chunks that are in use: copies are missing."""
    CHAIN_PAST_THE_END = "chain-past-the-end"
    """The last area is full and its successor would lie past the end of the device: no kernel loads it."""
    UNREADABLE = "unreadable"
    """A metadata area cannot be read."""
    OUTSIDE_COW = "outside-cow"
    """Records point past the end of the COW device."""
    OUTSIDE_ORIGIN = "outside-origin"
    """Records are for chunks that the origin does not have."""
    INTO_METADATA = "into-metadata"
    """Records point at the header or at a metadata area."""
    TOP_BITS = "top-bits"
    """Records have some of bits 56-63 set, which a kernel would take for the length of a run."""
    DUPLICATE = "duplicate"
    """An origin chunk has more than one record; the one that Linux would find counts, mostly the first."""
    SHARED_COPY = "shared-copy"
    """Several records point at one chunk of the COW device."""
    OUT_OF_ORDER = "out-of-order"
    """Copies are not in the order of their records, as kernels before snapshot target 1.12.0 left them."""
    LEAKED = "leaked"
    """Chunks that no record points at, below the next free one: kernels never use them again."""
    NEXT_AREA = "next-area"
    """When the last area fills up there is no room for the next: the kernel then invalidates the snapshot."""
    END_LOST = "end-lost"
    """The end marker is missing: from some record on, what is read cannot be records."""
    EARLY_END = "early-end"
    """Behind the end marker there are records that fit: one before them was zeroed."""
    FULL = "full"
    """No chunk is left: the next new one makes the kernel invalidate the snapshot."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of finding, and where it was first seen.

    Attributes:
        kind: What it is.
        severity: How bad.
        message: One line for people: what is wrong.
        advice: One line for people: what to do.
        count: How many records or chunks.
        area: Metadata area of the first one, or None.
        index: Its record number within the area, or None.
        offset_bytes: Where that lies on the COW device, or None.
    """

    kind: Kind
    severity: Severity
    message: str
    advice: str
    count: int = 1
    area: int | None = None
    index: int | None = None
    offset_bytes: int | None = None


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Returns findings in the order in which they are told."""
    order = list(Severity)
    return tuple(sorted(findings, key=lambda finding: -order.index(finding.severity)))
