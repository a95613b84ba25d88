"""Programs that people use as clients: libnbd's, QEMU's and fio."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

import pytest

from dmsnap.block.file import FileDevice
from dmsnap.block.memory import MemoryDevice
from dmsnap.serve.nbd import Export
from dmsnap.testing.tools import need_tool

SIZE = 8 << 20


def run(*command: str | Path, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sparse() -> MemoryDevice:
    device = MemoryDevice(SIZE)
    device.write_at(1 << 20, random.Random(4).randbytes(1 << 20))
    return device


def test_nbdinfo_lists_and_maps(serve) -> None:
    nbdinfo = need_tool("nbdinfo")
    server = serve(Export("a", sparse(), description="first", dirty_bitmap="s"), Export("b", sparse(), read_only=True))
    exports = json.loads(run(nbdinfo, "--list", "--json", server.addresses[0]))["exports"]
    assert [(export["export-name"], export["is_read_only"]) for export in exports] == [("a", False), ("b", True)]
    assert exports[0]["description"] == "first"
    assert exports[0]["can_multi_conn"]
    uri = server.addresses[0].replace("///", "///a")
    for context, expected in (
        ("base:allocation", [(0, 1 << 20, 3), (1 << 20, 1 << 20, 0), (2 << 20, 6 << 20, 3)]),
        ("qemu:allocation-depth", [(0, SIZE, 1)]),
        ("qemu:dirty-bitmap:s", [(0, SIZE, 1)]),
    ):
        mapped = json.loads(run(nbdinfo, "--json", f"--map={context}", uri))
        assert [(part["offset"], part["length"], part["type"]) for part in mapped] == expected


def test_nbdcopy_both_ways(serve, tmp_path: Path) -> None:
    nbdcopy = need_tool("nbdcopy")
    source, target = sparse(), MemoryDevice(SIZE)
    server = serve(Export("from", source), Export("to", target))
    uri = server.addresses[0]
    run(nbdcopy, uri.replace("///", "///from"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == source.read_at(0, SIZE)
    run(nbdcopy, "--flush", tmp_path / "copy", uri.replace("///", "///to"))
    assert target.read_at(0, SIZE) == source.read_at(0, SIZE)


def test_qemu_img_reads_maps_and_compares(serve, tmp_path: Path) -> None:
    qemu_img = need_tool("qemu-img")
    device = sparse()
    uri = serve(Export("", device)).addresses[0]
    assert json.loads(run(qemu_img, "info", "--output=json", uri))["virtual-size"] == SIZE
    mapped = json.loads(run(qemu_img, "map", "--output=json", "-f", "raw", uri))
    assert [(part["start"], part["length"], part["zero"]) for part in mapped] == [
        (0, 1 << 20, True), (1 << 20, 1 << 20, False), (2 << 20, 6 << 20, True),
    ]  # fmt: skip
    run(qemu_img, "convert", "-f", "raw", "-O", "raw", uri, tmp_path / "image")
    assert (tmp_path / "image").read_bytes() == device.read_at(0, SIZE)
    run(qemu_img, "compare", "-f", "raw", "-F", "raw", uri, tmp_path / "image")


def test_qemu_io_writes_reads_discards_and_zeroes(serve) -> None:
    qemu_io = need_tool("qemu-io")
    device = MemoryDevice(SIZE)
    uri = serve(Export("", device)).addresses[0]
    commands = ["write -P 5 4k 64k", "write -f -P 6 8k 4k", "read -P 6 8k 4k", "write -z 16k 4k", "write -z -u 20k 4k"]
    commands += ["read -P 0 16k 8k", "aio_write -P 7 1M 1M", "aio_flush", "discard 32k 4k", "flush"]
    output = run(qemu_io, "-f", "raw", *(word for command in commands for word in ("-c", command)), uri)
    assert "failed" not in output
    assert device.read_at(8192, 4096) == b"\6" * 4096
    assert device.read_at(1 << 20, 1 << 20) == b"\7" * (1 << 20)


@pytest.mark.parametrize("jobs", [1, 3])
def test_fio_finds_what_it_wrote(serve, tmp_path: Path, jobs: int) -> None:
    fio = need_tool("fio")
    path = tmp_path / "disk"
    path.write_bytes(bytes(jobs * SIZE))
    with FileDevice(path, writable=True) as device:
        server = serve(Export("", device))
        run(
            *(fio, "--name=x", "--ioengine=nbd", f"--uri={server.addresses[0]}", "--rw=randrw", "--bsrange=512-128k"),
            *("--blockalign=512", "--iodepth=16", f"--size={SIZE}", "--verify=crc32c", "--randseed=3", "--fsync=64"),
            *(f"--numjobs={jobs}", f"--offset_increment={SIZE}"),
            cwd=tmp_path,
        )
        assert server.counters.clients_ever >= jobs
        assert server.counters.errors == 0
        server.stop()
