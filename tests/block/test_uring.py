"""Uncached reads of a file through a ring of the kernel."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from ring_pipe import BLOCK, Pipe, memory

from dmsnap.block import COMPLETED, Completion, FileDevice, IOFailed, file, positioned, ring_reads, uring
from dmsnap.block.announced import AnnouncedRead
from dmsnap.block.priority import IOClass, IOPriority, io_priority
from dmsnap.block.ring_read import RingRead
from dmsnap.testing import need
from dmsnap.testing.device_contract import in_threads

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def cold(path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileDevice]:
    """A device whose page cache never has anything when it is asked."""
    true_preadv = positioned.preadv

    def preadv(fd: int, views: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError(errno.EAGAIN, "would wait")
        return true_preadv(fd, views, offset)

    monkeypatch.setattr(file, "_RWF_NOWAIT", 8)
    monkeypatch.setattr(file, "preadv", preadv)
    with FileDevice(path) as device:
        yield device


def started(device: FileDevice, count: int = 8, offset: int = 0) -> tuple[list[memoryview], list[Completion]]:
    views = memory(count)
    return views, device.start_reads([(offset + number * BLOCK, view) for number, view in enumerate(views)])


def test_what_the_page_cache_lacks_comes_through_the_ring(cold: FileDevice, path: Path) -> None:
    for _ in range(100):  # more than the ring has entries
        views, reads = started(cold)
        for read in reads:
            read.wait()
        assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]
    assert cold._ring._ring is not None
    assert not cold._announced


def test_one_read_alone_makes_no_ring(cold: FileDevice) -> None:
    started(cold, 1)[1][0].wait()
    assert cold._ring._ring is None


def test_what_is_in_the_page_cache_makes_no_ring(path: Path) -> None:
    with FileDevice(path) as device:
        need(device._nowait, "the filesystem of the temporary folder does not know RWF_NOWAIT")
        device.read_at(0, 8 * BLOCK)
        assert all(read is COMPLETED for read in started(device)[1])
        assert device._ring._ring is None


def test_after_misses_the_ring_is_asked_first_until_the_data_is_at_hand(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    true_preadv = positioned.preadv

    def preadv(fd: int, views: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        asked.append(offset)
        if flags and len(asked) <= 8:
            raise BlockingIOError(errno.EAGAIN, "would wait")
        return true_preadv(fd, views, offset, flags)

    monkeypatch.setattr(file, "preadv", preadv)
    with FileDevice(path) as device:
        need(device._nowait, "the filesystem of the temporary folder does not know RWF_NOWAIT")
        device.read_at(0, 8 * BLOCK)
        asked.clear()
        for expected in (8, 8, 16):
            views, reads = started(device)
            for read in reads:
                read.wait()
            assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]
            assert len(asked) == expected


def test_who_asks_for_a_priority_gets_no_ring(cold: FileDevice) -> None:
    with io_priority(IOPriority(IOClass.IDLE)):
        reads = started(cold)[1]
    assert cold._ring._ring is None
    for read in reads:
        read.wait()


def test_without_rings_reads_are_announced(cold: FileDevice, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(uring, "open_ring", tried.append)
    for _ in range(2):
        views, reads = started(cold)
        assert all(type(read) is AnnouncedRead for read in reads)
        for read in reads:
            read.wait()
        assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]
    assert tried == [ring_reads.RING_ENTRIES]


def test_what_the_ring_has_no_room_for_is_announced(cold: FileDevice, path: Path, pipe: Pipe) -> None:
    for read in started(cold)[1]:
        read.wait()
    view = memory(1)[0]
    held = cold._ring.start(pipe.fd, [(0, view)] * ring_reads.RING_ENTRIES)
    views, reads = started(cold)
    assert all(type(read) is AnnouncedRead for read in reads)
    for read in reads:
        read.wait()
    assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]
    pipe.arrive_together(len(held))
    for read in held:
        read.wait()


def test_a_file_that_was_cut_short_fails_the_reads_of_what_is_gone(cold: FileDevice, path: Path) -> None:
    started(cold)
    os.truncate(path, 5 * BLOCK + 100)
    views, reads = started(cold)
    for read in reads[:5]:
        read.wait()
    for read in reads[5:]:
        with pytest.raises(IOFailed, match="cut short"):
            read.wait()
    assert b"".join(views[:5]) == path.read_bytes()[: 5 * BLOCK]


def test_an_error_is_the_one_of_a_plain_read(cold: FileDevice, tmp_path: Path) -> None:
    started(cold)
    right, cold._fd = cold._fd, os.open(tmp_path, os.O_RDONLY)  # of a folder nothing can be read
    try:
        reads = started(cold)[1]
        for read in reads:
            with pytest.raises(IOFailed, match=r"cannot read at byte \d+: is a directory"):
                read.wait()
    finally:
        os.close(cold._fd)
        cold._fd = right


def test_many_threads_read_through_one_ring(cold: FileDevice, path: Path) -> None:
    content = path.read_bytes()

    def read(number: int) -> None:
        for _ in range(50):
            views, reads = started(cold, 8, number % 2 * 8 * BLOCK)
            for read in reversed(reads):
                read.wait()
            assert b"".join(views) == content[number % 2 * 8 * BLOCK :][: 8 * BLOCK]

    in_threads(6, read)
    assert not cold._ring._in_flight


def test_reads_of_a_thread_that_has_ended_arrive(cold: FileDevice, path: Path) -> None:
    box: list[tuple[list[memoryview], list[Completion]]] = []
    thread = threading.Thread(target=lambda: box.append(started(cold)))
    thread.start()
    thread.join()
    ((views, reads),) = box
    for read in reads:
        read.wait()
    assert b"".join(views) == path.read_bytes()[: 8 * BLOCK]


def test_a_device_that_is_closed_lets_go_of_its_ring(path: Path, cold: FileDevice) -> None:
    started(cold)
    number = cold._ring._ring._fd  # type: ignore[union-attr]
    assert "io_uring" in str(Path(f"/proc/self/fd/{number}").readlink())
    cold.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12: that there are threads
def test_a_forked_child_leaves_the_ring_to_its_parent(cold: FileDevice, path: Path, pipe: Pipe) -> None:
    content = path.read_bytes()[: 8 * BLOCK]
    started(cold)
    (waited,) = pipe.start(1)
    child = os.fork()
    if not child:
        good = False
        try:
            waited.wait()  # by a plain read
            views, reads = started(cold)
            for read in reads:
                read.wait()
            good = b"".join(views) == content and bytes(pipe.views[0]) == b"m" * BLOCK
            good = good and cold._ring._ring is None and not any(isinstance(read, RingRead) for read in reads)
        finally:
            os._exit(not good)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    pipe.arrive(0)
    waited.wait()
    assert bytes(pipe.views[0]) == b"p" * BLOCK
    views, reads = started(cold)
    for read in reads:
        read.wait()
    assert b"".join(views) == content
