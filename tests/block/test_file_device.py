"""What is particular to files: kinds that are refused, holes, odd sizes, a medium that changes, and the page cache."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dmsnap.block import BadRequest, CannotOpen, Extent, ExtentKind, FileDevice, IOFailed
from dmsnap.block import file as file_module
from dmsnap.block import medium as medium_module

DATA, HOLE = ExtentKind.DATA, ExtentKind.HOLE
MIB = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * 256)
    return path


def readers(path: Path) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"{path}-reader"]


# -- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writable", [False, True])
def test_a_fifo_is_refused_and_does_not_hang(tmp_path: Path, writable: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotOpen, match="is a FIFO"):
        FileDevice(tmp_path / "pipe", writable=writable)


def test_a_fifo_that_takes_the_place_of_a_file_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    looked: list[int] = []
    true_look = medium_module._refuse_other_kinds

    def look(path: str, mode: int) -> None:
        looked.append(mode)
        if len(looked) > 1:  # the first look, before opening, saw a file
            true_look(path, mode)

    closed: list[int] = []
    true_close = os.close
    monkeypatch.setattr(medium_module, "_refuse_other_kinds", look)
    with monkeypatch.context() as patch:
        patch.setattr(medium_module.os, "close", lambda fd: (closed.append(fd), true_close(fd)))
        with pytest.raises(CannotOpen, match="is a FIFO"):
            FileDevice(tmp_path / "pipe")
    assert len(looked) == 2
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.symlink_to("/dev/null"), "is a character device"),
        (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
        (lambda path: None, "no such file or directory"),
    ],
    ids=["directory", "character device", "link to itself", "missing"],
)
def test_what_is_no_medium_is_refused_in_one_line(tmp_path: Path, make: Callable[[Path], None], says: str) -> None:
    make(tmp_path / "thing")
    with pytest.raises(CannotOpen, match=says) as caught:
        FileDevice(tmp_path / "thing")
    assert str(tmp_path / "thing") in str(caught.value)
    assert caught.value.hint
    assert caught.value.errno


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(CannotOpen, match="is a socket"):
            FileDevice("socket")


def test_a_file_without_permission_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:  # root may read anything, so the system's answer is played

        def denied(*_: object) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    else:
        path.chmod(0)
        denied = os.open
    with monkeypatch.context() as patch:
        patch.setattr(medium_module.os, "open", denied)
        with pytest.raises(CannotOpen, match=r"permission denied \(run as a user who may open it"):
            FileDevice(path)


def test_odd_characters_in_a_path_do_not_break_the_line(tmp_path: Path) -> None:
    for name in ("new\nline", "nul\0", "\udcff"):
        with pytest.raises(CannotOpen) as caught:
            FileDevice(tmp_path / name)
        assert str(caught.value).isprintable()


def test_a_link_to_a_file_is_followed(tmp_path: Path, path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    with FileDevice(tmp_path / "link") as device:
        assert device.size_bytes == 65536


def test_a_device_opened_to_look_has_a_descriptor_that_cannot_write(path: Path) -> None:
    with FileDevice(path) as device, pytest.raises(OSError, match="Bad file descriptor"):
        os.pwrite(device._fd, b"x", 0)


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "whole"), [(0, 0), (1, 0), (511, 0), (512, 512), (1500, 1024)])
def test_a_file_is_cut_to_whole_sectors_and_its_exact_size_is_kept(path: Path, size: int, whole: int) -> None:
    os.truncate(path, size)
    with FileDevice(path) as device:
        assert (device.size_bytes, device.file_bytes) == (whole, size)
        with pytest.raises(BadRequest):
            device.read_at(whole, 512)


def test_requests_inside_the_known_size_do_not_ask_for_it_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    true_size = file_module.medium_size
    monkeypatch.setattr(file_module, "medium_size", lambda fd: asked.append(fd) or true_size(fd))
    with FileDevice(path) as device:
        for _ in range(10):
            device.read_at(0, 4096)
            device.start_reads([(0, memoryview(bytearray(512)))] * 64)
        assert len(asked) == 1


def test_a_medium_that_is_gone_fails_the_question_for_its_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: int) -> int:
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    monkeypatch.setattr(file_module, "medium_size", gone)
    with FileDevice(path) as device, pytest.raises(IOFailed, match="no such device or address"):
        device.read_at(0, 512)


# -- a medium that changes or fails -----------------------------------------------------------------------------------


def test_reading_what_was_cut_off_underneath_fails_and_is_never_short(path: Path) -> None:
    with FileDevice(path) as device:
        device.read_at(0, 65536)
        os.truncate(path, 10000)
        view = memoryview(bytearray(8192))
        with pytest.raises(IOFailed, match=r"ends at byte 10000 \(it was cut short"):
            device.read_into(8192, view)
        with pytest.raises(IOFailed, match="ends at byte 10000"):
            device.start_read(8192, view).wait()
        with pytest.raises(IOFailed):
            device.start_read(32768, view).wait()
        with pytest.raises(IOFailed):
            list(device.extents(0, 65536))
        assert device.read_at(0, 8192) == bytes(range(256)) * 32


def test_short_reads_and_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_preadv, true_pwrite = file_module.preadv, file_module.pwrite
    monkeypatch.setattr(file_module, "preadv", lambda fd, views, *rest: true_preadv(fd, (views[0][:700],), *rest))
    monkeypatch.setattr(file_module, "pwrite", lambda fd, data, offset: true_pwrite(fd, data[:700], offset))
    content = os.urandom(4096)
    with FileDevice(path, writable=True) as device:
        device.write_at(512, content)
        assert device.read_at(512, 4096) == content
        view = memoryview(bytearray(4096))
        device.start_read(512, view).wait()
        assert view == content


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG])
def test_a_failed_write_says_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(file_module, "pwrite", fail)
    monkeypatch.setattr(file_module, "_datasync", fail)
    monkeypatch.setattr(file_module, "punch_hole", fail)
    with FileDevice(path, writable=True) as device:
        for request in (
            lambda: device.write_at(512, bytes(512)),
            lambda: device.zero(512, 512),
            lambda: device.discard(512, 512),
            device.flush,
        ):
            with pytest.raises(IOFailed) as caught:
                request()
            assert caught.value.errno == number
            assert caught.value.hint


def test_a_full_filesystem_fails_the_write(path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with FileDevice(path, writable=True) as device:
        device.read_at(0, 512)
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, device._fd)
        os.close(full)
        with pytest.raises(IOFailed, match=r"no space left on device \(make room"):
            device.write_at(0, bytes(512))


# -- holes ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """4 MiB with data only in [1 MiB, 1 MiB + 64 KiB) and [3 MiB, 3 MiB + 64 KiB)."""
    path = tmp_path / "sparse.img"
    with path.open("wb") as file:
        file.truncate(4 * MIB)
        for offset in (MIB, 3 * MIB):
            file.seek(offset)
            file.write(b"\x01" * 65536)
    if path.stat().st_blocks * 512 > MIB or not hasattr(os, "SEEK_DATA"):
        pytest.skip("the filesystem of the temporary folder has no sparse files")
    return path


def test_a_sparse_file_shows_its_holes(sparse: Path) -> None:
    with FileDevice(sparse) as device:
        assert list(device.extents(0, 4 * MIB)) == [
            Extent(0, MIB, HOLE),
            Extent(MIB, 65536, DATA),
            Extent(MIB + 65536, 2 * MIB - 65536, HOLE),
            Extent(3 * MIB, 65536, DATA),
            Extent(3 * MIB + 65536, MIB - 65536, HOLE),
        ]


def test_extents_are_bounded_by_the_range_asked_for(sparse: Path) -> None:
    with FileDevice(sparse) as device:
        assert list(device.extents(MIB + 512, 1024)) == [Extent(MIB + 512, 1024, DATA)]
        assert list(device.extents(512, 1024)) == [Extent(512, 1024, HOLE)]
        assert list(device.extents(MIB - 512, 1024)) == [Extent(MIB - 512, 512, HOLE), Extent(MIB, 512, DATA)]


def test_extents_are_found_one_at_a_time(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FileDevice(sparse) as device:
        questions = []
        true_lseek = os.lseek
        monkeypatch.setattr(file_module.os, "lseek", lambda *ask: questions.append(ask) or true_lseek(*ask))
        extents = device.extents(0, 4 * MIB)
        next(extents)
        assert sum(whence == os.SEEK_HOLE for _, _, whence in questions) <= 1


def test_holes_of_no_whole_sector_are_data(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Linux filesystem has them, but a device must answer in blocks whatever the medium says."""
    data, holes = [700, 2600], [1500, 4096]  # data in [700, 1500) and [2600, 4096)

    def lseek(fd: int, position: int, whence: int) -> int:
        inside = any(first <= position < last for first, last in zip(data, holes, strict=True))
        if inside == (whence == os.SEEK_DATA):
            return position
        later = [edge for edge in (data if whence == os.SEEK_DATA else holes) if edge >= position]
        if not later:
            raise OSError(errno.ENXIO, "no more")
        return later[0]

    with FileDevice(path) as device:
        monkeypatch.setattr(file_module.os, "lseek", lseek)
        assert list(device.extents(0, 8192)) == [
            Extent(0, 512, HOLE),
            Extent(512, 1024, DATA),
            Extent(1536, 1024, HOLE),
            Extent(2560, 1536, DATA),
            Extent(4096, 4096, HOLE),
        ]


