"""How long it takes to list a large volume group."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from row import Row, in_turn, spread, timed

from dmsnap.testing.lvm_builder import AREA_OFFSET, PvText, build_pv, group_text, uuid_of

VOLUMES = 2000
TEXT_BYTES = 64 << 20
SEGMENTS = 290  # of a volume: as many as such a text has room for
EXTENT_SECTORS = 8
MOST_SECONDS = 2


def large_group(folder: Path) -> Iterator[Row]:
    """``dmsnap lvm ls`` of 2,000 fragmented volumes, as a whole process; and the processor time that it takes."""
    image = folder / "large.img"
    _build(image)
    command = [str(Path(sys.executable).with_name("dmsnap")), "lvm", "ls", str(image)]

    def run() -> tuple[float, float]:
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        elapsed, after = time.perf_counter() - started, os.times()
        if done.stderr or done.stdout.count("\n") != VOLUMES + 2:
            raise subprocess.SubprocessError(f"another listing: {done.stderr or done.stdout[:200]}")
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        return elapsed, busy

    (runs,) = in_turn(5, run)
    wall, busy = [elapsed for elapsed, _ in runs], [busy for _, busy in runs]
    yield Row(
        "dmsnap lvm ls", spread(wall), "", f"< {MOST_SECONDS} s", statistics.median(wall) < MOST_SECONDS, tuple(wall)
    )
    yield timed("processor time of it", busy)


def _build(image: Path) -> None:
    """Writes a physical volume whose metadata, which is as long as promised, says that all volumes are in shreds."""
    text = _text()
    text = _text(TEXT_BYTES - len(text) - 1)
    assert len(text) + 1 == TEXT_BYTES
    area = TEXT_BYTES + (1 << 20)
    image.write_bytes(build_pv(text, size_bytes=AREA_OFFSET + area, areas=[(AREA_OFFSET, area)]))
    os.truncate(image, (VOLUMES * SEGMENTS + 16) * EXTENT_SECTORS * 512 + area)  # sparse: there is no data to see


def _text(padding: int = 0) -> bytes:
    pvs = [PvText("pv0", VOLUMES * SEGMENTS)]
    frame = group_text("large", pvs=pvs, extent_sectors=EXTENT_SECTORS, padding=" " * padding).decode()
    head, end, tail = frame.partition("\n}\n# Generated")
    return "".join([head, "\nlogical_volumes {\n\n", *map(_volume, range(VOLUMES)), "}\n", end, tail]).encode()


def _volume(number: int) -> str:
    name = f"lv{number:04}"
    segments = (
        f'segment{index + 1} {{\nstart_extent = {index}\nextent_count = 1\n\ntype = "striped"\nstripe_count = 1\n\n'
        f'stripes = [\n"pv0", {index * VOLUMES + number}\n]\n}}\n'
        for index in range(SEGMENTS)
    )
    return (
        f'{name} {{\nid = "{uuid_of(name)}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
        f'creation_time = 1700000000\ncreation_host = "host"\nsegment_count = {SEGMENTS}\n\n{"".join(segments)}}}\n'
    )
