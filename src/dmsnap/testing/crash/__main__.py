"""``python -m dmsnap.testing.crash`` judges at least 100,000 images of crashes, and says how many of what kind.

With names of programs, as it prints them, it judges only those.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from dmsnap.testing.crash.campaign import SYNC_MODES, Kept, Part, judge_part, tally
from dmsnap.testing.crash.kernel_sample import differences
from dmsnap.testing.crash.random_programs import KINDS
from dmsnap.testing.crash.short_programs import SHORT
from dmsnap.testing.kernelvm import KernelVMUnavailable

_KERNEL_IMAGES = 120  # some are left out: a store that is not made yet


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dmsnap.testing.crash", description=__doc__)
    parser.add_argument("programs", nargs="*", help="names of programs, as in merge/flush/17; default: of every kind")
    parser.add_argument("--images", type=int, default=100_000, help="how many to judge at least")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--no-kernel", action="store_true", help="boot no Linux for a sample of the images")
    options = parser.parse_args(arguments)
    if options.programs:
        return 1 if sum(not _replay(name) for name in options.programs) else 0
    each = -(-options.images // (len(KINDS) * len(SYNC_MODES)))
    parts = [Part(kind, sync, each) for kind in KINDS for sync in SYNC_MODES]
    failed, sample = _judge_all(parts, options.workers)
    if not options.no_kernel:
        failed += _ask_linux([sample[at * len(sample) // _KERNEL_IMAGES] for at in range(_KERNEL_IMAGES)])
    return 1 if failed else 0


def _judge_all(parts: Sequence[Part], workers: int) -> tuple[int, list[Kept]]:
    """Judges all parts and prints what came of each; returns how many were wrong, and some of the images."""
    began = time.monotonic()
    total = failed = 0
    sample: list[Kept] = []
    _say(f"{'kind':14}{'sync':8}  short   seeds    images     drawn  used further  images then")
    with ProcessPoolExecutor(workers) as pool:
        for part, (counts, last, kept) in zip(parts, pool.map(judge_part, parts), strict=True):
            seeds = "" if "short" in last else f"0-{last.rpartition('/')[2]}"
            short = min(counts.programs, len(SHORT[part.kind]))
            _say(
                f"{part.kind:14}{part.sync:8}{short:7}{seeds:>8}{counts.images:10}{counts.drawn:10}"
                f"{counts.recovered:14}{counts.images_after:13}"
            )
            total += counts.all_images
            sample += kept
            if counts.failure is not None:
                failed += 1
                _say(f"WRONG: {counts.failure}\nreplay with: make crash ARGS={last}")
    _say(f"{total} images of crashes, {failed} kinds wrong, {time.monotonic() - began:.0f} s")
    return failed, sample


def _replay(name: str) -> bool:
    """Judges one program and prints what came of it; says whether it was right."""
    counts = tally(name)
    _say(counts.failure or f"{name}: {counts.images} images right, and {counts.images_after} after recovery")
    return counts.failure is None


def _ask_linux(sample: Sequence[Kept]) -> int:
    """Has Linux load some images; returns how many it reads otherwise, at least 1 where there is no Linux but must."""
    with TemporaryDirectory() as folder:
        try:
            snapshots, found = differences(sample, Path(folder))
        except KernelVMUnavailable as error:
            _say(f"no image was loaded by Linux: {error}")
            return int(os.environ.get("DMSNAP_REQUIRE_TOOLS") == "1")
    _say(
        "\n".join(
            [*found, f"{snapshots} of these images loaded by Linux too, {len(found)} of which it reads otherwise"]
        )
    )
    return len(found)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