def test_a_medium_that_knows_no_holes_is_one_piece_of_data(sparse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_lseek = os.lseek

    def lseek(fd: int, position: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return true_lseek(fd, position, whence)

    with FileDevice(sparse) as device:
        monkeypatch.setattr(file_module.os, "lseek", lseek)
        assert list(device.extents(0, 4 * MIB)) == [Extent(0, 4 * MIB, DATA)]
        monkeypatch.delattr(file_module.os, "SEEK_DATA")
        assert list(device.extents(512, MIB)) == [Extent(512, MIB, DATA)]


def test_zero_and_discard_give_storage_back(sparse: Path) -> None:
    with FileDevice(sparse, writable=True) as device:
        device.zero(MIB, 65536)
        device.discard(3 * MIB, 65536)
        device.flush()
        if list(device.extents(0, 4 * MIB)) != [Extent(0, 4 * MIB, HOLE)]:
            pytest.skip("the filesystem of the temporary folder cannot punch holes")
        assert sparse.stat().st_size == 4 * MIB


def test_zero_writes_where_no_hole_can_be_punched(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "punch_hole", lambda *_: False)
    with FileDevice(path, writable=True) as device:
        device.zero(512, 60000 & -512)
        device.discard(0, 512)  # nothing to give back; not an error
        assert path.read_bytes() == bytes(range(256)) * 2 + bytes(59904) + (bytes(range(256)) * 256)[512 + 59904 :]


# -- started reads ----------------------------------------------------------------------------------------------------


def drop_from_page_cache(path: Path) -> None:
    fd = os.open(path, os.O_RDWR)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def test_what_is_in_the_page_cache_is_done_on_return_without_a_thread(path: Path) -> None:
    with FileDevice(path) as device:
        device.read_at(0, 65536)
        views = [memoryview(bytearray(4096)) for _ in range(16)]
        completions = device.start_reads([(number * 4096, view) for number, view in enumerate(views)])
        if not device._nowait:
            pytest.skip("the filesystem of the temporary folder does not know RWF_NOWAIT")
        assert all(completion.done for completion in completions)
        assert b"".join(views) == path.read_bytes()
        assert not readers(path)


def test_what_is_not_in_the_page_cache_is_read_by_threads(tmp_path: Path) -> None:
    path = tmp_path / "cold.img"
    content = os.urandom(4 * MIB)
    path.write_bytes(content)
    drop_from_page_cache(path)
    with FileDevice(path) as device:
        views = [memoryview(bytearray(16384)) for _ in range(256)]
        completions = device.start_reads([(number * 16384, view) for number, view in enumerate(views)])
        for completion in completions:
            completion.wait()
        assert b"".join(views) == content


def test_a_part_in_the_page_cache_is_kept_and_only_the_rest_waits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_preadv = file_module.preadv
    asked = []

    def preadv(fd: int, views: tuple[memoryview], offset: int, flags: int = 0) -> int:
        asked.append((offset, len(views[0]), bool(flags)))
        if not flags:
            return true_preadv(fd, views, offset)
        if offset >= 4096:
            raise BlockingIOError(errno.EAGAIN, "would wait")
        return true_preadv(fd, (views[0][: 4096 - offset],), offset)

    monkeypatch.setattr(file_module, "_RWF_NOWAIT", 8)
    monkeypatch.setattr(file_module, "preadv", preadv)
    with FileDevice(path) as device:
        view = memoryview(bytearray(8192))
        device.start_read(0, view).wait()
        assert view == path.read_bytes()[:8192]
        assert asked == [(0, 8192, True), (4096, 4096, False)]


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
@pytest.mark.parametrize("first", [0, 8192], ids=["from the first request", "in the middle of a batch"])
def test_a_refused_nowait_is_remembered(path: Path, monkeypatch: pytest.MonkeyPatch, number: int, first: int) -> None:
    true_preadv = file_module.preadv
    refusals = []

    def preadv(fd: int, views: tuple[memoryview], offset: int, flags: int = 0) -> int:
        if flags and offset >= first:
            refusals.append(offset)
            raise OSError(number, os.strerror(number))
        return true_preadv(fd, views, offset)

    monkeypatch.setattr(file_module, "_RWF_NOWAIT", 8)
    monkeypatch.setattr(file_module, "preadv", preadv)
    with FileDevice(path) as device:
        for _ in range(3):
            views = [memoryview(bytearray(4096)) for _ in range(16)]
            completions = device.start_reads([(index * 4096, view) for index, view in enumerate(views)])
            assert len(completions) == 16
            for completion in completions:
                completion.wait()
            assert b"".join(views) == path.read_bytes()
        assert refusals == [first]


def test_without_nowait_reads_go_to_threads_once_the_medium_is_slow(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is played: each reading of it is a second after the one before, so that any read seems slow."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(file_module, "_RWF_NOWAIT", 0)
    monkeypatch.setattr(file_module, "perf_counter", lambda: next(ticks))
    in_place = []
    with FileDevice(path) as device:
        true_read, caller = device._read_into, threading.current_thread()

        def read_into(offset: int, view: memoryview) -> None:
            if threading.current_thread() is caller:
                in_place.append(offset)
            true_read(offset, view)

        monkeypatch.setattr(device, "_read_into", read_into)
        for completion in device.start_reads([(number * 512, memoryview(bytearray(512))) for number in range(100)]):
            completion.wait()
    assert in_place == [0, 17 * 512, (17 + 33) * 512]  # then 16, 32 and 64 to the threads


def test_an_error_in_a_thread_reaches_the_one_who_waits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def preadv(fd: int, views: tuple[memoryview], offset: int, flags: int = 0) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(file_module, "preadv", preadv)
    with FileDevice(path) as device:
        completion = device.start_read(512, memoryview(bytearray(512)))
        with pytest.raises(IOFailed, match="cannot read at byte 512: input/output error") as caught:
            completion.wait()
        assert caught.value.errno == errno.EIO


def test_threads_come_only_when_needed_are_few_and_end_with_the_device(path: Path) -> None:
    with FileDevice(path) as device:
        device._nowait, device._to_threads = 0, 1 << 60
        for _ in range(5):
            device.start_read(0, memoryview(bytearray(512))).wait()
        assert len(readers(path)) == 1
        device.start_reads([(0, memoryview(bytearray(512)))] * 1000)
        assert len(readers(path)) <= file_module.READ_THREADS
    assert not readers(path)


def test_a_callback_may_close_the_device(path: Path) -> None:
    device = FileDevice(path)
    device._nowait, device._to_threads = 0, 1 << 60
    views = [memoryview(bytearray(4096)) for _ in range(16)]
    completions = device.start_reads([(number * 4096, view) for number, view in enumerate(views)])
    closed = threading.Event()
    completions[0].add_done_callback(lambda _: (device.close(), closed.set()))
    for completion in completions:
        completion.wait()
    assert closed.wait(60)
    assert b"".join(views) == path.read_bytes()
