"""Random snapshots and what they must read as, chunk by chunk."""

from __future__ import annotations

import io
import random
from typing import NamedTuple

from dmsnap.block.memory import MemoryDevice
from dmsnap.store import Store, open_store
from dmsnap.testing.store_builder import Records, build_store, data_chunks

__all__ = ["Parts", "random_parts", "store_in_memory"]


class Parts(NamedTuple):
    """A snapshot's parts and the answers.

    Attributes:
        origin: Its content.
        cow: The store's content.
        expected: The snapshot's content.
        changed: Origin chunks with an exception.
        chunk_bytes: The chunk size.
    """

    origin: bytes
    cow: bytes
    expected: bytes
    changed: frozenset[int]
    chunk_bytes: int

    def store(self) -> Store:
        """The store, opened in memory."""
        return open_store(MemoryDevice(self.cow, name="cow"))


def store_in_memory(records: Records, **options: int) -> Store:
    """A store of these records whose data chunks are all zeros."""
    out = io.BytesIO()
    build_store(out, records, **options)  # type: ignore[arg-type]
    return open_store(MemoryDevice(out.getvalue(), name="cow"))


def random_parts(seed: int) -> Parts:
    """A snapshot of up to 100 chunks, with stretches of chunks changed in and out of order, and some of them zeros.

    The origin's last chunk may be partial, and the origin has stretches of zeros.
    """
    rng = random.Random(seed)
    sectors = rng.choice([1, 2, 8])
    chunk = sectors * 512
    chunks = rng.randrange(1, 100)
    size = chunks * chunk - rng.choice([0, 0, 512 * rng.randrange(sectors)])
    origin = bytearray(rng.randbytes(size))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(size)
        origin[at : at + 9000] = bytes(len(origin[at : at + 9000]))

    changed: list[int] = []
    for _ in range(rng.randrange(8)):
        first = rng.randrange(chunks)
        stretch = list(range(first, min(chunks, first + rng.choice([1, 2, 10, 40]))))
        changed += stretch if rng.random() < 0.7 else stretch[::-1]
    changed = list(dict.fromkeys(changed))
    content = {number: rng.choice([bytes(chunk), rng.randbytes(chunk)]) for number in changed}

    records = list(zip(changed, data_chunks(len(changed), sectors).tolist(), strict=True))
    out = io.BytesIO()
    build_store(out, records, chunk_size_sectors=sectors, data=lambda old, _: content[old])
    expected = bytearray(origin)
    for number, data in content.items():
        expected[number * chunk : (number + 1) * chunk] = data[: size - number * chunk]
    return Parts(bytes(origin), out.getvalue(), bytes(expected), frozenset(changed), chunk)
