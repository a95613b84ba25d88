"""Measures what the project promises, beside what people use today, in one run: ``make bench``.

python bench/run.py [--json FILE] [NAME…]      NAME: page-cache, slow-disk, instant, export, merge, write, help
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import export
import loading
import merging
import numpy as np
import startup
import writing
from row import Row, reason_of

from dmsnap.errors import DmsnapError

BENCHMARKS = {
    "page-cache": loading.from_page_cache,
    "slow-disk": loading.from_slow_disk,
    "instant": loading.without_waiting,
    "export": export.against_qemu_img,
    "merge": merging.against_qemu_img,
    "write": writing.beside_a_plain_file,
    "help": startup.help_page,
}

WIDEST_CELL = 60


def machine() -> dict[str, str]:
    """What it ran on, and with which versions."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    versions = {
        "dmsnap": version("dmsnap"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "kernel": platform.release(),
        "processors": f"{os.cpu_count()} x {model}",
    }
    qemu_img = shutil.which("qemu-img")
    if qemu_img:
        said = subprocess.run([qemu_img, "--version"], check=True, capture_output=True, text=True).stdout
        versions["qemu-img"] = said.split()[2]
    return versions


def print_table(rows: list[Row]) -> None:
    """One line a row; a goal that was missed cannot be overlooked."""
    columns = zip(*((row.name, row.figure, row.against) for row in rows), strict=True)
    widths = [min(WIDEST_CELL, max(map(len, column))) for column in columns]  # a long reason must not widen every line
    for row in rows:
        cells = "  ".join(
            text.ljust(width) for text, width in zip((row.name, row.figure, row.against), widths, strict=True)
        )
        verdict = "" if row.met is None else ("met" if row.met else "MISSED")
        print(f"{cells}  {row.goal:<24}{verdict}".rstrip())


def measured(name: str, benchmark: Callable[[Path], Iterator[Row]], folder: Path) -> Iterator[Row]:
    """The rows of a benchmark; one that cannot go on has a last row with the reason, and its goal counts as missed."""
    try:
        yield from benchmark(folder)
    except (DmsnapError, OSError, subprocess.SubprocessError) as error:
        yield Row(name, f"not measured: {reason_of(error)}", met=False)


def main() -> int:
    """Runs the benchmarks asked for (all without names); exit status 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHMARKS, []], help="which ones")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    facts = machine()
    print("  ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="dmsnap-bench-") as folder:
        for name in arguments.names or BENCHMARKS:
            print(f"… {name}", file=sys.stderr, flush=True)
            rows += measured(name, BENCHMARKS[name], Path(folder))
    print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": facts, "rows": [asdict(row) for row in rows]}, indent=2))
    return any(row.met is False for row in rows)


if __name__ == "__main__":
    sys.exit(main())
