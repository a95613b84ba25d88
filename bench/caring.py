"""Care for a store of 2 million exceptions, beside thin-provisioning-tools on a pool with as many mappings."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from row import Row, compared, in_turn, spread
from stores import CHUNKS_A_GIB, metadata_store

AREAS = 7_813
EXCEPTIONS = AREAS * 256
A_FIFTH = 0.2
ROUNDS = 3


def beside_thin_tools(folder: Path) -> Iterator[Row]:
    """Whole commands, all from the page cache; where thin-provisioning-tools is missing, dmsnap alone."""
    store, pool = folder / "care.cow", folder / "care.pool"
    metadata_store(store, AREAS, 64 * CHUNKS_A_GIB)
    thin = shutil.which("thin_check") is not None
    if thin:
        _pool(folder / "care.xml", pool)
    yield from _rows("check", ["check", str(store)], ["thin_check", "-q", str(pool)] if thin else None)
    # dump and restore have their rows here


def _rows(verb: str, ours: list[str], theirs: list[str] | None) -> Iterator[Row]:
    """A verb's row, and the row of the program that it is compared with."""
    mine = _command(str(Path(sys.executable).with_name("dmsnap")), *ours)
    if theirs is None:
        yield Row(f"dmsnap {verb}", spread(in_turn(ROUNDS, mine)[0]))
        yield Row(f"thin_{verb}", "not installed")
        return
    seconds, other = in_turn(ROUNDS, mine, _command(*theirs))
    yield Row(f"dmsnap {verb}", spread(seconds), runs=tuple(seconds))
    yield compared(f"thin_{verb}", other, seconds, A_FIFTH)
    yield Row("  exceptions a second", f"{EXCEPTIONS / statistics.median(seconds) / 1e6:.1f} M/s")


def _command(*words: str) -> Callable[[], float]:
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=120)
        return time.perf_counter() - started

    return seconds


def _pool(xml: Path, pool: Path) -> None:
    """Makes the metadata of a thin pool: one device with as many mappings, to data blocks in random order."""
    data = np.random.default_rng(16).permutation(EXCEPTIONS)
    with xml.open("w") as out:
        out.write(
            f'<superblock uuid="" time="1" transaction="1" data_block_size="128" nr_data_blocks="{EXCEPTIONS}">\n'
            f'<device dev_id="0" mapped_blocks="{EXCEPTIONS}" transaction="0" creation_time="0" snap_time="0">\n'
        )
        for begin in range(0, EXCEPTIONS, 1 << 16):
            blocks = enumerate(data[begin : begin + (1 << 16)].tolist(), begin)
            out.writelines(
                f'<single_mapping origin_block="{origin}" data_block="{block}" time="0"/>\n' for origin, block in blocks
            )
        out.write("</device>\n</superblock>\n")
    with pool.open("wb") as out:
        out.truncate(256 << 20)
    command = ["thin_restore", "-i", str(xml), "-o", str(pool)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
