"""Small snapshots as sound stores of all kinds have them, by a seed: those of old kernels and after crashes too.

Copies lie in the order of their records or not, with holes between them; some are equal to the origin, some are zeros,
some origin chunks have several records; the origin may end within a chunk, and what a copy has behind that is anything.
"""

from __future__ import annotations

import io
import random
from typing import NamedTuple

from dmsnap.testing.linux_runs import linux_finds
from dmsnap.testing.store_builder import build_store, data_chunks

__all__ = ["RandomSnapshot", "random_snapshot", "read_plainly"]

SECTOR_BYTES = 512


class RandomSnapshot(NamedTuple):
    """A snapshot, and how it reads.

    Attributes:
        chunk_sectors: Its chunk size.
        origin: What it was taken of.
        cow: The COW device.
        records: Pairs (origin chunk, COW chunk), in the order of the metadata.
        content: What the snapshot reads as.
    """

    chunk_sectors: int
    origin: bytes
    cow: bytes
    records: tuple[tuple[int, int], ...]
    content: bytes


def random_snapshot(seed: int, *, duplicates: bool = True) -> RandomSnapshot:
    """Returns the snapshot of a seed; a kernel loads its store, but merges it only where there are no duplicates."""
    rng = random.Random(f"random snapshot {seed}")  # noqa: S311 - to be replayed
    sectors = rng.choice((1, 1, 2, 4, 8))
    chunk = sectors * SECTOR_BYTES
    chunks = rng.randint(1, 150)
    origin = b"".join(_chunk(rng, chunk) for _ in range(chunks))[: -rng.randrange(sectors) * SECTOR_BYTES or None]
    changed = [number for number in range(chunks) if rng.random() < rng.choice((0.1, 0.5, 0.9))]
    if rng.random() < 0.6:
        rng.shuffle(changed)
    if duplicates and changed and rng.random() < 0.3:
        changed += rng.choices(changed, k=rng.randint(1, 5))
    places = data_chunks(len(changed) + rng.choice((0, 0, 3, 40)), sectors).tolist()
    if rng.random() < 0.4:
        rng.shuffle(places)
    if rng.random() < 0.5:
        places = sorted(rng.sample(places, len(changed)))
    records = tuple(zip(changed, places, strict=False))

    def copy(number: int, _cow: int) -> bytes:
        kind, before = rng.random(), origin[number * chunk : (number + 1) * chunk]
        if kind < 0.3:
            return before + rng.randbytes(chunk - len(before))
        if kind < 0.5:  # a part of it has changed
            at = rng.randrange(0, len(before), SECTOR_BYTES)
            before = before[:at] + rng.randbytes(SECTOR_BYTES) + before[at + SECTOR_BYTES :]
            return before + bytes(chunk - len(before))
        return _chunk(rng, chunk)

    out = io.BytesIO()
    built = build_store(out, records, chunk_size_sectors=sectors, data=copy)
    room = rng.choice((0, 0, 1, 5)) * chunk + rng.randrange(sectors) * SECTOR_BYTES
    cow = out.getvalue() + rng.randbytes(room)
    assert built.records == len(records)
    return RandomSnapshot(sectors, origin, cow, records, _content(origin, cow, chunk, linux_finds(records)))


def read_plainly(cow: bytes, origin: bytes) -> bytes:
    """Returns what a snapshot with a sound store reads as, found record by record."""
    chunk = int.from_bytes(cow[12:16], "little") * SECTOR_BYTES
    records: list[tuple[int, int]] = []
    area, index = 1, 0
    while True:
        at = area * chunk + index * 16
        old, new = int.from_bytes(cow[at : at + 8], "little"), int.from_bytes(cow[at + 8 : at + 16], "little")
        if not new:
            return _content(origin, cow, chunk, linux_finds(records))
        records.append((old, new))
        index += 1
        if index == chunk // 16:
            area, index = area + chunk // 16 + 1, 0


def _content(origin: bytes, cow: bytes, chunk: int, found: dict[int, int]) -> bytes:
    content = bytearray(origin)
    for old, new in found.items():
        at = old * chunk
        content[at : at + chunk] = cow[new * chunk : (new + 1) * chunk][: max(0, len(origin) - at)]
    return bytes(content)


def _chunk(rng: random.Random, chunk: int) -> bytes:
    return bytes(chunk) if rng.random() < 0.2 else rng.randbytes(chunk)
