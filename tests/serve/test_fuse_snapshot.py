"""A snapshot mounted by the library, and what is built on top of it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dmsnap
from dmsnap import mount
from dmsnap.block import InUse
from dmsnap.serve.fuse import BadMountPoint
from dmsnap.testing import need, need_tool

CHUNK = 4096
SIZE = 16 << 20


@pytest.fixture
def cow(tmp_path: Path) -> Path:
    """A new store beside its origin, ``disk.img``."""
    (tmp_path / "disk.img").write_bytes(random.Random(3).randbytes(SIZE))
    dmsnap.create(tmp_path / "monday.cow", 24 << 20, CHUNK)
    return tmp_path / "monday.cow"


@pytest.fixture
def origin(cow: Path) -> Path:
    return cow.with_name("disk.img")


def run(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def content(cow: Path, origin: Path) -> bytes:
    with dmsnap.open_snapshot(cow, origin) as snapshot:
        return snapshot.read()


def test_what_is_written_to_the_file_is_in_the_snapshot(cow: Path, origin: Path, directory: Path) -> None:
    before = origin.read_bytes()
    with mount(cow, directory, origin) as mounted:
        assert mounted.path == directory / "monday"
        assert mounted.path.read_bytes() == before
        with open(mounted.path, "r+b") as file:
            file.seek(12345)
            file.write(b"hello")
        assert mounted.path.read_bytes() == before[:12345] + b"hello" + before[12350:]
    assert content(cow, origin) == before[:12345] + b"hello" + before[12350:]
    assert origin.read_bytes() == before
    assert dmsnap.info(cow, origin=origin).findings == ()


def test_what_was_synced_is_there_while_it_is_mounted(cow: Path, origin: Path, directory: Path) -> None:
    with mount(cow, directory, origin) as mounted:
        descriptor = os.open(mounted.path, os.O_RDWR)
        os.pwrite(descriptor, b"durable", 8192)
        os.fsync(descriptor)
        assert content(cow, origin)[8192:8199] == b"durable"
        os.close(descriptor)


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_closing_the_file_is_enough(sync, cow: Path, origin: Path, directory: Path) -> None:
    with mount(cow, directory, origin, sync=sync) as mounted:
        with open(mounted.path, "r+b") as file:
            file.write(b"closed")
        assert content(cow, origin)[:6] == b"closed"


def test_its_time_is_the_stores(cow: Path, origin: Path, directory: Path) -> None:
    os.utime(cow, ns=(5, 1234567891234567890))
    with mount(cow, directory, origin) as mounted:
        assert mounted.path.stat().st_mtime_ns == 1234567891234567890
        with open(mounted.path, "r+b") as file:
            file.write(b"x")
        assert mounted.path.stat().st_mtime_ns > 1234567891234567890


def test_read_only_changes_nothing(cow: Path, origin: Path, directory: Path) -> None:
    before = cow.read_bytes(), cow.stat().st_mtime_ns
    with mount(cow, directory, origin, read_only=True) as mounted:
        assert mounted.path.read_bytes() == origin.read_bytes()
        with dmsnap.open_snapshot(cow, origin, "r+"):  # nobody is kept away
            pass
    assert (cow.read_bytes(), cow.stat().st_mtime_ns) == before


def test_a_store_has_one_writer(cow: Path, origin: Path, directory: Path) -> None:
    with mount(cow, directory, origin), pytest.raises(InUse):
        dmsnap.open_snapshot(cow, origin, "r+")
    dmsnap.open_snapshot(cow, origin, "r+").close()


def test_its_own_parts_are_not_hidden(cow: Path, origin: Path, directory: Path) -> None:
    with pytest.raises(BadMountPoint, match="would be hidden"):
        mount(cow, cow.parent, origin)


def test_a_device_that_is_open_stays_open(cow: Path, origin: Path, directory: Path) -> None:
    from dmsnap.block import FileDevice, MemoryDevice

    with FileDevice(cow) as store, MemoryDevice(origin.read_bytes()) as below:
        with mount(store, directory, below, read_only=True) as mounted:
            assert mounted.path == directory / "monday"
            assert mounted.path.read_bytes() == origin.read_bytes()
        assert not store.closed
        assert not below.closed


def test_a_full_store_is_enospc_and_what_has_its_room_can_be_read_and_written(origin: Path, directory: Path) -> None:
    small = origin.with_name("small.cow")
    dmsnap.create(small, 64 << 10, CHUNK)
    with mount(small, directory, origin) as mounted:
        descriptor = os.open(mounted.path, os.O_RDWR)
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012
            for chunk in range(64):
                os.pwrite(descriptor, b"x" * CHUNK, chunk * CHUNK)
        assert os.pread(descriptor, 5, 0) == b"xxxxx"
        assert os.pwrite(descriptor, b"yyyyy", 0) == 5  # has its room
        os.close(descriptor)
    assert content(small, origin)[:CHUNK] == b"yyyyy" + b"x" * (CHUNK - 5)


def test_what_was_flushed_survives_a_kill(cow: Path, origin: Path, directory: Path) -> None:
    code = (
        "import sys\nfrom dmsnap import mount\n"
        "mounted = mount(sys.argv[1], sys.argv[2], sys.argv[3])\nprint(mounted.path, flush=True)\nmounted.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code, cow, directory, origin], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        descriptor = os.open(process.stdout.readline().rstrip(b"\n"), os.O_RDWR)
        os.pwrite(descriptor, b"flushed", CHUNK)
        os.fsync(descriptor)
        os.pwrite(descriptor, b"not yet", 5 * CHUNK)
        process.kill()
    with pytest.raises(OSError, match=r"not connected|abort"):
        os.close(descriptor)
    with pytest.raises(BadMountPoint, match=r"was killed is left there \(unmount it: fusermount3 -u"):
        mount(cow, directory, origin)
    run("fusermount3", "-u", directory)
    with mount(cow, directory, origin) as mounted, open(mounted.path, "rb") as file:
        assert os.pread(file.fileno(), 7, CHUNK) == b"flushed"
        assert os.pread(file.fileno(), 7, 5 * CHUNK) in (b"not yet", origin.read_bytes()[5 * CHUNK :][:7])
    assert dmsnap.info(cow, origin=origin).findings == ()


# -- loop devices and file systems ------------------------------------------------------------------------------------


@contextmanager
def loop_device(path: Path) -> Iterator[str]:
    losetup = need_tool("losetup")
    need(os.geteuid() == 0, "loop devices need root")
    need(Path("/dev/loop-control").exists(), "loop devices need /dev/loop-control")
    loop = run(losetup, "--find", "--show", path)
    try:
        yield loop
    finally:
        run(losetup, "--detach", loop)


@contextmanager
def file_system(loop: str, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    run(need_tool("mount"), loop, folder)
    try:
        yield folder
    finally:
        run(need_tool("umount"), folder)


def test_a_file_system_lives_on_it(cow: Path, origin: Path, directory: Path, tmp_path: Path) -> None:
    files = {f"file {number}": random.Random(number).randbytes(number * 7919) for number in range(1, 30)}
    with mount(cow, directory, origin) as mounted, loop_device(mounted.path) as loop:
        run(need_tool("mke2fs"), "-q", "-F", "-t", "ext4", loop)
        with file_system(loop, tmp_path / "ext4") as folder:
            for name, data in files.items():
                (folder / name).write_bytes(data)
            (folder / "file 7").unlink()
        run(need_tool("e2fsck"), "-f", "-n", loop)
    del files["file 7"]
    used = dmsnap.info(cow, origin=origin)
    assert used.findings == ()
    with mount(cow, directory, origin, read_only=True) as mounted, loop_device(mounted.path) as loop:
        run("e2fsck", "-f", "-n", loop)
        with file_system(loop, tmp_path / "ext4") as folder:
            assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == files


def test_making_a_file_system_does_not_fill_the_store(origin: Path, directory: Path) -> None:
    small = origin.with_name("small.cow")
    dmsnap.create(small, 4 << 20, CHUNK)
    with mount(small, directory, origin) as mounted, loop_device(mounted.path) as loop:
        run(need_tool("mke2fs"), "-q", "-F", "-t", "ext4", loop)  # tells first that all 16 MiB are free
        run(need_tool("e2fsck"), "-f", "-n", loop)
