"""What a kernel is asked to do to make a store: data only. `scenario_run` does it, `catalogue` lists what there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from dmsnap.testing.kernelvm.content import Applied, Side

__all__ = ["Grow", "Merge", "Outcome", "Reload", "Scenario", "Step", "Together", "Write"]


class Write(NamedTuple):
    """Writes to the snapshot or through snapshot-origin, with O_DIRECT, waiting for each block.

    Attributes:
        device: ``snapshot`` or ``origin``.
        sector: Where.
        sectors: How many.
        block_sectors: Sectors a request; 0 = all in one. A write that may fail should take a chunk a request: whether
            the parts of a larger request that failed took effect is not known.
    """

    device: Side
    sector: int
    sectors: int
    block_sectors: int = 0


class Together(NamedTuple):
    """Writes that run at the same time; on the same device they must not overlap."""

    writes: tuple[Write, ...]


class Merge(NamedTuple):
    """Merges the snapshot into its origin and ends the snapshot's life.

    Attributes:
        obstacle: ``delay`` stops the merge once the chunk at ``sector`` is merged, ``error`` makes it fail there, None
            lets it finish. A merge goes from the last record to the first.
        sector: Of the origin, the first of a chunk of the table's chunk size.
        left_sectors: What the status counts as allocated before that chunk is merged (for ``delay``).
    """

    obstacle: Literal["delay", "error"] | None = None
    sector: int = 0
    left_sectors: int = 0


class Grow(NamedTuple):
    """Makes the COW device larger while the snapshot is active."""

    cow_sectors: int


class Reload(NamedTuple):
    """Takes the snapshot down and sets it up again, with another chunk size in its table if one is given."""

    chunk_sectors: int | None = None


Step = Write | Together | Merge | Grow | Reload


@dataclass(frozen=True)
class Scenario:
    """The life of one snapshot.

    Attributes:
        name: Lower-case letters, digits and hyphens; it also seeds the content.
        purpose: What it is for, in a line.
        origin_sectors: Size of the origin.
        cow_sectors: Size of the COW device at the start.
        steps: What happens.
        chunk_sectors: In the table; 0 = not given, the kernel's default.
        store: ``P``, ``PO`` or ``N``, as in the table.
        stale: Whether the COW device holds garbage behind its first 4 KiB, instead of zeros.
    """

    name: str
    purpose: str
    origin_sectors: int
    cow_sectors: int
    steps: tuple[Step, ...]
    chunk_sectors: int = 8
    store: str = "P"
    stale: bool = False

    @property
    def final_cow_sectors(self) -> int:
        """Size of the COW device at the end."""
        return max([self.cow_sectors, *(step.cow_sectors for step in self.steps if isinstance(step, Grow))])

    @property
    def final_chunk_sectors(self) -> int:
        """Chunk size in the last table."""
        given = [step.chunk_sectors for step in self.steps if isinstance(step, Reload) and step.chunk_sectors]
        return given[-1] if given else self.chunk_sectors

    def writes(self) -> Iterator[Write]:
        """Yields all writes in the order of their numbers."""
        for step in self.steps:
            if isinstance(step, Write):
                yield step
            elif isinstance(step, Together):
                yield from step.writes


class Outcome(NamedTuple):
    """What the kernel made of a scenario.

    Attributes:
        applied: The writes as they took effect, in the order of their numbers.
        live_status: Status words at the end of the snapshot's life, the last target (merge or snapshot) being active.
        loaded_status: Status words after everything was taken down and a fresh ``snapshot`` target of type P (or
            PO) was set up on the store; None if the kernel refused it.
        loaded_table: Store type, chunk size and features in its table.
        content: What that target reads as (a transient store: what it read as while alive); None if it does not.
        cow: The COW device, byte for byte.
        origin: The origin, byte for byte.
        log: The kernel's messages on the way.
    """

    applied: tuple[Applied, ...]
    live_status: str
    loaded_status: str | None
    loaded_table: str | None
    content: bytes | None
    cow: bytes
    origin: bytes
    log: tuple[str, ...]
