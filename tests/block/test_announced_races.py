"""Announced reads that several threads deal with at once: whoever waits is woken, whatever the others do."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from dmsnap.block import Completion
from dmsnap.block.announced import AnnouncedRead

pytestmark = pytest.mark.timeout(60)

PATIENCE_SECONDS = 10


class Medium:
    """What reads are of: has nothing at hand when it is asked, and lets a test in just then."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile
        self.handed_over = 0

    def collect(self, offset: int, view: memoryview) -> None:
        view[:] = b"d" * len(view)

    def collect_at_once(self, offset: int, view: memoryview) -> int:
        self.meanwhile()
        return 0

    def hand_over(self, read: Completion, offset: int, view: memoryview) -> None:
        self.handed_over += 1
        self.collect(offset, view)
        read.finish()

    def announced_in_vain(self) -> None:
        return


def a_read(medium: Medium) -> tuple[AnnouncedRead, memoryview]:
    view = memoryview(bytearray(8))
    return AnnouncedRead(medium, 0, view, 0.0), view


def test_who_waits_while_another_polls_in_vain_is_not_forgotten() -> None:
    asked = threading.Semaphore(0)
    arrived = threading.Event()

    def meanwhile() -> None:
        read.add_done_callback(lambda _: arrived.set())  # as `wait` does where another has the read
        asked.release()

    medium = Medium(meanwhile)
    read, view = a_read(medium)
    read.poll()
    assert arrived.wait(PATIENCE_SECONDS), "nobody reads it any more"
    assert bytes(view) == b"d" * 8
    assert medium.handed_over == 1


def test_who_waits_while_another_is_interrupted_is_not_forgotten() -> None:
    arrived = threading.Event()
    medium = Medium(lambda: None)
    read, view = a_read(medium)
    true_collect = medium.collect

    def collect(offset: int, view: memoryview) -> None:
        medium.collect = true_collect  # type: ignore[method-assign]
        read.add_done_callback(lambda _: arrived.set())
        raise KeyboardInterrupt

    medium.collect = collect  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        read.wait()
    assert arrived.wait(PATIENCE_SECONDS), "nobody reads it any more"
    assert bytes(view) == b"d" * 8


def test_an_interrupt_between_the_data_and_the_end_of_a_poll_leaves_the_read_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    medium = Medium(lambda: None)
    monkeypatch.setattr(medium, "collect_at_once", lambda _, view: len(view))
    read, _ = a_read(medium)
    with monkeypatch.context() as patch:
        patch.setattr(AnnouncedRead, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            read.poll()
        with pytest.raises(KeyboardInterrupt):
            read.wait()
    read.wait()
    assert read.done


def test_threads_that_poll_and_wait_for_the_same_reads_all_end() -> None:
    rounds = 300
    medium = Medium(lambda: threading.Event().wait(1e-5) and None)
    reads = [a_read(medium) for _ in range(rounds)]
    line = threading.Barrier(3)

    def poll() -> None:
        for read, _ in reads:
            line.wait(PATIENCE_SECONDS)
            read.poll()

    def wait() -> None:
        for read, _ in reads:
            line.wait(PATIENCE_SECONDS)
            read.wait()

    threads = [threading.Thread(target=what, daemon=True) for what in (poll, poll, wait)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "waits for ever"
    assert all(read.done and bytes(view) == b"d" * 8 for read, view in reads)
