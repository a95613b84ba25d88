"""A snapshot's parts as files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

from dmsnap.testing.store_builder import build_store, in_allocation_order

__all__ = ["CHUNK", "SnapshotFiles", "open_descriptors", "snapshot_files"]

CHUNK = 4096


class SnapshotFiles(NamedTuple):
    """Paths of a snapshot's parts, and its content."""

    cow: Path
    origin: Path
    content: bytes


def snapshot_files(folder: Path, *, chunks: int = 40, changed: tuple[int, ...] = (3, 4, 5, 17, 39)) -> SnapshotFiles:
    """Writes an origin that ends 512 bytes into its last chunk, and a store in which ``changed`` chunks were copied."""
    rng = random.Random(1)
    content = bytearray(rng.randbytes((chunks - 1) * CHUNK + 512))
    files = SnapshotFiles(folder / "snap.cow", folder / "origin.img", bytes(content))
    for chunk in changed:
        part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
        content[part] = b"\xee" * len(content[part])
    files.origin.write_bytes(content)
    with files.cow.open("wb") as out:
        build_store(
            out,
            in_allocation_order(changed, 8),
            data=lambda old, _: files.content[old * CHUNK : (old + 1) * CHUNK].ljust(CHUNK, b"\0"),
            size_chunks=64,
        )
    return files


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
