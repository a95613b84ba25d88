"""Compacted stores of random snapshots, for tests and for a kernel to load."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dmsnap.block.memory import MemoryDevice
from dmsnap.maintenance.compacting import compacted
from dmsnap.maintenance.room import needed_bytes
from dmsnap.maintenance.writing import write_events
from dmsnap.store import open_store
from dmsnap.testing.kernelvm.load_case import LoadCase
from dmsnap.testing.random_snapshots import RandomSnapshot, random_snapshot

__all__ = ["Way", "compact_bytes", "compacted_cases", "random_way"]


class Way(NamedTuple):
    """How to compact.

    Attributes:
        chunk_size_sectors: See `dmsnap.maintenance.compacting.compacted`, like the other two.
        drop_unchanged: See there.
        sort: See there.
    """

    chunk_size_sectors: int | None = None
    drop_unchanged: bool = False
    sort: bool = False


def random_way(seed: int) -> Way:
    """Returns the way of a seed."""
    rng = random.Random(f"compacted {seed}")  # noqa: S311 - to be replayed
    return Way(rng.choice((None, 1, 2, 4, 8, 16, 64)), rng.random() < 0.5, rng.random() < 0.3)


def compact_bytes(cow: bytes, origin: bytes | None = None, way: Way = Way()) -> bytes:  # noqa: B008 - never changed
    """Returns the compacted store of a store, both as bytes; a last part of a sector does not count."""
    device = MemoryDevice(cow[: len(cow) // 512 * 512], read_only=True)
    below = None if origin is None else MemoryDevice(origin, read_only=True)
    store = open_store(device, origin_size_bytes=None if origin is None else len(origin))
    sectors = way.chunk_size_sectors or store.chunk_size_sectors
    events = compacted(store, origin=below, **way._asdict())
    target = MemoryDevice((len(cow) + (0 if origin is None else len(origin)) + 8 * sectors * 512) * 4 // 512 * 512)
    exceptions = write_events(events, target)
    return bytes(target.read_at(0, needed_bytes(exceptions, sectors)))


def compacted_cases(seeds: Iterable[int]) -> Iterator[tuple[LoadCase, RandomSnapshot]]:
    """Yields compacted stores for a kernel to load, each beside the snapshot whose content it has to have."""
    for seed in seeds:
        snapshot, way = random_snapshot(seed), random_way(seed)
        cow = compact_bytes(snapshot.cow, snapshot.origin, way)
        sectors = way.chunk_size_sectors or snapshot.chunk_sectors
        yield LoadCase(f"compacted-{seed}", snapshot.origin, cow, chunk_sectors=sectors), snapshot
