"""Measures what the project promises, beside what people use today, in one run: ``make bench``.

python bench/run.py [--out FOLDER] [--page FILE] [NAME…]      docs/benchmarks.md explains each NAME
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import caring
import export
import listing
import loading
import merging
import prefetching
import serving
import slow_disk
import startup
import writing
from machine import machine, processor_ticks
from row import Row, reason_of
from table import markdown, publish

from dmsnap.errors import DmsnapError


class Benchmark(NamedTuple):
    """What it measures, in a few words, and the function that does, in a folder of its own."""

    title: str
    rows: Callable[[Path], Iterator[Row]]


BENCHMARKS = {
    "page-cache": Benchmark("load 16 million exceptions that are in memory", loading.from_page_cache),
    "slow-disk": Benchmark(
        "load 1,563 areas, 400,000 exceptions, where a read takes 0, 5 or 20 ms", slow_disk.against_linux
    ),
    "instant": Benchmark("load 10,000 areas that are in memory", loading.without_waiting),
    "prefetch": Benchmark("auto, beside the best fixed depth of 0 to 256", prefetching.against_fixed_depths),
    "export": Benchmark("a snapshot of 1 GiB, a quarter of its 16 KiB chunks changed", export.against_qemu_img),
    "merge": Benchmark("100,000 scattered 4 KiB chunks into an origin of 1 GiB", merging.against_qemu_img),
    "write": Benchmark("16,384 random 4 KiB writes, flushed after every 64", writing.beside_a_plain_file),
    "serve": Benchmark("1 GiB over a Unix socket, a quarter of its 4 KiB chunks changed", serving.beside_others),
    "care": Benchmark(
        "care for 2 million exceptions, beside a thin pool of as many mappings", caring.beside_thin_tools
    ),
    "lvm": Benchmark("list a volume group of 2,000 volumes, 64 MiB of metadata", listing.large_group),
    "help": Benchmark("say what the command can do", startup.help_page),
}


def measured(name: str) -> Iterator[Row]:
    """The rows of a benchmark; one that cannot go on has a last row with the reason, and its goal counts as missed."""
    started = time.monotonic()
    print(f"… {name}", end="", file=sys.stderr, flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="dmsnap-bench-") as folder:
            yield from BENCHMARKS[name].rows(Path(folder))
    except (DmsnapError, OSError, subprocess.SubprocessError) as error:
        yield Row(name, f"not measured: {reason_of(error)}", met=False)
    print(f" took {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Runs the benchmarks asked for (all without names); exit status 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*BENCHMARKS, []], help=", ".join(BENCHMARKS))
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write results.md and results.json there")
    parser.add_argument("--page", type=Path, metavar="FILE", help="also put the table into this page; not with NAMEs")
    arguments = parser.parse_args()
    if arguments.page and arguments.names:
        parser.error("a page holds the table of one whole run: leave out the names, or --page")
    facts = machine(Path(tempfile.gettempdir()))
    rows, titles = dict[str, list[Row]](), dict[str, str]()
    for name in arguments.names or BENCHMARKS:
        before = processor_ticks()
        rows[name] = list(measured(name))
        taken, all_ticks = (now - then for now, then in zip(processor_ticks(), before, strict=True))
        titles[name] = f"{BENCHMARKS[name].title} (taken by the host: {taken / max(1, all_ticks):.0%})"
    table = markdown(facts, titles, rows)
    print(table, end="")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "results.md").write_text(table, "utf-8")
        every = [{"benchmark": name, **asdict(row)} for name in rows for row in rows[name]]
        (arguments.out / "results.json").write_text(json.dumps({"machine": facts, "rows": every}, indent=2) + "\n")
    if arguments.page:
        publish(arguments.page, table)
    return any(row.met is False for name in rows for row in rows[name])


if __name__ == "__main__":
    sys.exit(main())
