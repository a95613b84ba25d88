"""Exporting a snapshot as a raw image, beside ``qemu-img convert`` of a qcow2 overlay that holds the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from images import IMAGE_BYTES, same_content, snapshot_and_overlay
from row import Row, compared, in_turn, settle, timed

CHUNK_BYTES = 16 << 10
CHANGED_PART = 4
ROUNDS = 6
UNSYNCED = "import sys, dmsnap; dmsnap.export(*sys.argv[1:], sync=False)"


def against_qemu_img(folder: Path) -> Iterator[Row]:
    """1 GiB, a quarter of the 16 KiB chunks changed in random order; whole commands, images in the page cache.

    ``dmsnap export`` makes its result durable before it takes its name, the library does so unless told not to.
    ``qemu-img convert`` makes one system call for that with ``-t writeback``, and none without (strace, QEMU 7.2).
    """
    images = snapshot_and_overlay(folder, CHUNK_BYTES, IMAGE_BYTES // CHUNK_BYTES // CHANGED_PART, seed=4)
    outs = {name: folder / f"{name}.img" for name in ("durable", "memory", "qemu-durable", "qemu-memory")}
    export = [str(Path(sys.executable).with_name("dmsnap")), "export", str(images.cow), "--origin", str(images.origin)]
    unsynced = [sys.executable, "-c", UNSYNCED, str(images.cow), str(images.origin)]
    convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-W", "-m", "8"]
    durable, memory, qemu_durable, qemu_memory = in_turn(
        ROUNDS,
        lambda: _seconds(export, outs["durable"]),
        lambda: _seconds(unsynced, outs["memory"]),
        lambda: _seconds([*convert, "-t", "writeback", str(images.overlay)], outs["qemu-durable"]),
        lambda: _seconds([*convert, str(images.overlay)], outs["qemu-memory"]),
    )
    same = same_content(outs["durable"], outs["qemu-memory"])
    yield timed("dmsnap export (durable)", durable)
    yield compared("  qemu-img convert -t writeback (durable)", qemu_durable, durable, 1, sound=same)
    yield compared("  qemu-img convert (left in memory)", qemu_memory, durable, 1, sound=same)
    yield timed("dmsnap.export(sync=False) (left in memory)", memory)
    yield compared("  qemu-img convert (left in memory)", qemu_memory, memory, 1, sound=same)


def _seconds(command: list[str], out: Path) -> float:
    out.unlink(missing_ok=True)
    settle()
    started = time.perf_counter()
    subprocess.run([*command, str(out)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
