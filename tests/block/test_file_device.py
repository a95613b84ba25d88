"""What is particular to files: kinds that are refused, odd sizes, and a medium that changes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from dmsnap.block import BadRequest, CannotOpen, FileDevice, IOFailed, positioned
from dmsnap.block import file as file_module
from dmsnap.block import medium as medium_module
from dmsnap.testing import need

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
    need(Path("/dev/full").exists(), "there is no /dev/full")
    with FileDevice(path, writable=True) as device:
        device.read_at(0, 512)
        full = os.open("/dev/full", os.O_RDWR)
        os.dup2(full, device._fd)
        os.close(full)
        with pytest.raises(IOFailed, match=r"no space left on device \(make room"):
            device.write_at(0, bytes(512))


@pytest.mark.parametrize("offered", [True, False])
def test_what_is_to_be_flushed_later_is_begun_with_each_large_write_where_the_system_can(
    tmp_path, monkeypatch, offered
):
    asked = []

    def sync_file_range(fd, offset, length, flags):
        asked.append((offset.value, length.value, flags))
        return 0

    monkeypatch.setattr(positioned, "_from_c_library", lambda *names: sync_file_range if offered else None)
    path = tmp_path / "image"
    path.write_bytes(bytes(1 << 18))
    with FileDevice(path, writable=True, flushed_later=True) as device:
        device.write_at(512, b"a" * (1 << 16))
        device.write_at(1 << 17, b"b" * 512)
        device.flush()
    assert asked == ([(512, 1 << 16, 2)] if offered else [])
    assert path.read_bytes() == ((bytes(512) + b"a" * (1 << 16)).ljust(1 << 17, b"\0") + b"b" * 512).ljust(
        1 << 18, b"\0"
    )
