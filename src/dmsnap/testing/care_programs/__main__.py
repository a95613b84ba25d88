"""``python -m dmsnap.testing.care_programs --count N --seed S`` judges all care of the stores of N random programs.

With ``--kernel M`` Linux loads M of the stores that were made thereby, or all for ``--kernel all``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from dmsnap.testing.care_programs.judging import Result, cared
from dmsnap.testing.care_programs.kernel_results import differences
from dmsnap.testing.care_programs.made_stores import made_stores
from dmsnap.testing.kernelvm import KernelVMUnavailable

_TOLD_EVERY = 500
_A_BOOT = 120
_say = partial(print, flush=True)


class Judged(NamedTuple):
    """What came of a program.

    Attributes:
        seed: Its seed.
        stores: How many it made; and how many of these are invalid.
        invalid: See there.
        results: How many stores were made of them.
        problems: What is wrong.
    """

    seed: int
    stores: int
    invalid: int
    results: int
    problems: list[str]


def judged(seed: int) -> Judged:
    """Judges the program of a seed; whatever is raised is a problem too."""
    stores = invalid = results = 0
    problems: list[str] = []
    try:
        for made in made_stores(seed):
            stores += 1
            invalid += not made.valid
            found = cared(made, seed)
            results += len(found.results)
            problems += found.problems
    except Exception:  # noqa: BLE001 - told with its seed
        problems.append(traceback.format_exc())
    return Judged(seed, stores, invalid, results, problems)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dmsnap.testing.care_programs", description=__doc__)
    parser.add_argument("--count", type=int, default=1, help="how many programs, of seeds in a row")
    parser.add_argument("--seed", type=int, default=0, help="the first program's")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--kernel", default="0", metavar="M", help="how many of the results Linux loads, or 'all'")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.count)
    failed = _judge_all(seeds, options.workers)
    if options.kernel != "0":
        failed += _ask_linux(seeds, None if options.kernel == "all" else int(options.kernel))
    return 1 if failed else 0


def _judge_all(seeds: range, workers: int) -> int:
    """Judges programs and prints what came of them; returns how many were wrong."""
    began = time.monotonic()
    stores = invalid = results = failed = 0
    with ProcessPoolExecutor(workers) as pool:
        for done, came in enumerate(pool.map(judged, seeds, chunksize=10), 1):
            stores, invalid, results = stores + came.stores, invalid + came.invalid, results + came.results
            if came.problems:
                failed += 1
                _say(*came.problems, sep="\n")
                _say(f"again: python -m dmsnap.testing.care_programs --seed {came.seed}\n")
            if done % _TOLD_EVERY == 0 or done == len(seeds):
                _say(
                    f"{done} programs, {stores} stores ({invalid} invalid), {results} made of these,"
                    f" {time.monotonic() - began:.0f} s: {failed} wrong"
                )
    return failed


def _ask_linux(seeds: range, most: int | None) -> int:
    """Has Linux load results, a batch a boot; returns how many it takes otherwise, or 1 if it must and cannot."""
    began = time.monotonic()
    results = islice((each for seed in seeds for each in _results(seed)), most)
    loaded = failed = 0
    while batch := list(islice(results, _A_BOOT)):
        with TemporaryDirectory() as folder:
            try:
                found = differences(batch, Path(folder))
            except KernelVMUnavailable as error:
                _say(f"nothing was loaded by Linux: {error}")
                return failed + int(os.environ.get("DMSNAP_REQUIRE_TOOLS") == "1")
        loaded, failed = loaded + len(batch), failed + len(found)
        _say(*found, f"{loaded} loaded by Linux, {time.monotonic() - began:.0f} s: {failed} wrong", sep="\n")
    return failed


def _results(seed: int) -> list[Result]:
    return [result for made in made_stores(seed) for result in cared(made, seed).results]


if __name__ == "__main__":
    sys.exit(main())
