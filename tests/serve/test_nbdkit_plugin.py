"""The nbdkit plugin, in nbdkit: real clients see and change the snapshot that `open_snapshot` sees."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import dmsnap
import dmsnap.serve.nbdkit_plugin as plugin
from dmsnap.testing.tools import need, need_tool

CHUNK = 16384
SIZE = 64 * CHUNK + 512


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A store with a few exceptions and its origin, which ends within a chunk."""
    cow, origin = tmp_path / "a.cow", tmp_path / "o.img"
    origin.write_bytes(random.Random(7).randbytes(SIZE))
    dmsnap.create(cow, 4 << 20)
    with dmsnap.open_snapshot(cow, origin, "r+") as snapshot:
        snapshot.write_at(3 * CHUNK, b"3" * CHUNK)
    return cow, origin


def nbdkit(*parameters: str, script: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Runs nbdkit with the plugin around a shell script, in which ``$uri`` is the server."""
    program = need_tool("nbdkit")
    dump = subprocess.run([program, "python", "--dump-plugin"], capture_output=True, text=True, check=False)
    need(dump.returncode == 0, "nbdkit's python plugin is not installed")
    version = ".".join(map(str, sys.version_info[:2]))
    need(f"python_version={version}." in dump.stdout, f"nbdkit's python plugin is not of Python {version}")
    places = [Path(dmsnap.__file__).parents[1], Path(numpy.__file__).parents[1]]
    return subprocess.run(
        [program, "-U", "-", *options, "python", str(plugin.__file__), *parameters, "--run", script],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_copy_is_the_snapshot(files, tmp_path: Path) -> None:
    need_tool("nbdcopy")
    cow, origin = files
    ended = nbdkit(f"cow={cow}", f"origin={origin}", "mode=r", script=f'nbdcopy "$uri" {tmp_path}/copy.img')
    assert ended.returncode == 0, ended.stderr
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        assert (tmp_path / "copy.img").read_bytes() == snapshot.read_at(0, SIZE)


def test_what_clients_write_is_in_the_store_and_the_origin_stays(files) -> None:
    need_tool("qemu-io")
    cow, origin = files
    before = origin.read_bytes()
    commands = [
        "write -P 1 1024 512",
        "write -f -P 2 65536 32768",
        "write -z 131072 16384",
        "flush",
    ]
    words = " ".join(f"-c '{command}'" for command in commands)
    ended = nbdkit(f"cow={cow}", f"origin={origin}", script=f'qemu-io -f raw {words} "$uri"')
    assert ended.returncode == 0, ended.stdout + ended.stderr
    expected = bytearray(before)
    for at, data in (
        (3 * CHUNK, b"3" * CHUNK), (1024, b"\1" * 512), (65536, b"\2" * 32768), (131072, bytes(16384)),
    ):  # fmt: skip
        expected[at : at + len(data)] = data
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        assert snapshot.read_at(0, SIZE) == expected
    assert origin.read_bytes() == before


def test_clients_are_told_of_sizes_and_holes(files) -> None:
    need_tool("nbdinfo")
    cow, origin = files
    with origin.open("r+b") as out:
        out.truncate(0)
        out.truncate(SIZE)
    script = 'nbdinfo --json "$uri"; echo ";"; nbdinfo --map --json "$uri"'
    info, extents = nbdkit(f"cow={cow}", f"origin={origin}", "mode=r", script=script).stdout.split(";")
    (export,) = json.loads(info)["exports"]
    assert (export["export-size"], export["block_size_preferred"]) == (SIZE, CHUNK)
    assert export["is_read_only"]
    assert [extent["type"] for extent in json.loads(extents)] == [3, 0, 3]


def test_a_filter_goes_around_it(files) -> None:
    need_tool("nbdinfo")
    cow, origin = files
    script = 'nbdinfo --size "$uri"'
    ended = nbdkit(f"cow={cow}", f"origin={origin}", f"truncate={CHUNK}", script=script, options=("--filter=truncate",))
    assert ended.stdout == f"{CHUNK}\n"


def test_only_looking_changes_nothing(files) -> None:
    need_tool("qemu-io")
    cow, origin = files
    before = cow.read_bytes(), cow.stat().st_mtime_ns
    script = "qemu-io -r -f raw -c 'read 0 1M' \"$uri\""
    assert nbdkit(f"cow={cow}", f"origin={origin}", "mode=r", script=script).returncode == 0
    assert (cow.read_bytes(), cow.stat().st_mtime_ns) == before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ((), "cow= is missing"),
        (("cow=missing.cow", "origin=missing.img"), "missing.img"),
        (("cow=a", "origin=b", "colour=red"), "no such parameter: colour"),
        (("cow=a", "origin=b", "mode=rw"), "no such mode: rw"),
    ],
)
def test_what_is_wrong_is_said_before_anyone_connects(parameters: tuple[str, ...], message: str) -> None:
    ended = nbdkit(*parameters, script="echo started")
    assert ended.returncode != 0
    assert message in ended.stderr


def test_what_is_wrong_at_the_start_is_one_line(files) -> None:
    cow, origin = files
    for parameters in ([f"cow={cow}"], [f"cow={cow}.not", f"origin={origin}"], ["what=1"]):
        ended = nbdkit(*parameters, script="true")
        assert ended.returncode != 0
        assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
