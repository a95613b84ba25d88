"""The same snapshot twice: a store over an origin, and a qcow2 overlay over the same, written in the same order."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np

IMAGE_BYTES = 1 << 30


class Images(NamedTuple):
    """What was made: `dmsnap` reads ``cow`` over ``origin``, QEMU ``overlay``, whose backing file ``origin`` is."""

    origin: Path
    cow: Path
    overlay: Path


def snapshot_and_overlay(folder: Path, chunk_bytes: int, changed_chunks: int, *, seed: int) -> Images:
    """Makes an origin of 1 GiB of random bytes with some chunks changed, in random order and places.

    Args:
        folder: Where.
        chunk_bytes: Of the store; the overlay's clusters are as large, so that both have to move the same bytes.
        changed_chunks: How many; each is filled with one byte that is not 0.
        seed: Of what is random.
    """
    images = Images(folder / "origin.img", folder / "snapshot.cow", folder / "overlay.qcow2")
    rng = np.random.default_rng(seed)
    with images.origin.open("wb") as out:
        for _ in range(IMAGE_BYTES >> 24):
            out.write(rng.bytes(1 << 24))
    changed = rng.permutation(IMAGE_BYTES // chunk_bytes)[:changed_chunks]
    fills = [1 + number % 255 for number in range(changed_chunks)]
    _write_store(images.cow, chunk_bytes, changed, fills)
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={chunk_bytes}"]
    subprocess.run([*create, "-b", str(images.origin), "-F", "raw", str(images.overlay)], check=True)
    writes = "".join(
        f"write -q -P {fill} {chunk * chunk_bytes} {chunk_bytes}\n"
        for chunk, fill in zip(changed.tolist(), fills, strict=True)
    )
    qemu_io = ["qemu-io", "-f", "qcow2", "-t", "unsafe", str(images.overlay)]
    subprocess.run(qemu_io, input=writes.encode(), check=True, stdout=subprocess.DEVNULL)
    return images


def same_content(one: Path, other: Path) -> bool:
    """Whether two raw images read the same, in QEMU's judgement."""
    compare = ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(one), str(other)]
    return subprocess.run(compare, stdout=subprocess.DEVNULL, check=False).returncode == 0


def _write_store(path: Path, chunk_bytes: int, changed: np.ndarray, fills: list[int]) -> None:
    per_area = chunk_bytes // 16
    areas = len(changed) // per_area + 1
    place = np.arange(len(changed), dtype=np.uint64)
    places = place + place // np.uint64(per_area) + np.uint64(2)
    records = np.zeros((areas * per_area, 2), "<u8")
    records[: len(changed), 0] = changed
    records[: len(changed), 1] = places
    with path.open("wb") as out:
        out.write(b"SnAp" + np.array([1, 1, chunk_bytes // 512], "<u4").tobytes())
        for area in range(areas):
            out.seek((1 + area * (per_area + 1)) * chunk_bytes)
            out.write(records[area * per_area : (area + 1) * per_area].tobytes())
        for where, fill in zip(places.tolist(), fills, strict=True):
            out.seek(where * chunk_bytes)
            out.write(bytes((fill,)) * chunk_bytes)
        out.truncate((2 + areas * (per_area + 1)) * chunk_bytes)
