"""Reads through a ring of the kernel. A pipe stands for the disk where no read may come before the test wants it."""

from __future__ import annotations

import errno
import gc
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dmsnap.block import COMPLETED, Completion, FileDevice, IOFailed, file, positioned, ring_reads, uring
from dmsnap.block.announced import AnnouncedRead
from dmsnap.block.priority import IOClass, IOPriority, io_priority
from dmsnap.block.ring_reads import RingRead, RingReads
from dmsnap.testing import need
from dmsnap.testing.device_contract import in_threads

pytestmark = pytest.mark.timeout(60)

BLOCK = 4096
PATIENCE_SECONDS = 20


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def memory(count: int) -> list[memoryview]:
    return [memoryview(bytearray(BLOCK)) for _ in range(count)]


def in_time(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), "waits for ever"


class Medium:
    """Of which the reads are: notes what the ring left to it, and has it all be of one byte."""

    def __init__(self) -> None:
        self.left: list[tuple[int, int]] = []

    def collect(self, offset: int, view: memoryview) -> None:
        self.left.append((offset, len(view)))
        view[:] = b"m" * len(view)

    def collect_at_once(self, offset: int, view: memoryview) -> int:
        return 0

    def hand_over(self, read: Completion, offset: int, view: memoryview) -> None:
        self.collect(offset, view)
        read.finish()

    def announced_in_vain(self) -> None:
        pytest.fail("says that announcing is of no use")


class Pipe:
    """What arrives when the test says so. Of reads from one pipe any may be the first to get something."""

    def __init__(self) -> None:
        self.medium = Medium()
        self.reads = RingReads(self.medium, "pipe")
        self.reads._opened()
        self.views: list[memoryview] = []
        self.fd, self._end = os.pipe()
        self._pipes: list[tuple[int, int]] = []

    def start(self, count: int) -> list[Completion]:
        """Each from a pipe of its own; the memory is added to `views`."""
        reads = []
        for view in memory(count):
            self.views.append(view)
            self._pipes.append(os.pipe())
            reads += self.reads.start(self._pipes[-1][0], [(0, view)])
        return reads

    def arrive(self, *reads: int, length: int = BLOCK) -> None:
        """For those that `start` has started."""
        for number in reads:
            os.write(self._pipes[number][1], b"p" * length)

    def start_together(self, count: int) -> list[Completion]:
        return self.reads.start(self.fd, [(0, view) for view in memory(count)])

    def arrive_together(self, count: int) -> None:
        for _ in range(count):
            os.write(self._end, b"p" * BLOCK)

    def end(self) -> None:
        """Whatever is in flight ends."""
        for _, end in [*self._pipes, (0, self._end)]:
            os.close(end)
        self.reads.drain()
        for begin, _ in [*self._pipes, (self.fd, 0)]:
            os.close(begin)


@pytest.fixture(autouse=True)
def ring() -> None:
    ring = uring.open_ring(2)
    if ring is not None:
        ring.close()
    need(ring, "the system allows no io_uring")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.end()
    pipe.reads.close()


@pytest.fixture
def cold(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileDevice]:
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


