"""How fast exceptions load: 16 million from the page cache, and 1,563 areas from a slow disk."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from row import Row, in_fresh_process, in_turn, ratio_of, spread
from stores import metadata_store

from dmsnap.block.file import FileDevice
from dmsnap.block.wrap import DelayDevice
from dmsnap.store import open_store

CHUNKS_A_GIB = 1 << 18
DELAY_SECONDS = 0.005
SLOW_AREAS = 1563


def from_page_cache(folder: Path) -> Iterator[Row]:
    """16 million exceptions of 4 KiB chunks into a table that answers lookups."""
    for name, gib, goal in (("over 256 GiB", 256, 10), ("over 16 TiB", 16384, 5), ("in one run", 256, None)):
        path = folder / "loading.cow"
        metadata_store(path, 62_500, gib * CHUNKS_A_GIB, scattered=goal is not None)
        in_fresh_process("one_load", path, "auto")
        runs = [in_fresh_process("one_load", path, "auto") for _ in range(5)]
        rates = [run["exceptions"] / run["seconds"] / 1e6 for run in runs]
        rate = statistics.median(rates)
        figure = f"{rate:.1f} M/s ({min(rates):.1f}-{max(rates):.1f})"
        met = None if goal is None else rate >= goal
        yield Row(f"load 16 M exceptions {name}", figure, "", f">= {goal} M/s" if goal else "", met)
        peak = max(run["peak_bytes"] / run["exceptions"] for run in runs)
        yield Row(f"  peak memory, {name}", f"{peak:.1f} bytes an exception", "", "<= 24 bytes", peak <= 24)
        path.unlink()


def from_slow_disk(folder: Path) -> Iterator[Row]:
    """1,563 areas where each read takes 5 ms: ours against the kernel's own loading of the same store."""
    from dmsnap.testing.kernelvm.load_time import kernel_load_seconds

    path = folder / "slow.cow"
    metadata_store(path, SLOW_AREAS - 1, 256 * CHUNKS_A_GIB)
    kernel = kernel_load_seconds(path, origin_size_bytes=256 << 30, read_delay_seconds=DELAY_SECONDS)

    def ours(prefetch: str | int) -> float:
        with DelayDevice(FileDevice(path), DELAY_SECONDS) as device:
            started = time.perf_counter()
            open_store(device, prefetch=prefetch).table.lookup(0)
            return time.perf_counter() - started

    auto, twelve = in_turn(3, lambda: ours("auto"), lambda: ours("kernel"))
    part = statistics.median(auto) / kernel
    yield Row(
        "load 1,563 areas, 5 ms a read: auto",
        spread(auto),
        f"Linux: {kernel:.2f} s ({1 / part:.0f}x)",
        "<= 1/10 of Linux",
        part <= 0.1,
    )
    yield Row("  the same, kernel policy (12 ahead)", spread(twelve), f"Linux: {kernel:.2f} s")
    yield Row("  the same, no prefetch", spread([ours(0)]))


def without_waiting(folder: Path) -> Iterator[Row]:
    """Where reads are instant, finding the depth must cost nothing."""
    path = folder / "instant.cow"
    metadata_store(path, 10_000, 64 * CHUNKS_A_GIB)

    def ours(prefetch: str) -> float:
        with FileDevice(path) as device:
            started = time.perf_counter()
            open_store(device, prefetch=prefetch)
            return time.perf_counter() - started

    auto, kernel = in_turn(11, lambda: ours("auto"), lambda: ours("kernel"))
    ratio = ratio_of(auto, kernel)
    yield Row(
        "load 10,000 areas, page cache: auto",
        spread(auto),
        f"kernel policy: {spread(kernel)} ({ratio:.2f}x)",
        "<= 1.05x kernel policy",
        ratio <= 1.05,
    )
