"""Care for a store of 2 million exceptions, beside thin-provisioning-tools on a pool with as many mappings."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from row import Row, compared, in_turn, settle, timed
from stores import CHUNKS_A_GIB, metadata_store

AREAS = 7_813
ORIGIN_GIB = 16_384
POOL_BYTES = 256 << 20
ROUNDS = 5
A_FIFTH = 0.2
CHUNK_BYTES, STRIDE_BYTES = 4096, 257 * 4096


def beside_thin_tools(folder: Path) -> Iterator[Row]:
    """Whole commands, their files in the page cache; exceptions and mappings are scattered, so that none join.

    ``thin_restore`` writes to a file that has its place on the disk; ``dmsnap restore`` makes a new, sparse one and
    makes it durable.
    """
    if shutil.which("thin_check") is None:
        raise FileNotFoundError("thin_check is not installed (apt-get install thin-provisioning-tools)")
    cow, xml, again = folder / "care.cow", folder / "care.xml", folder / "again.cow"
    pool, pool_xml, pool_again = folder / "pool", folder / "pool.xml", folder / "pool-again.xml"
    count = metadata_store(cow, AREAS, ORIGIN_GIB * CHUNKS_A_GIB)
    pool_xml.write_text(_pool(count))
    with pool.open("wb") as out:
        out.truncate(POOL_BYTES)
    ours = str(Path(sys.executable).with_name("dmsnap"))
    dump = [ours, "dump", str(cow), "-o", str(xml)]
    thin_restore = ["thin_restore", "-i", str(pool_xml), "-o", str(pool)]
    for command in (dump, thin_restore):
        _seconds(command)
    checked, thin_checked, dumped, thin_dumped, restored, thin_restored = in_turn(
        ROUNDS,
        lambda: _seconds([ours, "check", str(cow)]),
        lambda: _seconds(["thin_check", "-q", str(pool)]),
        lambda: _seconds(dump, xml),
        lambda: _seconds(["thin_dump", str(pool), "-o", str(pool_again)], pool_again),
        lambda: _seconds([ours, "restore", str(xml), "-o", str(again)], again),
        lambda: _seconds(thin_restore),
    )
    same = _metadata(cow) == _metadata(again)
    yield timed(f"dmsnap check, {count / 1e6:.0f} million exceptions", checked)
    yield compared("  thin_check", thin_checked, checked, A_FIFTH)
    yield timed("dmsnap dump", dumped)
    yield compared("  thin_dump", thin_dumped, dumped, A_FIFTH, sound=same)
    yield timed("dmsnap restore (durable)", restored)
    yield compared("  thin_restore", thin_restored, restored, A_FIFTH, sound=same)


def _seconds(command: list[str], out: Path | None = None) -> float:
    if out is not None:
        out.unlink(missing_ok=True)
    settle()
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    return time.perf_counter() - started


def _pool(count: int) -> str:
    """XML of a pool with one thin volume of which every block is mapped to a random one."""
    blocks = np.random.default_rng(4).permutation(2 * count)[:count].tolist()
    head = (
        f'<superblock uuid="" time="0" transaction="1" data_block_size="128" nr_data_blocks="{2 * count}">\n'
        f'  <device dev_id="1" mapped_blocks="{count}" transaction="0" creation_time="0" snap_time="0">\n'
    )
    line = '    <single_mapping origin_block="%d" data_block="%d" time="0"/>\n'
    return head + "".join(line % pair for pair in enumerate(blocks)) + "  </device>\n</superblock>\n"


def _metadata(cow: Path) -> bytes:
    """Header and areas; the chunks between are holes in both."""
    with cow.open("rb") as file:
        parts = [file.read(2 * CHUNK_BYTES)]
        for area in range(1, AREAS + 1):
            file.seek(CHUNK_BYTES + area * STRIDE_BYTES)
            parts.append(file.read(CHUNK_BYTES))
    return b"".join(parts)
