"""Writers of a file and of loop devices on it notice each other. Needs root and losetup."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dmsnap.block import FileDevice, InUse
from dmsnap.testing import need, need_tool

HOLD = """
import sys
from dmsnap.block import FileDevice
with FileDevice(sys.argv[1], writable=True, exclusive=True):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(path: Path | str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def open_exclusively(path: Path | str, *, writable: bool = True) -> None:
    FileDevice(path, writable=writable, exclusive=True).close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    need(os.geteuid() == 0, "loop devices need root")
    need(Path("/dev/loop-control").exists(), "loop devices need /dev/loop-control")
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4 << 20))
    return image


@pytest.fixture
def loop(path: Path) -> Iterator[str]:
    with attached(path) as device:
        yield device


@contextmanager
def attached(path: Path, *options: str) -> Iterator[str]:
    losetup = need_tool("losetup")
    command = [losetup, "--find", "--show", *options, str(path)]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    yield made.stdout.strip()
    subprocess.run([losetup, "--detach", made.stdout.strip()], check=True)


def test_a_file_is_in_use_while_a_loop_device_on_it_is(loop: str, path: Path) -> None:
    with held_by_another_process(loop), pytest.raises(InUse, match=rf"disk\.img: in use by way of {loop}") as caught:
        open_exclusively(path)
    assert caught.value.errno == errno.EBUSY
    open_exclusively(path)  # a loop device that is only there is not in the way


def test_a_file_is_in_use_while_a_loop_device_on_it_is_mounted(loop: str, path: Path, tmp_path: Path) -> None:
    subprocess.run([need_tool("mke2fs"), "-q", "-t", "ext4", path], check=True)
    (tmp_path / "mounted").mkdir()
    subprocess.run([need_tool("mount"), loop, tmp_path / "mounted"], check=True)
    try:
        with pytest.raises(InUse, match=rf"in use by way of {loop} \(unmount or deactivate that"):
            open_exclusively(path)
        FileDevice(path).close()
    finally:
        subprocess.run([need_tool("umount"), tmp_path / "mounted"], check=True)
    open_exclusively(path)


def test_a_loop_device_is_in_use_while_the_file_below_it_is(loop: str, path: Path) -> None:
    with held_by_another_process(path), pytest.raises(InUse, match=r"in use by way of .*disk\.img"):
        open_exclusively(loop)
    open_exclusively(loop)


def test_a_loop_device_is_in_use_while_another_on_the_same_file_is(loop: str, path: Path) -> None:
    with attached(path) as second:
        with held_by_another_process(second), pytest.raises(InUse, match=f"{loop}: in use by way of {second}"):
            open_exclusively(loop)
        open_exclusively(loop)


def test_loop_devices_on_two_parts_of_a_file_are_not_in_the_way_of_each_other(path: Path) -> None:
    with (
        attached(path, "--sizelimit=1MiB") as first,
        attached(path, "--offset=1MiB") as second,
        attached(path, "--offset=512KiB") as both,
        held_by_another_process(first),
    ):
        open_exclusively(second)
        with pytest.raises(InUse, match=f"in use by way of {first}"):
            open_exclusively(both)


def test_a_loop_device_that_this_user_may_not_ask_counts_as_used(
    loop: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: object, flags: int, mode: int = 0o777) -> int:
        if str(name) == loop:
            raise PermissionError(errno.EACCES, "Permission denied", loop)
        return opened(name, flags, mode)  # type: ignore[arg-type]

    opened = os.open
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InUse, match=f"in use by way of {loop}"):
        open_exclusively(path)
    (tmp_path / "other.img").write_bytes(bytes(512))
    open_exclusively(tmp_path / "other.img")
