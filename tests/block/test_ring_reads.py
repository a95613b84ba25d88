"""Reads in a ring of the kernel: waited for, called back, interrupted; none is lost, and no memory too early."""

from __future__ import annotations

import errno
import gc
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest
from ring_pipe import BLOCK, PATIENCE_SECONDS, Medium, Pipe, in_time, interrupt, memory, threads

from dmsnap.block import Completion, ring_reads, uring
from dmsnap.block.ring_reads import RingReads

pytestmark = pytest.mark.timeout(60)


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


def test_closing_waits_for_who_is_still_taking_out_what_arrived(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    closing = threading.Thread(target=pipe.reads.close)
    forget = uring.Ring.forget

    def forget_later(ring: uring.Ring, end: int) -> None:
        monkeypatch.undo()
        closing.start()
        closing.join(0.2)
        assert closing.is_alive()
        forget(ring, end)

    reads = pipe.start(2)
    monkeypatch.setattr(uring.Ring, "forget", forget_later)
    pipe.arrive(1, length=1000)
    pipe.arrive(0)
    reads[0].wait()
    closing.join(PATIENCE_SECONDS)
    assert not closing.is_alive()
    assert all(read.done for read in reads), "closed before the rest of a short read was read"


def test_who_asks_to_be_called_while_the_ring_closes_leaves_no_thread_behind(pipe: Pipe) -> None:
    class Closing(dict):  # type: ignore[type-arg]
        """The reads in flight, of which the last arrives, and the ring closes, just after somebody asked for it."""

        def __contains__(self, tag: object) -> bool:
            found = super().__contains__(tag)
            if found and not closed:
                closed.append(True)
                pipe.arrive(0, 1)
                pipe.reads.close()
            return found

    closed: list[bool] = []
    called = threading.Event()
    reads = pipe.start(2)
    pipe.reads._in_flight = Closing(pipe.reads._in_flight)
    reads[0].add_done_callback(lambda _: called.set())
    assert called.wait(PATIENCE_SECONDS)
    assert closed
    assert not threads("pipe-ring")


@pytest.mark.parametrize("call", range(12))
def test_a_leader_interrupted_at_any_call_leaves_the_lead(pipe: Pipe, call: int) -> None:
    reads = pipe.start(3)
    pipe.arrive(0)
    left = [call]

    def interrupt_at(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename in (ring_reads.__file__, uring.__file__):
            left[0] -= 1
            if left[0] < 0:
                sys.settrace(None)
                raise KeyboardInterrupt

    before = sys.gettrace()
    sys.settrace(interrupt_at)
    try:
        with suppress(KeyboardInterrupt):
            reads[0].wait()
    finally:
        sys.settrace(before)
    assert pipe.reads._leader is None
    pipe.arrive(1, 2)
    for read in reads:
        in_time(read.wait)