def threads(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


# -- on a device ------------------------------------------------------------------------------------------------------


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


# -- of a pipe --------------------------------------------------------------------------------------------------------


def test_who_waits_or_polls_takes_out_what_has_arrived_for_all(pipe: Pipe) -> None:
    reads = pipe.start(4)
    assert all(read.collectable for read in reads)
    assert not any(read.poll() for read in reads)
    pipe.arrive(2, 1, 0)
    reads[0].wait()
    assert reads[1].poll()
    assert reads[2].poll()
    assert not reads[3].poll()
    assert [bytes(view[:1]) for view in pipe.views] == [b"p", b"p", b"p", b"\0"]
    assert not threads("pipe-ring")


def test_what_the_kernel_did_not_read_to_the_end_is_read_by_who_waits(pipe: Pipe) -> None:
    reads = pipe.start(2)
    pipe.arrive(0, length=1000)
    reads[0].wait()
    assert pipe.medium.left == [(1000, BLOCK - 1000)]
    assert bytes(pipe.views[0]) == b"p" * 1000 + b"m" * (BLOCK - 1000)


def test_a_short_read_that_somebody_is_to_be_called_for_is_handed_over(pipe: Pipe) -> None:
    reads = pipe.start(2)
    arrived = threading.Event()
    reads[0].add_done_callback(lambda _: arrived.set())
    pipe.arrive(0, length=1000)
    assert arrived.wait(PATIENCE_SECONDS)
    assert pipe.medium.left == [(1000, BLOCK - 1000)]


def test_closing_reads_the_rest_of_a_short_read(pipe: Pipe) -> None:
    reads = pipe.start(2)
    pipe.arrive(0, length=1000)
    pipe.arrive(1)
    pipe.reads.close()
    assert [read.done for read in reads] == [True, True]


def test_a_full_ring_takes_no_more_and_does_not_wait(pipe: Pipe) -> None:
    reads = pipe.start_together(ring_reads.RING_ENTRIES - 3)
    reads += pipe.start_together(10)
    assert len(reads) == ring_reads.RING_ENTRIES
    assert pipe.start_together(1) == []
    pipe.arrive_together(2)
    while sum(read.poll() for read in reads) < 2:
        pass
    assert len(pipe.start_together(10)) == 2


def test_reads_that_nobody_waits_for_do_not_fill_the_ring_for_ever(pipe: Pipe) -> None:
    pipe.start_together(ring_reads.RING_ENTRIES)
    assert pipe.start_together(1) == []
    pipe.arrive_together(2)
    assert len(pipe.start_together(3)) == 2


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


@pytest.mark.parametrize(("number", "again"), [(errno.EAGAIN, 1), (errno.EPERM, 0)])
def test_what_a_kernel_does_not_take_is_taken_back(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, number: int, again: int
) -> None:
    def refused(_: uring.Ring) -> None:
        raise OSError(number, os.strerror(number))

    (read,) = pipe.start(1)
    with monkeypatch.context() as patch:
        patch.setattr(uring.Ring, "submit", refused)
        assert pipe.start_together(3) == []
    assert len(pipe.start_together(1)) == again
    pipe.arrive(0)
    read.wait()


def test_a_kernel_that_cannot_read_so_is_asked_no_more(pipe: Pipe, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "written", os.O_RDWR | os.O_CREAT)
    reads = pipe.reads.start(fd, [((1 << 64) - 2, view) for view in memory(2)])  # EINVAL
    os.close(fd)
    for read in reads:
        read.wait()
    assert len(pipe.medium.left) == 2
    assert pipe.start(1) == []


def test_closing_waits_for_what_is_in_flight(pipe: Pipe) -> None:
    reads = pipe.start(3)
    closing = threading.Thread(target=pipe.reads.close)
    closing.start()
    pipe.arrive(0, 1, 2)
    closing.join(PATIENCE_SECONDS)
    assert not closing.is_alive()
    assert all(read.done for read in reads)
    assert pipe.start(1) == []


def test_memory_is_held_until_the_kernel_is_through_with_it_though_nobody_else_wants_it(pipe: Pipe) -> None:
    held = bytearray(2 * BLOCK)
    pipe.reads.start(pipe.fd, [(0, memoryview(held)[:BLOCK]), (0, memoryview(held)[BLOCK:])])
    gc.collect()
    with pytest.raises(BufferError):
        held.clear()
    pipe.arrive_together(2)
    pipe.reads.drain()
    gc.collect()
    assert held == b"p" * 2 * BLOCK
    held.clear()


def test_reads_that_were_forgotten_with_their_device_still_arrive_in_their_memory() -> None:
    begin, end = os.pipe()
    views = memory(2)
    reads = RingReads(Medium(), "forgotten")
    reads.start(begin, [(0, view) for view in views])
    os.write(end, b"p" * 2 * BLOCK)
    del reads
    gc.collect()  # waits
    assert b"".join(views) == b"p" * 2 * BLOCK
    os.close(begin)
    os.close(end)


# -- callbacks and threads --------------------------------------------------------------------------------------------


def test_who_asks_to_be_called_has_a_thread_wait_which_ends_with_the_ring(pipe: Pipe) -> None:
    reads = pipe.start(4)
    arrived = threading.Semaphore(0)
    for read in reads:
        read.add_done_callback(lambda _: arrived.release())
    assert not arrived.acquire(blocking=False)
    pipe.arrive(3, 1, 2, 0)
    for _ in reads:
        assert arrived.acquire(timeout=PATIENCE_SECONDS)
    assert len(threads("pipe-ring")) == 1
    pipe.reads.close()
    assert not threads("pipe-ring")


def test_where_the_system_refuses_a_thread_who_asks_to_be_called_waits(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    (read,) = pipe.start(1)
    pipe.arrive(0)
    heard: list[Completion] = []
    read.add_done_callback(heard.append)
    assert heard == [read]


def test_a_callback_may_start_and_wait_and_close(pipe: Pipe) -> None:
    first, second = pipe.start(2)

    def again(_: Completion) -> None:
        (third,) = pipe.start(1)
        pipe.arrive(2)
        third.wait()
        pipe.reads.close()

    first._callbacks = [again]  # called by whoever waits
    pipe.arrive(0, 1)
    in_time(second.wait)
    in_time(first.wait)
    assert bytes(pipe.views[2]) == b"p" * BLOCK
    assert pipe.start(1) == []


def test_the_leader_wakes_who_waits_for_another_read_and_leaves_the_lead_to_it(pipe: Pipe) -> None:
    reads = pipe.start(3)
    arrived = [threading.Event() for _ in reads]

    def wait(number: int) -> None:
        reads[number].wait()
        arrived[number].set()

    waiting = [threading.Thread(target=wait, args=(number,), daemon=True) for number in range(3)]
    for thread in waiting:
        thread.start()
    for number, event in enumerate(arrived):  # whoever of them leads
        pipe.arrive(number)
        assert event.wait(PATIENCE_SECONDS)
    for thread in waiting:
        thread.join(PATIENCE_SECONDS)


# -- interrupts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fill", "publish", "submit"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_start_leaves_nothing_that_never_arrives(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, method: str, when: str
) -> None:
    reads = pipe.start(2)
    right = getattr(uring.Ring, method)

    def interrupted(*arguments: object) -> None:
        if when == "after":
            right(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(uring.Ring, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipe.start_together(3)
    with_kernel = 3 if (method, when) == ("submit", "after") else 0
    assert len(pipe.reads._in_flight) == 2 + with_kernel
    pipe.arrive(0, 1)
    pipe.arrive_together(with_kernel)
    for read in reads:
        in_time(read.wait)
    in_time(pipe.reads.drain)
    (read,) = pipe.start(1)
    pipe.arrive(2)
    in_time(read.wait)


@pytest.mark.parametrize("method", ["wait", "completions", "forget"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_wait_leaves_every_read_to_the_next(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch, method: str, when: str
) -> None:
    reads = pipe.start(3)
    right = getattr(uring.Ring, method)
    heard = threading.Event()

    def interrupted(*arguments: object) -> None:
        monkeypatch.undo()
        pipe.arrive(0, 1, 2)
        if when == "after":
            right(*arguments)
        raise KeyboardInterrupt

    if method != "wait":
        monkeypatch.setattr(uring.Ring, "wait", lambda _: None)
    monkeypatch.setattr(uring.Ring, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        reads[0].wait()
    reads[2].add_done_callback(lambda _: heard.set())
    assert heard.wait(PATIENCE_SECONDS)
    for read in reads:
        in_time(read.wait)
    assert b"".join(pipe.views) == b"p" * 3 * BLOCK


def test_an_interrupted_callback_keeps_no_other_from_being_called(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = pipe.start(3)
    heard: list[Completion] = []
    monkeypatch.setattr(pipe.reads, "watch", lambda _: None)  # no thread takes part
    for read in reads:
        read.add_done_callback(heard.append)
    reads[1]._callbacks.insert(0, interrupt)  # type: ignore[union-attr]
    pipe.arrive(0, 1, 2)
    with pytest.raises(KeyboardInterrupt):
        reads[1].wait()
    for read in reads:
        read.wait()
    assert set(map(id, heard)) == set(map(id, reads))
