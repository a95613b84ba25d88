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
ROUNDS = 8


def against_qemu_img(folder: Path) -> Iterator[Row]:
    """1 GiB, a quarter of the 16 KiB chunks changed in random order; whole commands, images in the page cache.

    ``dmsnap export`` makes its result durable before it takes its name; ``qemu-img convert`` makes one system call for
    that with ``-t writeback``, and none without (seen with strace, 7.2).
    """
    images = snapshot_and_overlay(folder, CHUNK_BYTES, IMAGE_BYTES // CHUNK_BYTES // CHANGED_PART, seed=4)
    outs = {name: folder / f"{name}.img" for name in ("ours", "plain", "durable")}
    export = [str(Path(sys.executable).with_name("dmsnap")), "export", str(images.cow), "--origin", str(images.origin)]
    convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-W", "-m", "8"]
    ours, plain, durable = in_turn(
        ROUNDS,
        lambda: _seconds(export, outs["ours"]),
        lambda: _seconds([*convert, str(images.overlay)], outs["plain"]),
        lambda: _seconds([*convert, "-t", "writeback", str(images.overlay)], outs["durable"]),
    )
    same = same_content(outs["ours"], outs["plain"])
    yield timed("dmsnap export (durable)", ours)
    yield compared("qemu-img convert -W -m 8 (left in memory)", plain, ours, 1, sound=same)
    yield compared("  with -t writeback (durable)", durable, ours, sound=same)
    for path in (*images, *outs.values()):
        path.unlink()


def _seconds(command: list[str], out: Path) -> float:
    out.unlink(missing_ok=True)
    settle()
    started = time.perf_counter()
    subprocess.run([*command, str(out)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
