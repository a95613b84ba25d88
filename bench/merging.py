"""Merging a snapshot into its origin, beside ``qemu-img commit`` of a qcow2 overlay that holds the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from images import same_content, snapshot_and_overlay
from row import Row, compared, in_turn, settle, timed

CHUNK_BYTES = 4096
CHANGED_CHUNKS = 100_000
PART_OF_QEMU = 0.5
ROUNDS = 4


def against_qemu_img(folder: Path) -> Iterator[Row]:
    """1 GiB, 100,000 scattered chunks of 4 KiB; whole commands, each on fresh copies that are on the medium.

    The overlay has clusters of 4 KiB, so that both move the same bytes. ``dmsnap merge`` goes in steps that each are
    durable, so that a crash anywhere leaves what can be gone on with, and leaves an empty store; ``qemu-img commit``
    flushes at the end, and empties the overlay unless it is told not to.
    """
    images = snapshot_and_overlay(folder, CHUNK_BYTES, CHANGED_CHUNKS, seed=10)
    base, store, qcow2 = folder / "base.img", folder / "work.cow", folder / "work.qcow2"
    rebase = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", str(base), str(images.overlay)]
    subprocess.run(rebase, check=True)
    results = {name: folder / f"{name}.img" for name in ("ours", "qemu", "not-emptied")}

    def seconds(name: str, command: list[str], changes: Path, copy: Path) -> float:
        for source, target in ((images.origin, base), (changes, copy)):
            shutil.copyfile(source, target)
        settle()
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken = time.perf_counter() - started
        base.rename(results[name])
        return taken

    merge = [str(Path(sys.executable).with_name("dmsnap")), "merge", str(store), "--origin", str(base)]
    commit = ["qemu-img", "commit", "-q", "-f", "qcow2"]
    ours, theirs, not_emptied = in_turn(
        ROUNDS,
        lambda: seconds("ours", merge, images.cow, store),
        lambda: seconds("qemu", [*commit, str(qcow2)], images.overlay, qcow2),
        lambda: seconds("not-emptied", [*commit, "-d", str(qcow2)], images.overlay, qcow2),
    )
    same = same_content(results["ours"], results["qemu"])
    yield timed("dmsnap merge (each step durable)", ours)
    yield compared("qemu-img commit", theirs, ours, PART_OF_QEMU, sound=same)
    yield compared("qemu-img commit -d (overlay not emptied)", not_emptied, ours, sound=same)
