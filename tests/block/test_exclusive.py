"""Writers of one file or block device notice each other, dmsnap's and QEMU's, and the kernel is noticed as well."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dmsnap.block import CannotOpen, FileDevice, InUse, exclusive, open_device
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


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# -- dmsnap and dmsnap ------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused_in_one_line_and_leaves_nothing_open(path: Path) -> None:
    with held_by_another_process(path):
        before = open_descriptors()
        with pytest.raises(InUse, match=r"disk\.img: in use by another writer \(wait for it or stop it") as caught:
            open_exclusively(path)
        assert isinstance(caught.value, CannotOpen)
        assert caught.value.errno == errno.EBUSY
        assert "\n" not in str(caught.value)
        assert open_descriptors() == before


def test_a_process_that_is_killed_holds_nothing_any_more(path: Path) -> None:
    with held_by_another_process(path) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        open_exclusively(path)


def test_the_same_process_cannot_have_it_twice(path: Path) -> None:
    with FileDevice(path, writable=True, exclusive=True), pytest.raises(InUse):
        open_device(path, writable=True, exclusive=True)
    open_exclusively(path)


def test_another_name_of_the_file_is_the_same_file(path: Path, tmp_path: Path) -> None:
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "soft").symlink_to(path)
    with FileDevice(path, writable=True, exclusive=True):
        for name in ("hard", "soft"):
            with pytest.raises(InUse):
                open_exclusively(tmp_path / name)


def test_what_is_not_exclusive_is_not_kept_away(path: Path) -> None:
    with FileDevice(path, writable=True, exclusive=True), FileDevice(path) as reader:
        assert reader.read_at(0, 512) == bytes(range(256)) * 2
    with FileDevice(path), FileDevice(path, writable=True):
        open_exclusively(path)


def test_one_who_only_reads_keeps_writers_away(path: Path) -> None:
    with FileDevice(path, exclusive=True), pytest.raises(InUse):
        open_exclusively(path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def test_where_there_are_no_locks_there_are_none_to_respect(path, monkeypatch, number) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(exclusive.fcntl, "flock", refuse)
    monkeypatch.setattr(exclusive.fcntl, "fcntl", refuse)
    open_exclusively(path)


@pytest.mark.parametrize("kind", [fcntl.F_RDLCK, fcntl.F_WRLCK], ids=["shared", "exclusive"])
def test_any_lock_on_the_byte_of_writers_is_respected(path: Path, kind: int) -> None:
    """QEMU's are shared ones; an exclusive one says no less."""
    with path.open("r+b") as other:
        fcntl.fcntl(other.fileno(), fcntl.F_OFD_SETLK, exclusive._one_byte(kind, 101))
        with pytest.raises(InUse):
            open_exclusively(path)
    open_exclusively(path)


# -- QEMU -------------------------------------------------------------------------------------------------------------


@contextmanager
def held_by_qemu_io(path: Path, *options: str) -> Iterator[None]:
    command = [need_tool("qemu-io"), *options, "-f", "raw", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("length\n")
            process.stdin.flush()
            while "64 KiB" not in (line := process.stdout.readline()):
                assert line, "qemu-io ended"
            yield
        finally:
            process.kill()


def test_a_qemu_that_writes_is_noticed(path: Path) -> None:
    with held_by_qemu_io(path):
        with pytest.raises(InUse, match="in use by another writer"):
            open_exclusively(path)
        with pytest.raises(InUse):
            open_exclusively(path, writable=False)
    open_exclusively(path)


def test_a_qemu_that_shares_is_not_in_the_way(path: Path) -> None:
    with held_by_qemu_io(path, "--read-only"):  # qemu-io lets others write
        open_exclusively(path)


def test_a_qemu_that_wants_nobody_to_write_is_in_the_way_of_writers_alone(path: Path) -> None:
    with path.open("rb") as other:  # as a virtual machine locks a disk that it only reads
        fcntl.fcntl(other.fileno(), fcntl.F_OFD_SETLK, exclusive._one_byte(fcntl.F_RDLCK, 201))
        with pytest.raises(InUse):
            open_exclusively(path)
        open_exclusively(path, writable=False)


@pytest.mark.parametrize("writable", [True, False])
def test_a_qemu_that_would_write_notices_this_one(path: Path, writable: bool) -> None:
    command = [need_tool("qemu-io"), "-f", "raw", "-c", "write 0 512", str(path)]
    with FileDevice(path, writable=writable, exclusive=True):
        answer = subprocess.run(command, capture_output=True, text=True)
        assert answer.returncode != 0
        assert 'Failed to get "write" lock' in answer.stderr
    assert subprocess.run(command, capture_output=True).returncode == 0


# -- block devices ----------------------------------------------------------------------------------------------------


@pytest.fixture
def loop(path: Path) -> Iterator[str]:
    losetup = need_tool("losetup")
    need(os.geteuid() == 0, "loop devices need root")
    need(Path("/dev/loop-control").exists(), "loop devices need /dev/loop-control")
    os.truncate(path, 4 << 20)
    made = subprocess.run([losetup, "--find", "--show", str(path)], check=True, capture_output=True, text=True)
    yield made.stdout.strip()
    subprocess.run([losetup, "--detach", made.stdout.strip()], check=True)


def test_a_block_device_has_one_writer(loop: str) -> None:
    with held_by_another_process(loop):
        with pytest.raises(InUse, match=r"in use by the system or another writer \(unmount or deactivate it"):
            open_exclusively(loop)
        FileDevice(loop, writable=True).close()
    open_exclusively(loop)


def test_a_block_device_that_is_mounted_is_in_use(loop: str, tmp_path: Path) -> None:
    subprocess.run([need_tool("mke2fs"), "-q", "-t", "ext4", loop], check=True)
    (tmp_path / "mounted").mkdir()
    subprocess.run([need_tool("mount"), loop, tmp_path / "mounted"], check=True)
    try:
        with pytest.raises(InUse) as caught:
            open_exclusively(loop)
        assert caught.value.errno == errno.EBUSY
    finally:
        subprocess.run([need_tool("umount"), tmp_path / "mounted"], check=True)
    open_exclusively(loop)


def test_a_lock_on_a_block_device_is_waited_for_as_it_may_be_udevs(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.open(loop, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            fcntl.flock(fd, fcntl.LOCK_UN)

    monkeypatch.setattr(exclusive, "sleep", wait)
    monkeypatch.setattr(exclusive, "monotonic", lambda: len(waited) * 0.1)
    open_exclusively(loop)
    assert len(waited) == 3
    fcntl.flock(fd, fcntl.LOCK_SH)
    with pytest.raises(InUse, match="in use by another writer"):
        open_exclusively(loop)
    os.close(fd)
