"""Merging a snapshot into its origin, beside ``qemu-img commit`` of a qcow2 overlay that holds the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from row import Row, in_turn, ratio_of, spread

CHUNK_BYTES = 4096
IMAGE_BYTES = 1 << 30
CHANGED_CHUNKS = 100_000
MOST_OF_QEMU = 0.5


def against_qemu_img(folder: Path) -> Iterator[Row]:
    """1 GiB, 100,000 scattered chunks of 4 KiB; whole commands, each on fresh copies that are on the medium.

    The overlay has clusters of 4 KiB, so that both move the same bytes. ``dmsnap merge`` goes in steps that each are
    durable, so that a crash anywhere leaves what can be gone on with; ``qemu-img commit`` flushes once.
    """
    name = "merge 1 GiB, 100,000 scattered 4 KiB chunks"
    if shutil.which("qemu-img") is None:
        yield Row(name, "qemu-img is not installed", "", "<= 0.5x qemu-img commit", False)
        return
    origin, cow, overlay = folder / "origin.img", folder / "snapshot.cow", folder / "overlay.qcow2"
    _make_images(origin, cow, overlay)
    base, store, qcow2 = folder / "base.img", folder / "work.cow", folder / "work.qcow2"
    dmsnap = str(Path(sys.executable).with_name("dmsnap"))
    results: dict[str, Path] = {}

    def timed(kind: str, command: list[str], *pairs: tuple[Path, Path]) -> float:
        for source, copy in pairs:
            shutil.copyfile(source, copy)
            with copy.open("rb") as file:
                os.fsync(file.fileno())
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        results[kind] = pairs[0][1].rename(folder / f"{kind}.img")
        return seconds

    rebase = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", str(base), str(overlay)]
    subprocess.run(rebase, check=True)
    ours, theirs = in_turn(
        3,
        lambda: timed("ours", [dmsnap, "merge", str(store), "--origin", str(base)], (origin, base), (cow, store)),
        lambda: timed(
            "qemu", ["qemu-img", "commit", "-q", "-f", "qcow2", str(qcow2)], (origin, base), (overlay, qcow2)
        ),
    )
    compare = ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(results["ours"]), str(results["qemu"])]
    same = subprocess.run(compare, stdout=subprocess.DEVNULL).returncode == 0
    ratio = ratio_of(ours, theirs)
    yield Row(
        name,
        spread(ours),
        f"qemu-img: {spread(theirs)} ({ratio:.2f}x)" + ("" if same else " AND THEY DIFFER"),
        "<= 0.5x qemu-img commit",
        ratio <= MOST_OF_QEMU and same,
    )


def _make_images(origin: Path, cow: Path, overlay: Path) -> None:
    """The same content twice: a store over the origin, and a qcow2 overlay written in the same order."""
    rng = np.random.default_rng(10)
    with origin.open("wb") as out:
        for _ in range(IMAGE_BYTES >> 24):
            out.write(rng.bytes(1 << 24))
    changed = rng.permutation(IMAGE_BYTES // CHUNK_BYTES)[:CHANGED_CHUNKS]
    per_area = CHUNK_BYTES // 16
    areas = len(changed) // per_area + 1
    place = np.arange(len(changed), dtype=np.uint64)
    places = place + place // np.uint64(per_area) + np.uint64(2)
    records = np.zeros((areas * per_area, 2), "<u8")
    records[: len(changed), 0] = changed
    records[: len(changed), 1] = places
    with cow.open("wb") as out:
        out.write(b"SnAp" + np.array([1, 1, CHUNK_BYTES // 512], "<u4").tobytes())
        for area in range(areas):
            out.seek((1 + area * (per_area + 1)) * CHUNK_BYTES)
            out.write(records[area * per_area : (area + 1) * per_area].tobytes())
        for number, where in enumerate(places.tolist()):
            out.seek(where * CHUNK_BYTES)
            out.write(bytes((1 + number % 255,)) * CHUNK_BYTES)
        out.truncate((2 + areas * (per_area + 1)) * CHUNK_BYTES)
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "-b", str(origin), "-F", "raw"]
    subprocess.run([*create, str(overlay)], **quiet)
    writes = "".join(
        f"write -P {1 + number % 255} {chunk * CHUNK_BYTES} {CHUNK_BYTES}\n"
        for number, chunk in enumerate(changed.tolist())
    )
    subprocess.run(["qemu-io", "-f", "qcow2", "-t", "unsafe", str(overlay)], input=writes.encode(), **quiet)
