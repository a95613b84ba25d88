"""How long it takes to list a large volume group."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from row import Row, in_turn, spread, timed

from dmsnap.testing.lvm_builder import AREA_OFFSET, PvText, build_pv, group_text, uuid_of

VOLUMES = 2000
TEXT_BYTES = 64 << 20
EXTENT_SECTORS = 8
MOST_SECONDS = 2


def large_group(folder: Path) -> Iterator[Row]:
    """``dmsnap lvm ls`` of 2,000 fragmented volumes, as whole processes; and the processor time that they take.

    Once all segments are linear and on one disk; once linear ones, two and four stripes are mixed within each volume,
    on four disks.
    """
    groups = {
        "dmsnap lvm ls, linear segments": _build(folder / "linear", segments=288, stripe_counts=[1]),
        "dmsnap lvm ls, mixed stripes": _build(folder / "mixed", segments=227, stripe_counts=[1, 2, 4]),
    }
    all_runs = in_turn(5, *(partial(_list, images) for images in groups.values()))
    for label, runs in zip(groups, all_runs, strict=True):
        wall, busy = [elapsed for elapsed, _ in runs], [busy for _, busy in runs]
        met = statistics.median(wall) < MOST_SECONDS
        yield Row(label, spread(wall), "", f"< {MOST_SECONDS} s", met, tuple(wall))
        yield timed("processor time of it", busy)


def _list(images: Sequence[Path]) -> tuple[float, float]:
    command = [str(Path(sys.executable).with_name("dmsnap")), "lvm", "ls", *map(str, images)]
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    elapsed, after = time.perf_counter() - started, os.times()
    if done.stderr or done.stdout.count("\n") != VOLUMES + 2:
        raise subprocess.SubprocessError(f"another listing: {done.stderr or done.stdout[:200]}")
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return elapsed, busy


def _build(folder: Path, *, segments: int, stripe_counts: Sequence[int]) -> list[Path]:
    """Makes physical volumes; the first has metadata as long as promised, which say that all volumes are in shreds.

    Args:
        folder: Where their images go.
        segments: How many each volume has: as many as such a text has room for.
        stripe_counts: What each segment draws its number of stripes from; there are as many disks as the most of them.
    """
    folder.mkdir()
    pvs, volumes = _volumes(segments, stripe_counts)
    text = _text(pvs, volumes)
    text = _text(pvs, volumes, TEXT_BYTES - len(text) - 1)
    assert len(text) + 1 == TEXT_BYTES
    area = TEXT_BYTES + (1 << 20)
    images = []
    for pv in pvs:
        images.append(folder / f"{pv.name}.img")
        first = pv is pvs[0]
        images[-1].write_bytes(
            build_pv(text, name=pv.name, size_bytes=AREA_OFFSET + area, areas=[(AREA_OFFSET, area)])
            if first
            else build_pv(name=pv.name, areas=[], used=True)
        )
        os.truncate(images[-1], (pv.extents + 16) * EXTENT_SECTORS * 512 + area)  # sparse: there is no data to see
    return images


def _text(pvs: Sequence[PvText], volumes: str, padding: int = 0) -> bytes:
    frame = group_text("large", pvs=pvs, extent_sectors=EXTENT_SECTORS, padding=" " * padding).decode()
    head, end, tail = frame.partition("\n}\n# Generated")
    return f"{head}\nlogical_volumes {{\n\n{volumes}}}\n{end}{tail}".encode()


def _volumes(segments: int, stripe_counts: Sequence[int]) -> tuple[list[PvText], str]:
    """Returns the physical volumes that the segments of all volumes need, and the text of the volumes."""
    draw = random.Random(6)
    used = {f"pv{index}": 0 for index in range(max(stripe_counts))}
    texts = []
    for number in range(VOLUMES):
        name, shreds, start = f"lv{number:04}", [], 0
        for index in range(segments):
            count = draw.choice(stripe_counts)
            stripes = []
            for pv in draw.sample(list(used), count):
                stripes.append(f'"{pv}", {used[pv]}')
                used[pv] += 1
            size = f"stripe_size = {EXTENT_SECTORS}\n" if count > 1 else ""
            shreds.append(
                f"segment{index + 1} {{\nstart_extent = {start}\nextent_count = {count}\n\n"
                f'type = "striped"\nstripe_count = {count}\n{size}\n'
                f"stripes = [\n{f',{chr(10)}'.join(stripes)}\n]\n}}\n"
            )
            start += count
        texts.append(
            f'{name} {{\nid = "{uuid_of(name)}"\nstatus = ["READ", "WRITE", "VISIBLE"]\nflags = []\n'
            f'creation_time = 1700000000\ncreation_host = "host"\nsegment_count = {segments}\n\n{"".join(shreds)}}}\n'
        )
    return [PvText(pv, extents) for pv, extents in used.items()], "".join(texts)
