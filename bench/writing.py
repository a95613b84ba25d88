"""Random 4 KiB writes to a snapshot with a flush every 64, beside the same to a plain file, and what they cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from row import Row, in_turn, ratio_of, spread

from dmsnap.block import FileDevice
from dmsnap.block.wrap import StatsDevice
from dmsnap.store import create_store, open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.writable_snapshot import WritableSnapshot

CHUNK_BYTES = 4096
ORIGIN_BYTES = 1 << 30
WRITES = 16384
FLUSHED_AFTER = 64
MOST_AMPLIFIED = 1.1


def beside_a_plain_file(folder: Path) -> Iterator[Row]:
    """The first writes of whole chunks, then the same chunks again in another order; one writer, images on a file."""
    origin, cow, plain = folder / "origin.img", folder / "snapshot.cow", folder / "plain.img"
    with origin.open("wb") as out:
        out.truncate(ORIGIN_BYTES)
    amplified: dict[str, float] = {}

    def snapshot(again: bool) -> float:
        if not again:
            cow.unlink(missing_ok=True)
            with cow.open("wb") as out:
                out.truncate(2 * WRITES * CHUNK_BYTES)
            with FileDevice(cow, writable=True) as device:
                create_store(device, CHUNK_BYTES // 512)
        with FileDevice(origin) as below, StatsDevice(FileDevice(cow, writable=True)) as above:
            store = PersistentStore(open_store(above))
            with WritableSnapshot(below, store) as device:
                seconds = _write(_places(again), device.write_at, device.flush)
            amplified["again" if again else "first"] = (above.writes.bytes + above.zeros.bytes) / (WRITES * CHUNK_BYTES)
        return seconds

    def file(again: bool) -> float:
        if not again:
            plain.unlink(missing_ok=True)
            with plain.open("wb") as out:
                out.truncate(ORIGIN_BYTES)
        with plain.open("r+b", buffering=0) as out:
            descriptor = out.fileno()
            return _write(
                _places(again),
                lambda offset, data: os.pwrite(descriptor, data, offset),
                lambda: os.fdatasync(descriptor),
            )

    first, first_plain, again, again_plain = in_turn(
        5, lambda: snapshot(False), lambda: file(False), lambda: snapshot(True), lambda: file(True)
    )
    for name, ours, theirs in (("first", first, first_plain), ("again", again, again_plain)):
        what = "first writes of whole chunks" if name == "first" else "writes to chunks that exist"
        yield Row(
            f"{WRITES:,} random 4 KiB writes, flushed every {FLUSHED_AFTER}: {what}",
            spread(ours),
            f"plain file: {spread(theirs)} ({ratio_of(ours, theirs):.2f}x)",
        )
        yield Row(
            "  write amplification",
            f"{amplified[name]:.3f}",
            "",
            f"<= {MOST_AMPLIFIED}",
            amplified[name] <= MOST_AMPLIFIED,
        )


def _places(again: bool) -> list[int]:
    chunks = np.random.default_rng(64).permutation(ORIGIN_BYTES // CHUNK_BYTES)[:WRITES]
    if again:
        np.random.default_rng(65).shuffle(chunks)
    return (chunks * CHUNK_BYTES).tolist()


def _write(places: list[int], write: Callable[[int, bytes], object], flush: Callable[[], object]) -> float:
    data = os.urandom(CHUNK_BYTES)
    started = time.perf_counter()
    for number, offset in enumerate(places, 1):
        write(offset, data)
        if not number % FLUSHED_AFTER:
            flush()
    return time.perf_counter() - started
