"""Random 4 KiB writes with a flush every 64: to a snapshot, to a plain file and to a qcow2 overlay."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from row import Row, compared, in_turn, settle, timed

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
ROUNDS = 4

_Seconds = Callable[[list[int]], float]


def beside_a_plain_file(folder: Path) -> Iterator[Row]:
    """The first writes of whole chunks, then the same chunks again in another order; one writer, images on a file.

    A flush makes what was written durable everywhere (``fdatasync``). Only the loop is timed in ours and of the plain
    file, both in this process; of ``qemu-io``, which reads the same list of writes, the whole command.
    """
    origin = folder / "origin.img"
    with origin.open("wb") as out:
        out.truncate(ORIGIN_BYTES)
    amplified: list[float] = []
    kinds: dict[str, tuple[Callable[[], None], _Seconds]] = {
        "dmsnap": _to_a_snapshot(origin, folder / "snapshot.cow", amplified),
        "a plain file": _to_a_file(folder / "plain.img"),
    }
    if shutil.which("qemu-io"):
        kinds["qemu-io, qcow2 overlay of 4 KiB clusters"] = _to_an_overlay(origin, folder / "overlay.qcow2")

    def measure(name: str, places: list[int], *, anew: bool) -> Callable[[], float]:
        make, write = kinds[name]

        def seconds() -> float:
            if anew:
                make()
            settle()
            return write(places)

        return seconds

    for again in (False, True):
        places = _places(again=again)
        figures = in_turn(ROUNDS, *(measure(name, places, anew=not again) for name in kinds))
        what = "writes to chunks that exist" if again else "first writes of chunks"
        yield timed(f"dmsnap, {what}", figures[0])
        for name, theirs in list(zip(kinds, figures, strict=True))[1:]:
            yield compared(f"  {name}", theirs, figures[0])
        amplification = amplified[-1]
        met = amplification <= MOST_AMPLIFIED
        yield Row(
            "  bytes written by dmsnap, of those given",
            f"{amplification:.3f}",
            "",
            f"<= {MOST_AMPLIFIED:g}",
            met,
            (amplification,),
        )


def _to_a_snapshot(origin: Path, cow: Path, amplified: list[float]) -> tuple[Callable[[], None], _Seconds]:
    def make() -> None:
        cow.unlink(missing_ok=True)
        with cow.open("wb") as out:
            out.truncate(2 * WRITES * CHUNK_BYTES)
        with FileDevice(cow, writable=True) as device:
            create_store(device, CHUNK_BYTES // 512)

    def write(places: list[int]) -> float:
        with FileDevice(origin) as below, StatsDevice(FileDevice(cow, writable=True)) as above:
            with WritableSnapshot(below, PersistentStore(open_store(above))) as device:
                seconds = _write(places, device.write_at, device.flush)
            amplified.append((above.writes.bytes + above.zeros.bytes) / (WRITES * CHUNK_BYTES))
        return seconds

    return make, write


def _to_a_file(plain: Path) -> tuple[Callable[[], None], _Seconds]:
    def make() -> None:
        plain.unlink(missing_ok=True)
        with plain.open("wb") as out:
            out.truncate(ORIGIN_BYTES)

    def write(places: list[int]) -> float:
        with plain.open("r+b", buffering=0) as out:
            number = out.fileno()
            return _write(places, lambda offset, data: os.pwrite(number, data, offset), lambda: os.fdatasync(number))

    return make, write


def _to_an_overlay(origin: Path, overlay: Path) -> tuple[Callable[[], None], _Seconds]:
    def make() -> None:
        overlay.unlink(missing_ok=True)
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CHUNK_BYTES}"]
        subprocess.run([*create, "-b", str(origin), "-F", "raw", str(overlay)], check=True)

    def write(places: list[int]) -> float:
        lines = []
        for number, offset in enumerate(places, 1):
            lines.append(f"write -q -P 7 {offset} {CHUNK_BYTES}\n")
            if not number % FLUSHED_AFTER:
                lines.append("flush\n")
        command = ["qemu-io", "-f", "qcow2", "-t", "writeback", str(overlay)]
        commands = "".join(lines).encode()
        started = time.perf_counter()
        subprocess.run(command, input=commands, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    return make, write


def _places(*, again: bool) -> list[int]:
    chunks = np.random.default_rng(64).permutation(ORIGIN_BYTES // CHUNK_BYTES)[:WRITES]
    if again:
        np.random.default_rng(65).shuffle(chunks)
    places: list[int] = (chunks * CHUNK_BYTES).tolist()
    return places


def _write(places: list[int], write: Callable[[int, bytes], object], flush: Callable[[], object]) -> float:
    data = os.urandom(CHUNK_BYTES)
    started = time.perf_counter()
    for number, offset in enumerate(places, 1):
        write(offset, data)
        if not number % FLUSHED_AFTER:
            flush()
    return time.perf_counter() - started
