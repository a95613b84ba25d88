"""Stores and images to measure on: made once a run, from fixed seeds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

CHUNK_BYTES = 4096
CHUNKS_A_GIB = (1 << 30) // CHUNK_BYTES
PER_AREA = CHUNK_BYTES // 16


def metadata_store(
    path: Path, areas: int, origin_chunks: int, *, scattered: bool = True, allocated: bool = False
) -> int:
    """Writes a store of 4 KiB chunks with ``areas`` full areas and the empty one that ends them.

    Args:
        path: Where.
        areas: Full areas.
        origin_chunks: Size of the origin over which the exceptions lie.
        scattered: In random order and places; otherwise from chunk 0 on, in order.
        allocated: Data chunks have their place on the disk, so that the areas lie as far apart as in a store that was
            written; otherwise they are holes.

    Returns:
        The number of exceptions.
    """
    count = areas * PER_AREA
    origin = _scattered(count, origin_chunks) if scattered else np.arange(count, dtype=np.uint64)
    first = 1 + np.arange(areas, dtype=np.uint64)[:, None] * np.uint64(PER_AREA + 1)
    records = np.empty((areas, PER_AREA, 2), "<u8")
    records[:, :, 0] = origin.reshape(areas, PER_AREA)
    records[:, :, 1] = first + 1 + np.arange(PER_AREA, dtype=np.uint64)
    with path.open("wb") as out:
        size = (2 + areas * (PER_AREA + 1)) * CHUNK_BYTES
        if allocated:
            os.posix_fallocate(out.fileno(), 0, size)
        else:
            out.truncate(size)
        os.pwrite(out.fileno(), b"SnAp" + np.array([1, 1, CHUNK_BYTES // 512], "<u4").tobytes(), 0)
        for area, content in enumerate(records):
            os.pwrite(out.fileno(), content.tobytes(), int(first[area, 0]) * CHUNK_BYTES)
        os.fsync(out.fileno())
    return count


def _scattered(count: int, chunks: int) -> np.ndarray:
    rng = np.random.default_rng(16)
    chosen = np.unique(rng.integers(0, chunks, count + count // 2, dtype=np.uint64))
    rng.shuffle(chosen)
    assert len(chosen) >= count
    return chosen[:count]
