"""Fuzzes every parser for a while: ``python fuzz/run.py --seconds 60``, or ``make fuzz``.

The time is shared by the targets, the ``*_target.py`` beside this file. They look for any outcome but two: an error of
dmsnap's own, or an answer that an independent, slow model gives as well. An input that takes over ten seconds or over a
gibibyte is a failure, too. Inputs that failed stay in ``fuzz/found``, inputs that led to new code in ``fuzz/corpus``
(neither is under version control). The exit status is 1 if any failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from seeds import LARGEST_SEED_BYTES, write_seeds

HERE = Path(__file__).resolve().parent
FOUND = HERE / "found"
CORPUS = HERE / "corpus"
TARGETS = {
    "store": "stores",
    "check": "stores",
    "repair": "stores",
    "snapshot": "stores",
    "table": "texts",
    "text": "texts",
    "nbd": "nbd",
    "dump": "dumps",
    "lvm_image": "volumes",
    "lvm_text": "lvm-texts",
}
"""The targets, and what their inputs are; see `seeds`."""

INPUT_SECONDS = 10
MEMORY_MIB = 1024
GRACE_SECONDS = 60  # for starting, for the seeds, and for an input at its time limit


def main() -> int:
    """Runs the targets one after another; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="time for all targets together (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers; 0 takes another one each time")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one (may be repeated)")
    arguments = parser.parse_args()
    targets = arguments.target or list(TARGETS)
    seconds = max(1, arguments.seconds // len(targets))
    failed = [target for target in targets if not fuzz(target, seconds, arguments.seed)]
    print(f"fuzz: failed: {', '.join(failed)}" if failed else f"fuzz: {', '.join(targets)}: nothing found")
    return 1 if failed else 0


def fuzz(target: str, seconds: int, seed: int) -> bool:
    """Fuzzes one target; returns whether it stood, and says how to replay what it did not stand."""
    corpus, seeds = CORPUS / target, CORPUS / f"{target}-seeds"
    corpus.mkdir(parents=True, exist_ok=True)
    FOUND.mkdir(exist_ok=True)
    write_seeds(seeds, TARGETS[target])
    program = HERE / f"{target}_target.py"
    command = [
        *(sys.executable, str(program), str(corpus), str(seeds)),
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LARGEST_SEED_BYTES}"),
        *(f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}"),
        *(f"-artifact_prefix={FOUND}/{target}-", "-print_final_stats=1", "-verbosity=0"),
    ]
    print(f"fuzz: {target} for {seconds} s, seed {seed}", flush=True)
    before = set(FOUND.iterdir())
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + GRACE_SECONDS
        )
        output, status = done.stdout + done.stderr, done.returncode
    except subprocess.TimeoutExpired as late:
        output, status = f"{(late.stderr or b'').decode(errors='replace')}\nit hangs: stopped by force", 1
    new = sorted(set(FOUND.iterdir()) - before)
    if status == 0 and not new:
        print("".join(f"  {line}\n" for line in output.splitlines() if "number_of_executed" in line), end="")
        return True
    print(output[-8000:])
    for path in new:
        print(f"fuzz: to replay: {sys.executable} {program} {path}")
    return False


if __name__ == "__main__":
    sys.exit(main())
