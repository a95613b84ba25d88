"""``python -m dmsnap.testing.programs run --seed N`` compares the kernel and ours on one program, or on many.

``show`` prints a program as JSON, and ``run --file`` takes one, perhaps made smaller by hand.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dmsnap.errors import DmsnapError
from dmsnap.testing.programs.compare import difference
from dmsnap.testing.programs.generate import generate
from dmsnap.testing.programs.program import Program
from dmsnap.testing.programs.ways import CROSSED, PLAIN, run_ways

_AT_ONCE = 25  # programs a boot: one that hangs the kernel takes the others with it
_say = partial(print, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Runs the verb of ``arguments``; returns the exit status, 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m dmsnap.testing.programs", description=__doc__)
    parser.add_argument("verb", choices=("run", "show"))
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="the first program's")
    which.add_argument("--file", type=Path, help="a program as JSON")
    parser.add_argument("--count", type=int, default=1, help="how many programs, of seeds in a row")
    parser.add_argument("--crossed", action="store_true", help="also have each go on with what the other began")
    parser.add_argument("--outcomes", action="store_true", help="print each step and what the kernel made of it")
    options = parser.parse_args(arguments)
    try:
        if options.file is not None:
            programs = {f"--file {options.file}": Program.from_json(options.file.read_text("utf-8"))}
        else:
            seeds = range(options.seed, options.seed + options.count)
            programs = {f"--seed {seed}": generate(seed) for seed in seeds}
        if options.verb == "show":
            for program in programs.values():
                _say(program.to_json(), end="")
            return 0
        return _run(programs, crossed=options.crossed, outcomes=options.outcomes)
    except (DmsnapError, ValueError) as error:
        print(f"dmsnap: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _run(programs: dict[str, Program], *, crossed: bool, outcomes: bool) -> int:
    ways = {**PLAIN, **CROSSED} if crossed else PLAIN
    failed = steps = done = 0
    began = time.monotonic()
    names = list(programs)
    for first in range(0, len(names), _AT_ONCE):
        batch = {name: programs[name] for name in names[first : first + _AT_ONCE]}
        for (name, program), results in zip(batch.items(), run_ways(list(batch.values()), ways), strict=True):
            kernel = results.pop("kernel")
            if outcomes:
                for number, (step, outcome) in enumerate(zip(program.steps, kernel.outcomes, strict=True)):
                    _say(f"{number:4} {type(step).__name__} {' '.join(map(repr, step))} -> {outcome}")
            found = {way: difference(program.steps, kernel, result) for way, result in results.items()}
            for way, text in found.items():
                if text:
                    log = [f"  kernel's log: {line}" for line in kernel.log] + list(results[way].log)
                    _say(f"{name}, {way}: {text}", *log, sep="\n")
            if any(found.values()):
                failed += 1
                _say(f"again: python -m dmsnap.testing.programs run {name}{' --crossed' * crossed}\n")
            done, steps = done + 1, steps + len(program.steps)
        _say(f"{done} programs of {steps} steps, {len(ways)} ways, {time.monotonic() - began:.0f} s: {failed} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
