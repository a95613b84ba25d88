"""A snapshot over NBD: ours, qemu-nbd on an equal qcow2 overlay, and nbdkit's cow filter, asked by the same clients."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import serving_sides as sides
from images import IMAGE_BYTES, Images, snapshot_and_overlay
from row import Row, compared, in_turn, settle, spread
from serving_load import CONNECTIONS, Load, Taken, direct, once_each, with_fio, with_light_client
from serving_rows import OURS, rows
from serving_sides import Server
from serving_writes import copies, first_and_next
from stores import CHUNKS_A_GIB, metadata_store

_What = TypeVar("_What")

CHUNK_BYTES = 4096
DEEP = 32
QEMU, QEMU_THREADS = "qemu-nbd --aio=io_uring", "qemu-nbd --aio=threads"
NBDKIT, NBDKIT_ONE, NULL = "nbdkit cow", "nbdkit cow -t 1", "nothing (nbdkit null)"
PART_OF_QEMU, PART_OF_NBDKIT = 1 / 3, 1 / 1.5
NO_SLOWER = 1.05
"""Where both should take the same: what noise leaves in the median of a few rounds."""
PART_OF_DIRECT = 1 / 0.8
NOT_CACHED_SECONDS = 2.5
START_AREAS = 391
"""Of 256 exceptions each: 100,096."""
START_SECONDS = 0.5
START_ROUNDS = 5


def beside_others(folder: Path) -> Iterator[Row]:
    """1 GiB, a quarter of its 4 KiB chunks changed in random order; a Unix socket; all in the page cache but one."""
    images = snapshot_and_overlay(folder, CHUNK_BYTES, IMAGE_BYTES // CHUNK_BYTES // 4, seed=5)
    yield from _reads(folder, images)
    yield from _not_cached(folder, images)
    images.cow.unlink()
    images.overlay.unlink()
    yield from first_and_next(folder, images.origin)
    yield from copies(folder, images.origin)
    yield from _start(folder)


def _reads(folder: Path, images: Images) -> Iterator[Row]:
    """All servers run all the time: one that is not asked costs nothing."""
    with ExitStack() as stack:
        start = stack.enter_context
        servers = {
            OURS: start(sides.dmsnap(images.cow, images.origin, folder)),
            QEMU: start(sides.qemu_nbd(images.overlay, folder, read_only=True)),
            QEMU_THREADS: start(sides.qemu_nbd(images.overlay, folder, "threads", read_only=True)),
            NBDKIT: start(sides.nbdkit_cow(images.origin, CHUNK_BYTES, folder)),
            NBDKIT_ONE: start(sides.nbdkit_cow(images.origin, CHUNK_BYTES, folder, threads=1)),
        }
        for name in (NBDKIT, NBDKIT_ONE):
            sides.fill(servers[name], images.cow)
        sound = sides.all_same(servers.values())
        servers[NULL] = start(sides.nbdkit_null(folder))
        settle()

        def asked(load: Load, *names: str) -> dict[str, Callable[[], Taken]]:
            return {name: partial(_cached, with_fio, servers[name], load) for name in (OURS, *names)}

        light = {
            name: partial(_cached, with_light_client, servers[name], DEEP)
            for name in (OURS, QEMU, QEMU_THREADS, NBDKIT, NULL)
        }
        goals = {QEMU: PART_OF_QEMU, QEMU_THREADS: PART_OF_QEMU, NBDKIT: PART_OF_NBDKIT}
        yield from rows(f"4 KiB reads, {DEEP} deep, light client", light, goals, sound=sound)
        deep = Load("randread", DEEP)
        yield from rows("the same, by fio", asked(deep, QEMU, QEMU_THREADS, NBDKIT, NULL), {})
        measures = asked(Load("randread", 1), QEMU, NBDKIT_ONE, NULL)
        yield from rows("4 KiB reads, 1 deep", measures, {QEMU: 1, NBDKIT_ONE: 1}, sound=sound)
        measures = asked(Load("read", 4, 1 << 20), QEMU, NBDKIT)
        yield from rows("1 MiB reads in order, 4 deep", measures, {QEMU: 1, NBDKIT: 1}, sound=sound)
        clients = start(ProcessPoolExecutor(CONNECTIONS))
        wait([clients.submit(time.sleep, 0.2) for _ in range(CONNECTIONS)])  # each has its process then
        four = partial(with_light_client, clients=clients)
        several, one = f"{CONNECTIONS} connections", f"{OURS}, one"
        light = {
            f"{OURS}, {several}": partial(_cached, four, servers[OURS], DEEP),
            one: partial(_cached, with_light_client, servers[OURS], DEEP),
            f"{QEMU}, {several}": partial(_cached, four, servers[QEMU], DEEP),
            f"{NBDKIT}, {several}": partial(_cached, four, servers[NBDKIT], DEEP),
        }
        yield from rows("reads, light client", light, {one: NO_SLOWER}, sound=sound)
        many = Load("randread", DEEP, connections=CONNECTIONS)
        measures = {f"{OURS}, {several}": partial(_cached, with_fio, servers[OURS], many)}
        measures |= {one: partial(_cached, with_fio, servers[OURS], deep)}
        yield from rows("the same, by fio", measures, {one: NO_SLOWER}, sound=sound)


def _cached(measure: Callable[[Server, _What], Taken], server: Server, what: _What) -> Taken:
    server.warm()
    return measure(server, what)


def _not_cached(folder: Path, images: Images) -> Iterator[Row]:
    """No place is read twice, so all that is read comes from the disk; a virtual machine's host may have it."""
    load = Load("randread", DEEP)
    with (
        sides.dmsnap(images.cow, images.origin, folder) as ours,
        sides.qemu_nbd(images.overlay, folder, read_only=True) as qemu,
    ):

        def asked(server: Server) -> Taken:
            _forget(*images)
            return once_each(server, load, NOT_CACHED_SECONDS)

        def past_the_cache() -> Taken:
            _forget(*images)
            return direct(images.origin, load, NOT_CACHED_SECONDS)

        fio = "fio, direct=1, of the origin"
        in_turns: dict[str, Callable[[], Taken]] = {
            OURS: partial(asked, ours),
            fio: past_the_cache,
            QEMU: partial(asked, qemu),
        }
        yield from rows(f"4 KiB reads, {DEEP} deep, not cached", in_turns, {fio: PART_OF_DIRECT})


def _forget(*files: Path) -> None:
    settle()
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _start(folder: Path) -> Iterator[Row]:
    """The whole command, until a client had the first 4 KiB."""
    cow, origin, overlay = folder / "start.cow", folder / "start.img", folder / "start.qcow2"
    exceptions = metadata_store(cow, START_AREAS, CHUNKS_A_GIB)
    with origin.open("wb") as out:
        out.truncate(IMAGE_BYTES)
    sides.empty_overlay(overlay, origin, CHUNK_BYTES)

    def ours() -> float:
        with sides.dmsnap(cow, origin, folder) as server:
            return server.start_seconds

    def qemu() -> float:
        with sides.qemu_nbd(overlay, folder) as server:
            return server.start_seconds

    seconds, theirs = in_turn(START_ROUNDS, ours, qemu)
    met = statistics.median(seconds) < START_SECONDS
    name = f"{OURS}, {exceptions:,} exceptions, to the first byte"
    yield Row(name, spread(seconds), "", f"< {START_SECONDS:g} s", met, tuple(seconds))
    yield compared("  qemu-nbd, nothing to load", theirs, seconds)
