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
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self

from dmsnap.testing.care_programs.judging import Result, cared
from dmsnap.testing.care_programs.kernel_results import differences
from dmsnap.testing.care_programs.made_stores import made_stores
from dmsnap.testing.kernelvm import KernelVMUnavailable

_TOLD_EVERY = 500
_AT_ONCE = 50
_A_BOOT = 800
_say = partial(print, flush=True)


class Judged(NamedTuple):
    """What came of a program.

    Attributes:
        seed: Its seed.
        stores: How many it made; and how many of these are invalid.
        invalid: See there.
        results: What was made of them.
        problems: What is wrong.
    """

    seed: int
    stores: int
    invalid: int
    results: list[Result]
    problems: list[str]


def judged(seed: int) -> Judged:
    """Judges the program of a seed; whatever is raised is a problem too."""
    stores = invalid = 0
    results: list[Result] = []
    problems: list[str] = []
    try:
        for made in made_stores(seed):
            stores += 1
            invalid += not made.valid
            found = cared(made, seed)
            results += found.results
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
    linux = _Linux(sys.maxsize if options.kernel == "all" else int(options.kernel))
    with linux:
        failed = _judge_all(seeds, options.workers, linux)
    return 1 if failed + linux.failed else 0


def _judge_all(seeds: range, workers: int, linux: _Linux) -> int:
    """Judges programs and prints what came of them; returns how many were wrong."""
    began = time.monotonic()
    stores = invalid = results = failed = done = 0
    with ProcessPoolExecutor(workers) as pool:
        for first in range(0, len(seeds), _AT_ONCE):
            for came in pool.map(judged, seeds[first : first + _AT_ONCE]):
                done += 1
                stores, invalid, results = stores + came.stores, invalid + came.invalid, results + len(came.results)
                if came.problems:
                    failed += 1
                    _say(*came.problems, sep="\n")
                    _say(f"again: python -m dmsnap.testing.care_programs --seed {came.seed}\n")
                linux.load(came.results)
                if done % _TOLD_EVERY == 0 or done == len(seeds):
                    _say(
                        f"{done} programs, {stores} stores ({invalid} invalid), {results} made of these,"
                        f" {time.monotonic() - began:.0f} s: {failed} wrong"
                    )
    return failed


class _Linux:
    """Has Linux load results, a batch a boot, while others are still made; those that are alike once.

    Args:
        most: So many are loaded at most.

    Attributes:
        failed: How many it takes otherwise; or 1 more if it must and cannot.
    """

    def __init__(self, most: int) -> None:
        self.failed = 0
        self._left = most
        self._unavailable = False
        self._loaded = 0
        self._alike = 0
        self._seen: set[bytes] = set()
        self._batch: list[Result] = []
        self._machine = ThreadPoolExecutor(1)
        self._running: Future[list[str]] | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        with self._machine:
            if self._batch and failed is None:
                self._boot()
            self._wait()

    def load(self, results: Sequence[Result]) -> None:
        """Has it load those that it has not loaded yet, in time."""
        for result in results:
            key = sha256(len(result.origin).to_bytes(8) + result.origin + result.cow).digest()
            if self._left > 0 and key not in self._seen:
                self._seen.add(key)
                self._left -= 1
                self._batch.append(result)
                if len(self._batch) == _A_BOOT:
                    self._boot()
            else:
                self._alike += key in self._seen

    def _boot(self) -> None:
        self._wait()
        if self._unavailable:
            return
        self._running = self._machine.submit(_loaded_by_linux, self._batch)
        self._loaded += len(self._batch)
        self._batch = []

    def _wait(self) -> None:
        if self._running is None:
            return
        try:
            found = self._running.result()
        except KernelVMUnavailable as error:
            _say(f"nothing was loaded by Linux: {error}")
            self.failed += int(os.environ.get("DMSNAP_REQUIRE_TOOLS") == "1")
            self._left, self._unavailable = 0, True
            return
        finally:
            self._running = None
        self.failed += len(found)
        took = time.monotonic() - self._began
        alike = f" (and {self._alike} exactly alike)" if self._alike else ""
        _say(*found, f"{self._loaded} loaded by Linux{alike}, {took:.0f} s: {self.failed} wrong", sep="\n")


def _loaded_by_linux(results: Sequence[Result]) -> list[str]:
    with TemporaryDirectory() as folder:
        return differences(results, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
