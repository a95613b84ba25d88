"""A device mounted for real, used by this process and by others."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dmsnap.block import MemoryDevice, OutOfRoom
from dmsnap.block.wrap import StatsDevice
from dmsnap.serve.fuse import BadMountPoint, Mount, MountFailed, NoFuse, libfuse, mount_point
from dmsnap.serve.fuse import mounting as mounting_module
from dmsnap.testing import need_tool

SIZE = 2 << 20
CONTENT = random.Random(11).randbytes(SIZE)


@pytest.fixture
def device() -> StatsDevice:
    return StatsDevice(MemoryDevice(CONTENT))


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)


def python(code: str, *arguments: Path) -> str:
    """Runs Python in another process: a page fault in this one would wait for itself."""
    process = run(sys.executable, "-c", f"import mmap, os, sys\n{code}", *arguments)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


# -- use --------------------------------------------------------------------------------------------------------------


def test_it_is_one_file_of_the_devices_size(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk") as mount:
        assert list(directory.iterdir()) == [directory / "disk"]
        assert mount.path == directory / "disk"
        assert mount.path.stat().st_size == SIZE
        assert mount.path.read_bytes() == CONTENT
    assert list(directory.iterdir()) == []


def test_other_programs_read_and_write_it(device: StatsDevice, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(CONTENT)
    with Mount(device, directory, "disk") as mount:
        assert run(need_tool("cmp"), mount.path, tmp_path / "raw").returncode == 0
        for options in (["bs=1000", "seek=7", "count=33"], ["bs=64K", "seek=3", "oflag=direct"], ["bs=1", "seek=99"]):
            for path in (mount.path, tmp_path / "raw"):
                done = run("dd", "if=/dev/zero", f"of={path}", "count=1", "conv=notrunc", *options)
                assert done.returncode == 0, done.stderr
        assert run("cmp", mount.path, tmp_path / "raw").returncode == 0
    assert device.read_at(0, SIZE) == (tmp_path / "raw").read_bytes()


def test_it_can_be_mapped_into_memory(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk") as mount:
        code = (
            "with open(sys.argv[1], 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:\n"
            "    memory[5000:5005] = b'hello'\n    memory.flush()\n    print(memory[4096:8192].hex())"
        )
        assert python(code, mount.path) == CONTENT[4096:5000].hex() + b"hello".hex() + CONTENT[5005:8192].hex()
    assert device.read_at(4608, 512)[392:397] == b"hello"


def test_many_read_at_once(device: StatsDevice, directory: Path) -> None:
    def read(seed: int) -> bool:
        rng = random.Random(seed)
        with open(mount.path, "rb", buffering=0) as file:
            for _ in range(50):
                offset = rng.randrange(SIZE)
                data = os.pread(file.fileno(), 5000, offset)
                if data != CONTENT[offset : offset + 5000]:
                    return False
        return True

    with Mount(device, directory, "disk") as mount, ThreadPoolExecutor(16) as threads:
        assert all(threads.map(read, range(32)))


def test_reads_go_on_while_others_wait_for_the_device(directory: Path) -> None:
    class Half(MemoryDevice):
        def _read_into(self, offset: int, view: memoryview) -> None:
            if offset >= SIZE // 2:
                assert go_on.wait(30)
            super()._read_into(offset, view)

    go_on = threading.Event()
    with Mount(Half(CONTENT), directory, "disk") as mount, ThreadPoolExecutor(4) as threads:
        descriptor = os.open(mount.path, os.O_RDONLY | os.O_DIRECT)
        buffers = [mmap.mmap(-1, 4096) for _ in range(5)]
        late = [
            threads.submit(os.preadv, descriptor, [buffer], SIZE // 2 + 4096 * number)
            for number, buffer in enumerate(buffers[1:])
        ]
        assert os.preadv(descriptor, [buffers[0]], 4096) == 4096
        assert not any(each.done() for each in late)
        go_on.set()
        assert [each.result() for each in late] == [4096] * 4
        os.close(descriptor)


def test_holes_are_found_and_punched_by_programs(directory: Path) -> None:
    device = MemoryDevice(CONTENT)
    fallocate = need_tool("fallocate")
    with Mount(device, directory, "disk") as mount:
        assert run(fallocate, "--punch-hole", "--offset", "64KiB", "--length", "1MiB", mount.path).returncode == 0
        with open(mount.path, "rb") as file:
            assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 64 << 10
            assert os.lseek(file.fileno(), 64 << 10, os.SEEK_DATA) == (64 << 10) + (1 << 20)
    assert device.read_at(64 << 10, 1 << 20) == bytes(1 << 20)


# -- errors -----------------------------------------------------------------------------------------------------------


def test_no_room_is_enospc_and_reads_go_on(directory: Path) -> None:
    class Full(MemoryDevice):
        def _write_at(self, offset: int, view: memoryview) -> None:
            raise OutOfRoom("full")

    with Mount(Full(CONTENT), directory, "disk") as mount:
        descriptor = os.open(mount.path, os.O_RDWR)
        with pytest.raises(OSError) as caught:  # noqa: PT011
            os.pwrite(descriptor, b"x" * 4096, 0)
        assert caught.value.errno == errno.ENOSPC
        assert os.pread(descriptor, 100, 0) == CONTENT[:100]
        os.close(descriptor)


def test_read_only_is_a_read_only_file_system(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk", read_only=True) as mount:
        for flags in (os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            with pytest.raises(OSError) as caught:  # noqa: PT011
                os.open(mount.path, flags)
            assert caught.value.errno == errno.EROFS
        assert mount.path.read_bytes() == CONTENT
    assert device.flushes.requests == device.writes.requests == 0


def test_nothing_else_can_be_in_the_directory(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk") as mount:
        for attempt in (
            lambda: (directory / "other").touch(),
            lambda: (directory / "other").mkdir(),
            mount.path.unlink,
            lambda: mount.path.rename(directory / "other"),
            lambda: os.truncate(mount.path, 5),
        ):
            with pytest.raises(PermissionError):
                attempt()
        os.truncate(mount.path, SIZE)


# -- durability -------------------------------------------------------------------------------------------------------


def test_fsync_and_close_reach_the_device(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk") as mount:
        descriptor = os.open(mount.path, os.O_RDWR)
        for number in range(1, 4):
            os.pwrite(descriptor, b"x", number)
            os.fsync(descriptor)
            assert device.flushes.requests == number
        os.pwrite(descriptor, b"y", 0)
        os.close(descriptor)
        assert device.flushes.requests == 4


def test_a_synchronous_write_is_flushed(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk") as mount:
        descriptor = os.open(mount.path, os.O_RDWR | os.O_SYNC)
        os.pwrite(descriptor, b"x", 0)
        assert device.flushes.requests == 1
        os.close(descriptor)


def test_the_end_flushes(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk"):
        pass
    assert device.flushes.requests == 1


# -- the end ----------------------------------------------------------------------------------------------------------


def test_whoever_unmounts_it_ends_it(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk") as mount:
        assert not mount.wait(0)
        assert run("fusermount3", "-u", directory).returncode == 0
        assert mount.wait(30)


def test_it_can_be_stopped_in_use(device: StatsDevice, directory: Path) -> None:
    code = "file = open(sys.argv[1], 'r+b'); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"import sys\n{code}", str(directory / "disk")]
    with (
        Mount(device, directory, "disk") as mount,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
    ):
        assert other.stdout is not None
        other.stdout.readline()
        assert run("fusermount3", "-u", directory).returncode != 0
        mount.stop()
        assert mount.wait(0)
        assert list(directory.iterdir()) == []
        other.communicate()


def test_requests_under_way_are_answered_first(directory: Path) -> None:
    class Slow(MemoryDevice):
        def _read_into(self, offset: int, view: memoryview) -> None:
            under_way.set()
            assert go_on.wait(30)
            super()._read_into(offset, view)

    under_way, go_on = threading.Event(), threading.Event()
    with Mount(Slow(CONTENT), directory, "disk") as mount, ThreadPoolExecutor(2) as threads:
        descriptor = os.open(mount.path, os.O_RDONLY)
        reading = threads.submit(os.pread, descriptor, 100, 0)
        assert under_way.wait(30)
        stopping = threads.submit(mount.stop)
        go_on.set()
        assert reading.result() == CONTENT[:100]
        stopping.result()
        with pytest.raises(OSError, match="not connected"):
            os.close(descriptor)


def test_who_detached_it_and_still_uses_it_is_not_waited_for(
    device: StatsDevice, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounting_module, "_STOP_SECONDS", 0.1)
    mount = Mount(device, directory, "disk")
    with open(mount.path, "rb"):
        assert run("fusermount3", "-u", "-z", directory).returncode == 0
        with pytest.raises(MountFailed, match="still in use"):
            mount.stop()
    assert mount.wait(30)
    assert device.flushes.requests == 1


def test_signals_and_the_working_directory_are_as_before(device: StatsDevice, directory: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    folder = Path.cwd()
    kernels_view = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Sig")]
    with Mount(device, directory, "disk"):
        assert Path.cwd() == folder
        status = Path("/proc/self/status").read_text().splitlines()
        assert [line for line in status if line.startswith("SigCgt")] == kernels_view[-1:]
    assert {number: signal.getsignal(number) for number in before} == before


def test_it_can_be_mounted_again_and_again(device: StatsDevice, directory: Path) -> None:
    descriptors = None
    for _ in range(3):
        with Mount(device, directory, "disk") as mount:
            assert hashlib.sha256(mount.path.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
        now = len(list(Path("/proc/self/fd").iterdir()))
        assert descriptors in (None, now)
        descriptors = now


# -- the directory, and what FUSE takes -------------------------------------------------------------------------------


def test_a_directory_that_is_not_empty_is_refused(device: StatsDevice, directory: Path) -> None:
    (directory / "diary").touch()
    with pytest.raises(BadMountPoint, match="is not empty"):
        Mount(device, directory, "disk")


def test_what_is_no_directory_is_refused(device: StatsDevice, directory: Path) -> None:
    with pytest.raises(BadMountPoint, match="mkdir"):
        Mount(device, directory / "missing", "disk")
    (directory / "file").touch()
    with pytest.raises(BadMountPoint, match="not a directory"):
        Mount(device, directory / "file", "disk")


def test_a_second_mount_is_refused(device: StatsDevice, directory: Path) -> None:
    with Mount(device, directory, "disk"), pytest.raises(BadMountPoint, match="something is mounted there"):
        Mount(device, directory, "disk")


def test_what_would_be_hidden_is_not(directory: Path) -> None:
    (directory / "snap.cow").touch()
    (directory.parent / "link").symlink_to(directory)
    with pytest.raises(BadMountPoint, match="would be hidden"):
        mount_point.check_mount_point(directory.parent / "link", hidden=[directory / "snap.cow"])


def test_what_libfuse_says_is_the_error(
    device: StatsDevice, directory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mounting_module, "_as_option", lambda text: "x,no_such_option")
    with pytest.raises(MountFailed, match=r"cannot mount: .*no_such_option"):
        Mount(device, directory, "disk")
    assert capfd.readouterr().err == ""


def test_without_mfusepy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    with pytest.raises(NoFuse, match=r"mfusepy is not installed \(pip install 'dmsnap\[fuse\]'\)"):
        libfuse.check_fuse()


def test_without_the_kernels_part_it_says_so(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libfuse, "DEVICE", directory / "fuse")
    with pytest.raises(NoFuse, match="load the kernel module fuse"):
        libfuse.check_fuse()
    (directory / "fuse").touch()
    with pytest.raises(NoFuse, match="permission denied"):
        libfuse.check_fuse()


def test_without_fusermount3_only_root_can(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoFuse, match="fusermount3 is not installed"):
        libfuse.check_fuse()
