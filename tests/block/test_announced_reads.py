"""Announced reads: collected once, by whoever waits, polls or hears of them; and one completion for many."""

from __future__ import annotations

import errno
import gc
import threading
from pathlib import Path

import pytest

from dmsnap.block import Completion, FileDevice, IOFailed, uring
from dmsnap.block import file as file_module
from dmsnap.block.announced import AnnouncedRead
from dmsnap.target.joint_completion import joint
from dmsnap.testing.device_contract import in_threads

BLOCK = 4096


@pytest.fixture
def cold(path: Path, monkeypatch: pytest.MonkeyPatch) -> FileDevice:
    """A device whose page cache never has anything when it is asked the first time."""
    true_preadv = file_module.preadv
    asked: set[int] = set()

    def preadv(fd: int, views: tuple[memoryview], offset: int, flags: int = 0) -> int:
        if flags and offset not in asked:
            asked.add(offset)
            raise BlockingIOError(errno.EAGAIN, "would wait")
        return true_preadv(fd, views, offset)

    monkeypatch.setattr(uring, "open_ring", lambda _: None)
    monkeypatch.setattr(file_module, "_RWF_NOWAIT", 8)
    monkeypatch.setattr(file_module, "preadv", preadv)
    return FileDevice(path)


def started(device: FileDevice, count: int = 8) -> tuple[list[memoryview], list[Completion]]:
    views = [memoryview(bytearray(BLOCK)) for _ in range(count)]
    return views, device.start_reads([(number * BLOCK, view) for number, view in enumerate(views)])


def threads_of(device: FileDevice) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"{device.name}-reader"]


def test_who_waits_collects_without_a_thread(cold: FileDevice, path: Path) -> None:
    views, reads = started(cold)
    assert not any(read.done for read in reads)
    for read in reads:
        read.wait()
    assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]
    assert not threads_of(cold)


def test_a_poll_collects_what_is_at_hand(cold: FileDevice, path: Path) -> None:
    views, reads = started(cold)
    assert all(read.poll() for read in reads)
    assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]


def test_a_poll_keeps_what_it_got_of_a_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_preadv = file_module.preadv
    answers = iter([0, 512])

    def preadv(fd: int, views: tuple[memoryview], offset: int, flags: int = 0) -> int:
        if flags and not (length := next(answers)):
            raise BlockingIOError(errno.EAGAIN, "would wait")
        return true_preadv(fd, (views[0][:length],) if flags else views, offset)

    monkeypatch.setattr(file_module, "_RWF_NOWAIT", 8)
    monkeypatch.setattr(file_module, "preadv", preadv)
    with FileDevice(path) as device:
        (view,), (read,) = started(device, 1)
        assert not read.poll()
        assert bytes(view[:512]) == path.read_bytes()[:512]
        read.wait()
        assert bytes(view) == path.read_bytes()[:BLOCK]


def test_who_asks_to_be_called_has_a_thread_collect(cold: FileDevice, path: Path) -> None:
    views, reads = started(cold)
    arrived = threading.Semaphore(0)
    for read in reads:
        read.add_done_callback(lambda _: arrived.release())
    for _ in reads:
        assert arrived.acquire(timeout=20)
    assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]


def test_many_who_wait_for_one_read_get_it_once(cold: FileDevice, path: Path) -> None:
    views, reads = started(cold)
    in_threads(4, lambda _: [read.wait() for read in reads])
    assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]


def test_closing_collects_what_somebody_may_still_wait_for(cold: FileDevice, path: Path) -> None:
    views, reads = started(cold)
    cold.close()
    for read in reads:
        read.wait()
    assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]


def test_what_nobody_waits_for_any_more_is_forgotten(cold: FileDevice) -> None:
    started(cold)
    gc.collect()
    assert not cold._announced


def test_an_error_is_told_to_all_who_wait(path: Path) -> None:
    with FileDevice(path) as device:
        read = AnnouncedRead(device, path.stat().st_size, memoryview(bytearray(BLOCK)), 0.0)
        for _ in range(2):
            with pytest.raises(IOFailed, match="cut short"):
                read.wait()


def test_an_interrupted_wait_leaves_the_read_to_the_next(cold: FileDevice, path: Path, monkeypatch) -> None:
    (view,), (read,) = started(cold, 1)
    with monkeypatch.context() as patch:
        patch.setattr(cold, "collect", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            read.wait()
    assert not read.done
    read.wait()
    assert bytes(view) == path.read_bytes()[:BLOCK]


def test_where_announcing_is_of_no_use_threads_read(cold: FileDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmsnap.block.announced.SLOW_SECONDS", -1.0)
    for _ in range(file_module.MOST_IN_VAIN):
        cold.announced_in_vain()
    _, reads = started(cold)
    assert not any(isinstance(read, AnnouncedRead) for read in reads)
    for read in reads:
        read.wait()


def test_a_joint_is_done_when_its_last_part_is_and_tells_the_first_error() -> None:
    parts = [Completion() for _ in range(3)]
    whole = joint(parts)
    heard: list[Completion] = []
    whole.add_done_callback(heard.append)
    parts[2].finish(ValueError("second"))
    parts[0].finish()
    assert not whole.poll()
    parts[1].finish(ValueError("first"))
    assert heard == [whole]
    with pytest.raises(ValueError, match="first"):
        whole.wait()


def test_a_joint_that_is_polled_collects_each_part(cold: FileDevice) -> None:
    _, reads = started(cold)
    whole = joint(reads)
    assert whole.poll()
    assert all(read.done for read in reads)
