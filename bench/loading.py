"""How fast exceptions load from the page cache, where no read waits: 16 million, and beside the kernel's own policy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import sixteen_bytes
from row import Row, compared, in_fresh_process, in_turn, rates, timed
from stores import CHUNKS_A_GIB, metadata_store

from dmsnap.block.file import FileDevice
from dmsnap.store import open_store

AREAS = 62_500
LOOPED = 1_000_000
MOST_BYTES_EACH = 24
NO_SLOWER = 1.05


def from_page_cache(folder: Path) -> Iterator[Row]:
    """16 million exceptions of 4 KiB chunks into a table that answers lookups; each load in a fresh process."""
    for name, gib, goal in (("over 256 GiB", 256, 10), ("over 16 TiB", 16384, 5), ("in one run", 256, None)):
        path = folder / "loading.cow"
        metadata_store(path, AREAS, gib * CHUNKS_A_GIB, scattered=goal is not None)
        in_fresh_process("one_load", path, "auto")
        runs = [in_fresh_process("one_load", path, "auto") for _ in range(5)]
        millions = [run["exceptions"] / run["seconds"] / 1e6 for run in runs]
        met = None if goal is None else statistics.median(millions) >= goal
        yield Row(f"dmsnap, {name}", rates(millions, "M/s"), "", f">= {goal} M/s" if goal else "", met, tuple(millions))
        peaks = [run["peak_bytes"] / run["exceptions"] for run in runs]
        yield Row(
            "  peak memory an exception",
            rates(peaks, "B"),
            "",
            f"<= {MOST_BYTES_EACH} B",
            max(peaks) <= MOST_BYTES_EACH,
            tuple(peaks),
        )
        if gib == 256 and goal:
            loop = [LOOPED / _loop_seconds(path) / 1e6 for _ in range(3)]
            yield Row("a loop of 16-byte reads, as lvmsync", rates(loop, "M/s"), runs=tuple(loop))
        path.unlink()


def _loop_seconds(path: Path) -> float:
    with path.open("rb", buffering=sixteen_bytes.BUFFER_BYTES) as file:
        started = time.perf_counter()
        sixteen_bytes.exceptions_of(file, LOOPED)
        return time.perf_counter() - started


def without_waiting(folder: Path) -> Iterator[Row]:
    """Where reads are instant, finding the depth must cost nothing."""
    path = folder / "instant.cow"
    metadata_store(path, 10_000, 64 * CHUNKS_A_GIB)

    def ours(prefetch: str) -> float:
        with FileDevice(path) as device:
            started = time.perf_counter()
            open_store(device, prefetch=prefetch)
            return time.perf_counter() - started

    auto, kernel = in_turn(20, lambda: ours("auto"), lambda: ours("kernel"))
    yield timed("dmsnap --prefetch auto", auto)
    yield compared("dmsnap --prefetch kernel (12 ahead)", kernel, auto, NO_SLOWER)
