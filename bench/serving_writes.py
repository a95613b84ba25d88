"""Writes over NBD: the first of a chunk, whole or with a copy of the rest, and those that come after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import serving_sides as sides
from row import Row, in_turn, settle
from serving_load import Load, Taken, with_fio
from serving_rows import OURS, ROUNDS, rows, rows_of
from serving_sides import Server

QEMU, NBDKIT = "qemu-nbd --aio=io_uring", "nbdkit cow"
CHUNK_BYTES, COPIED_CHUNK_BYTES = 4096, 16 << 10
DEEP = 32
PART_OF_QEMU, PART_OF_QEMU_FIRST = 1 / 2, 1 / 1.5
FIRST = Load("randwrite", DEEP, CHUNK_BYTES, requests=32768, region_bytes=32768 * CHUNK_BYTES)
NEXT = Load("randwrite", DEEP, CHUNK_BYTES, region_bytes=FIRST.region_bytes)
COPY = Load("randwrite", DEEP, 4096, aligned_bytes=COPIED_CHUNK_BYTES, requests=16384)
"""Places repeat: one write in nine comes to a chunk that has been copied."""

Started = AbstractContextManager[Server]


def first_and_next(folder: Path, origin: Path) -> Iterator[Row]:
    """The first 128 MiB, each 4 KiB chunk once, in random order; then the same chunks again, as often as comes."""

    def measured(start: Callable[[], Started]) -> tuple[Taken, Taken]:
        with start() as server:
            settle()
            return with_fio(server, FIRST), with_fio(server, NEXT)

    starts = _starts(folder, origin, CHUNK_BYTES)
    figures = in_turn(ROUNDS, *(partial(measured, start) for start in starts.values()))
    first = {name: [one for one, _ in pairs] for name, pairs in zip(starts, figures, strict=True)}
    then = {name: [other for _, other in pairs] for name, pairs in zip(starts, figures, strict=True)}
    yield from rows_of(f"4 KiB writes to old chunks, {DEEP} deep", then, {QEMU: PART_OF_QEMU})
    yield from rows_of(f"4 KiB writes to new chunks, {DEEP} deep", first, {QEMU: PART_OF_QEMU_FIRST})


def copies(folder: Path, origin: Path) -> Iterator[Row]:
    """4 KiB writes to chunks of 16 KiB: the rest of each comes from the origin."""

    def measured(start: Callable[[], Started]) -> Taken:
        with start() as server:
            settle()
            return with_fio(server, COPY)

    starts = _starts(folder, origin, COPIED_CHUNK_BYTES)
    measures = {name: partial(measured, start) for name, start in starts.items()}
    yield from rows("4 KiB writes that copy 12 KiB", measures, {QEMU: PART_OF_QEMU_FIRST})


def _starts(folder: Path, origin: Path, chunk_bytes: int) -> dict[str, Callable[[], Started]]:
    """Each on a new store or overlay."""
    cow, overlay = folder / "new.cow", folder / "new.qcow2"

    def ours() -> Started:
        sides.empty_store(cow, chunk_bytes)
        return sides.dmsnap(cow, origin, folder)

    def qemu() -> Started:
        sides.empty_overlay(overlay, origin, chunk_bytes)
        return sides.qemu_nbd(overlay, folder)

    return {OURS: ours, QEMU: qemu, NBDKIT: partial(sides.nbdkit_cow, origin, chunk_bytes, folder)}
