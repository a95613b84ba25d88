"""A store dumped as XML and restored, beside ``thin_dump`` and ``thin_restore`` on a pool with as many mappings."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from row import Row, compared, in_turn, settle, timed
from stores import CHUNKS_A_GIB, metadata_store

AREAS = 7813
ORIGIN_GIB = 16384
METADATA_BYTES = 256 << 20
ROUNDS = 3
AT_MOST = 0.2


def beside_thin_tools(folder: Path) -> Iterator[Row]:
    """2 million exceptions in random order and places, none of which join; whole commands, files in the page cache.

    The pool maps as many blocks, each to a random one. ``thin_restore`` writes to a file that has its place on the
    disk; ``dmsnap restore`` makes a new, sparse one and makes it durable.
    """
    cow, xml, again = folder / "dumping.cow", folder / "dumping.xml", folder / "restored.cow"
    count = metadata_store(cow, AREAS, ORIGIN_GIB * CHUNKS_A_GIB)
    metadata, thin_xml, thin_again = folder / "thin.bin", folder / "thin.xml", folder / "thin-again.xml"
    metadata.write_bytes(bytes(METADATA_BYTES))
    thin_xml.write_text(_pool(count))
    ours = str(Path(sys.executable).with_name("dmsnap"))
    dump = [ours, "dump", str(cow), "-o", str(xml)]
    thin_restore = ["thin_restore", "-i", str(thin_xml), "-o", str(metadata)]
    for command in (dump, thin_restore):
        _seconds(command)
    dumped, thin_dumped, restored, thin_restored = in_turn(
        ROUNDS,
        lambda: _seconds(dump, xml),
        lambda: _seconds(["thin_dump", str(metadata), "-o", str(thin_again)], thin_again),
        lambda: _seconds([ours, "restore", str(xml), "-o", str(again)], again),
        lambda: _seconds(thin_restore),
    )
    same = _metadata(cow) == _metadata(again)
    yield timed(f"dmsnap dump, {count / 1e6:.0f} million exceptions", dumped)
    yield compared("  thin_dump", thin_dumped, dumped, AT_MOST, sound=same)
    yield timed("dmsnap restore (durable)", restored)
    yield compared("  thin_restore", thin_restored, restored, AT_MOST, sound=same)


def _seconds(command: list[str], out: Path | None = None) -> float:
    if out is not None:
        out.unlink(missing_ok=True)
    settle()
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
    stride, chunk = 257 * 4096, 4096
    with cow.open("rb") as file:
        parts = [file.read(2 * chunk)]
        for area in range(1, AREAS + 1):
            file.seek(chunk + area * stride)
            parts.append(file.read(chunk))
    return b"".join(parts)
