"""Exporting a snapshot as a raw image, beside ``qemu-img convert`` of a qcow2 overlay that holds the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from row import Row, in_turn, ratio_of, spread

CHUNK_BYTES = 16 << 10
IMAGE_BYTES = 1 << 30
CHANGED_PART = 4


def against_qemu_img(folder: Path) -> Iterator[Row]:
    """1 GiB, a quarter of the 16 KiB chunks changed in random order; whole commands, images in the page cache.

    ``dmsnap export`` makes its result durable before it takes its name, ``qemu-img convert`` does so only when asked.
    """
    if shutil.which("qemu-img") is None:
        yield Row("export 1 GiB", "qemu-img is not installed", "", ">= qemu-img convert", False)
        return
    origin, cow, overlay = folder / "origin.img", folder / "snapshot.cow", folder / "overlay.qcow2"
    _make_images(origin, cow, overlay)
    outs = folder / "ours.img", folder / "qemu.img"
    dmsnap = str(Path(sys.executable).with_name("dmsnap"))
    export = [dmsnap, "export", str(cow), "--origin", str(origin), str(outs[0])]
    convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-W", "-m", "8"]
    images = [str(overlay), str(outs[1])]

    def timed(command: list[str], out: Path) -> float:
        out.unlink(missing_ok=True)
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    ours, theirs, durable = in_turn(
        7,
        lambda: timed(export, outs[0]),
        lambda: timed([*convert, *images], outs[1]),
        lambda: timed([*convert, "-t", "writeback", *images], outs[1]),
    )
    same = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", *map(str, outs)], stdout=subprocess.DEVNULL)
    ratio = ratio_of(theirs, ours)
    yield Row(
        "export 1 GiB, a quarter of its chunks changed",
        spread(ours),
        f"qemu-img: {spread(theirs)} ({ratio:.2f}x)",
        ">= 1x qemu-img convert",
        ratio >= 1 and same.returncode == 0,
    )
    yield Row("  against qemu-img that syncs too", spread(ours), f"{spread(durable)} ({ratio_of(durable, ours):.2f}x)")


def _make_images(origin: Path, cow: Path, overlay: Path) -> None:
    """The same content twice: a store over the origin, and a qcow2 overlay written in the same order."""
    chunks = IMAGE_BYTES // CHUNK_BYTES
    rng = np.random.default_rng(4)
    with origin.open("wb") as out:
        for _ in range(IMAGE_BYTES >> 24):
            out.write(rng.bytes(1 << 24))
    changed = rng.permutation(chunks)[: chunks // CHANGED_PART]
    per_area = CHUNK_BYTES // 16
    areas = len(changed) // per_area + 1
    records = np.zeros((areas * per_area, 2), "<u8")
    place = np.arange(len(changed), dtype=np.uint64)
    places = place + place // np.uint64(per_area) + np.uint64(2)
    records[: len(changed), 0] = changed
    records[: len(changed), 1] = places
    fills = [1 + chunk % 255 for chunk in changed.tolist()]
    with cow.open("wb") as out:
        out.write(b"SnAp" + np.array([1, 1, CHUNK_BYTES // 512], "<u4").tobytes())
        for area in range(areas):
            out.seek((1 + area * (per_area + 1)) * CHUNK_BYTES)
            out.write(records[area * per_area : (area + 1) * per_area].tobytes())
        for where, fill in zip(places.tolist(), fills, strict=True):
            out.seek(where * CHUNK_BYTES)
            out.write(bytes((fill,)) * CHUNK_BYTES)
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=16k", "-b", str(origin), "-F", "raw"]
    subprocess.run([*create, str(overlay)], **quiet)
    writes = "".join(
        f"write -P {fill} {chunk * CHUNK_BYTES} {CHUNK_BYTES}\n"
        for chunk, fill in zip(changed.tolist(), fills, strict=True)
    )
    subprocess.run(["qemu-io", "-f", "qcow2", "-t", "unsafe", str(overlay)], input=writes.encode(), **quiet)
