"""Started reads of files: the page cache first, then threads."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from dmsnap.block import Completion, FileDevice, IOFailed
from dmsnap.block import file as file_module
from dmsnap.testing import need

MIB = 1 << 20


def readers(path: Path) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"{path}-reader"]


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
        need(device._nowait, "the filesystem of the temporary folder does not know RWF_NOWAIT")
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


@pytest.mark.parametrize("granted", [0, 1, 3])
def test_where_the_system_refuses_threads_those_it_gave_do(
    path: Path, monkeypatch: pytest.MonkeyPatch, granted: int
) -> None:
    true_start, started = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if len(started) == granted:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        true_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with FileDevice(path) as device:
        device._nowait, device._to_threads = 0, 1 << 60
        for _ in range(2):
            views = [memoryview(bytearray(4096)) for _ in range(16)]
            completions = device.start_reads([(number * 4096, view) for number, view in enumerate(views)])
            for completion in completions:
                completion.wait()
            assert b"".join(views) == path.read_bytes()
        assert len(readers(path)) == granted
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


def test_closing_ends_a_thread_too_that_an_interrupt_left_unlisted(path: Path) -> None:
    drop_from_page_cache(path)
    with FileDevice(path) as device:
        device._readers.start([(Completion(), 0, memoryview(bytearray(512))) for _ in range(4)])
        unlisted = device._readers._threads.pop(0)
    unlisted.join(20)
    assert not readers(path)
