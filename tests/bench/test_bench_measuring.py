"""How figures are taken: in turn and both ways round, ratios round by round, the best fixed depth as the judge."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"


def python(code: str, *arguments: object) -> Any:
    """What code that can import the benchmarks prints as JSON."""
    begin = "import json, sys; sys.path.insert(0, sys.argv.pop(1))\n"
    command = [sys.executable, "-c", begin + code, str(BENCH), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_rounds_alternate_their_order_and_the_first_does_not_count() -> None:
    code = """
import row
order = []
def measure(name):
    order.append(name)
    return len(order)
figures = row.in_turn(2, lambda: measure("A"), lambda: measure("B"))
print(json.dumps([order, figures]))
"""
    assert python(code) == [["B", "A", "A", "B", "B", "A"], [[3, 6], [4, 5]]]


def test_ratios_are_taken_round_by_round_and_of_medians_where_rounds_do_not_pair() -> None:
    code = "import row\nprint(json.dumps([row.ratios_of([1, 4], [2, 2]), row.ratios_of([1, 3, 8], [6])]))"
    assert python(code) == [[0.5, 2], [0.5]]


def test_another_result_is_never_a_goal_met() -> None:
    code = """
import row
done = row.compared("qemu-img", [2.0], [1.0], 1, sound=False)
print(json.dumps([done.met, done.name]))
"""
    assert python(code) == [False, "qemu-img: ANOTHER RESULT"]


# A load that takes 1 s, plus 0.1 s for each step away from the depth 24, and a tenth more with auto.
JUDGED = """
import prefetching
asked = []
def load(prefetch):
    asked.append(prefetch)
    depth = 24 if prefetch == "auto" else prefetch
    return (1 + 0.1 * abs(depth - 24)) * (1.1 if prefetch == "auto" else 1)
row = prefetching.judged("a played disk", prefetching.LARGE, load)
print(json.dumps([row.name, row.figure, row.ratio, row.met, asked]))
"""


def test_auto_is_judged_by_the_best_fixed_depth() -> None:
    name, figure, ratio, met, asked = python(JUDGED)
    assert name == "a played disk, 1,563 areas; best 24: 1.000 s"
    assert (figure, ratio, met) == ("1.100 s (1.100-1.100)", "1.10x (1.10-1.10)", True)
    assert set(asked) == {"auto", 256, 192, 128, 96, 64, 48, 32, 24, 16, 12}, "deeper to shallower, until it is slow"


def test_on_a_modelled_drive_the_judgement_is_exact(tmp_path: Path) -> None:
    code = """
import pathlib, prefetching, stores
path = pathlib.Path(sys.argv[1])
stores.metadata_store(path, 19, 1 << 20)
prefetching.DEPTHS = (16, 1, 0)
rows = [prefetching.simulated("network-5ms", 20, path) for _ in range(2)]
print(json.dumps([rows[0] == rows[1], rows[0].name, len(rows[0].ratios), rows[0].runs]))
"""
    same, name, ratios, runs = python(code, tmp_path / "small.cow")
    assert same
    assert name.startswith("network-5ms model, 20 areas; best 16: ")
    assert ratios == len(runs) == 3
    assert 0.01 < min(runs) <= max(runs) < 0.2, "seconds of the model, in which nobody waited"


def test_a_loop_of_small_reads_finds_what_loading_finds(tmp_path: Path) -> None:
    code = """
import pathlib, sixteen_bytes, stores
from dmsnap.block import FileDevice
from dmsnap.store import open_store
path = pathlib.Path(sys.argv[1])
count = stores.metadata_store(path, 3, 1 << 20, allocated=True)
with FileDevice(path) as device:
    found = sixteen_bytes.exceptions_of(sixteen_bytes.buffered(device))
    table = open_store(device).table
    assert all(table.lookup(origin) == cow for origin, cow in found.items())
print(json.dumps([count, len(found), len(table)]))
"""
    assert python(code, tmp_path / "small.cow") == [768, 768, 768]


SLOW = """
import pathlib, slow_disk
from dmsnap.block import open_device
from dmsnap.testing.kernelvm import load_time
with load_time.slow_disk(pathlib.Path(sys.argv[1]), 0.001) as address:
    with open_device(address) as disk:
        memory = [memoryview(bytearray(4096)) for _ in range(100)]
        for completion in disk.start_reads([(i * 4096, view) for i, view in enumerate(memory)]):
            completion.wait()
        pathlib.Path(sys.argv[2]).write_bytes(b"".join(memory))
        print(disk.size_bytes)
"""


def test_the_slow_disk_is_read_with_many_requests_under_way(tmp_path: Path) -> None:
    from dmsnap.testing import need_tool

    need_tool("nbdkit")
    content = np.random.default_rng(1).bytes(100 * 4096)
    (tmp_path / "disk").write_bytes(content)
    assert python(SLOW, tmp_path / "disk", tmp_path / "read") == len(content)
    assert (tmp_path / "read").read_bytes() == content


@pytest.mark.parametrize("chunk_bytes", [4096, 16384])
def test_store_and_overlay_hold_the_same(tmp_path: Path, chunk_bytes: int) -> None:
    from dmsnap.testing import need_tool

    need_tool("qemu-img")
    need_tool("qemu-io")
    code = """
import pathlib, subprocess, dmsnap, images
images.IMAGE_BYTES = 32 << 20
folder = pathlib.Path(sys.argv[1])
made = images.snapshot_and_overlay(folder, int(sys.argv[2]), 300, seed=1)
dmsnap.export(made.cow, made.origin, folder / "ours.img")
convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(made.overlay), str(folder / "theirs.img")]
subprocess.run(convert, check=True)
same = images.same_content(folder / "ours.img", folder / "theirs.img")
print(json.dumps([same, images.same_content(folder / "ours.img", made.origin)]))
"""
    assert python(code, tmp_path, chunk_bytes) == [True, False]
