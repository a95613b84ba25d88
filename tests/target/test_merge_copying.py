"""Copying many parts of one device to another, in the order of the one or the other."""

import random
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.block import BlockDevice, IOFailed, MemoryDevice
from dmsnap.block.wrap import FaultDevice, LogDevice
from dmsnap.block.wrap.fault import fail_nth, fail_range
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.target import merge_copying
from dmsnap.target.merge_copying import Copies, MergeFailed, RunCopier

CHUNK = 512
CHUNKS = 64
SIZE = CHUNKS * CHUNK


@pytest.fixture(autouse=True)
def small_memory(monkeypatch):
    """So that a few chunks are many batches, and some parts are too long for one."""
    monkeypatch.setattr(merge_copying, "MEMORY_BYTES", 8 * CHUNK)
    monkeypatch.setattr(merge_copying, "_PIECE_BYTES", 4 * CHUNK)


def copies_of(*rows: tuple[int, int, int] | tuple[int, int, int, int]) -> Copies:
    """Parts in chunks: first of the origin, first of the COW device, how many, and how many of them to copy."""
    full = [row if len(row) == 4 else (*row, row[2]) for row in rows]
    return Copies(*(np.array(column, np.int64) * CHUNK for column in zip(*full, strict=True)))


def cow_device() -> MemoryDevice:
    return MemoryDevice(random.Random(1).randbytes(SIZE), name="cow")


def scattered(count: int) -> Copies:
    """One chunk each, in an order of neither device."""
    chunks = random.Random(2).sample(range(CHUNKS), count)
    return copies_of(*((chunk, place, 1) for place, chunk in enumerate(chunks)))


def model(cow: BlockDevice, origin: bytes, copies: Copies) -> bytes:
    content = bytearray(origin)
    for to, at, _, length in zip(*(column.tolist() for column in copies), strict=True):
        content[to : to + length] = cow.read_at(at, length)
    return bytes(content)


@st.composite
def any_copies(draw) -> Copies:
    """Runs of any length that overlap on neither device, some of which are not copied, or not to their end."""
    lengths = draw(st.lists(st.integers(1, 14), min_size=1, max_size=12))
    while sum(lengths) > CHUNKS:
        lengths.pop()
    order = draw(st.permutations(range(len(lengths))))
    gap = (CHUNKS - sum(lengths)) // len(lengths)
    rows, to = {}, 0
    for index in order:
        rows[index], to = to, to + lengths[index] + draw(st.integers(0, gap))
    at, parts = 0, []
    for index, length in enumerate(lengths):
        parts.append((rows[index], at, length, draw(st.sampled_from((length, length, 0, length // 2)))))
        at += length + draw(st.integers(0, gap))
    return copies_of(*draw(st.permutations(parts)))


@given(copies=any_copies(), in_order=st.booleans())
def test_all_is_copied_and_nothing_else(copies, in_order):
    cow, origin = cow_device(), MemoryDevice(b"\x07" * SIZE)
    wanted = model(cow, origin.read_at(0, SIZE), copies)
    seen: list[int] = []
    copier = RunCopier(cow, origin, "merge")
    if in_order:
        assert copier.in_order(copies, seen.append) == (len(copies.origin), None)
    else:
        assert copier.upwards(copies, seen.append)
    assert origin.read_at(0, SIZE) == wanted
    assert seen == sorted(set(seen))
    assert seen[-1] == copies.length.sum()


@given(copies=any_copies(), bad=st.integers(0, CHUNKS - 1))
def test_in_order_nothing_after_a_copy_that_fails_is_written(copies, bad):
    cow, origin = cow_device(), MemoryDevice(b"\x07" * SIZE)
    before = origin.read_at(0, SIZE)
    copier = RunCopier(FaultDevice(cow, fail_range(bad * CHUNK, CHUNK, "read")), origin, "merge")
    done, failure = copier.in_order(copies, None)
    first = Copies(*(column[:done] for column in copies))
    if failure is None:
        assert done == len(copies.origin)
    else:
        assert failure.message.startswith("merge: Read error: shutting down merge: ")
        begun, end = int(copies.origin[done]), int(copies.origin[done] + copies.to_copy[done])
        before = before[:begun] + origin.read_at(begun, end - begun) + before[end:]
    assert origin.read_at(0, SIZE) == model(cow, before, first)


def test_what_lies_together_is_read_and_written_together():
    cow, origin = LogDevice(cow_device()), LogDevice(MemoryDevice(SIZE))
    copier = RunCopier(cow, origin, "merge")
    assert copier.upwards(copies_of((7, 22, 1), (4, 19, 1), (5, 20, 1), (6, 21, 1)), None)
    assert [event[1:3] for event in cow.events if "read" in event[0]] == [(19 * CHUNK, 4 * CHUNK)]
    assert origin.ranges("write") == [(4 * CHUNK, 4 * CHUNK)]


class Hinted(Wrapper):
    """Notes what it is to read ahead."""

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.hints: list[tuple[int, int]] = []

    def _prefetch(self, offset: int, length: int) -> None:
        assert not self.reads
        self.hints.append((offset // CHUNK, length // CHUNK))

    reads = 0

    def _start_reads(self, requests):
        self.reads += len(requests)
        return super()._start_reads(requests)


def test_the_cow_device_is_asked_to_read_ahead_in_its_own_order(monkeypatch):
    monkeypatch.setattr(merge_copying, "_GAP_BYTES", 2 * CHUNK)
    cow = Hinted(cow_device())
    RunCopier(cow, MemoryDevice(SIZE), "merge").upwards(copies_of((1, 40, 2), (9, 11, 1), (5, 2, 3), (20, 7, 2)), None)
    assert cow.hints == [(2, 10), (40, 2)]


# -- flushes beside the copying ---------------------------------------------------------------------------------------


class Flushed(Wrapper):
    """Says when it is being flushed, in which thread, and holds the flush until told otherwise."""

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.begun, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def _flush(self) -> None:
        self.threads.append(threading.current_thread())
        self.begun.release()
        assert self.go_on.acquire(timeout=30)
        super()._flush()


def test_the_origin_is_flushed_while_the_next_copies_are_made():
    origin = Flushed(MemoryDevice(SIZE))
    seen = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 2:  # two batches are written; the flush that began after the first has not ended
            assert origin.begun.acquire(timeout=30)
            assert len(origin.threads) == 1
            for _ in range(100):
                origin.go_on.release()

    assert RunCopier(cow_device(), origin, "merge").upwards(scattered(40), progress)
    assert len(seen) == 5
    assert threading.main_thread() not in origin.threads
    assert not any(thread.is_alive() for thread in origin.threads)


def test_what_fits_into_memory_is_not_flushed_early():
    origin = LogDevice(MemoryDevice(SIZE))
    assert RunCopier(cow_device(), origin, "merge").upwards(scattered(8), None)
    assert not origin.ranges("flush")


def test_an_early_flush_that_fails_stops_the_merge():
    """The error is told once; to go on would be to trust what the medium has lost."""
    origin = FaultDevice(MemoryDevice(SIZE), fail_nth("flush"))
    with pytest.raises(MergeFailed, match="Flush after merge failed: shutting down merge"):
        RunCopier(cow_device(), origin, "merge").upwards(scattered(40), None)


def test_a_copy_that_fails_is_told_and_the_flush_waited_for():
    origin = FaultDevice(MemoryDevice(SIZE), fail_range(50 * CHUNK, CHUNK, "write"))
    threads = threading.active_count()
    assert not RunCopier(cow_device(), origin, "merge").upwards(scattered(CHUNKS), None)
    assert threading.active_count() == threads


def test_an_interrupt_waits_for_the_flush():
    origin = Flushed(MemoryDevice(SIZE))
    seen = []

    def progress(done: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            assert origin.begun.acquire(timeout=30)
            threading.Timer(0.05, origin.go_on.release).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunCopier(cow_device(), origin, "merge").upwards(scattered(40), progress)
    assert not origin.threads[0].is_alive()


def test_without_a_thread_to_be_had_it_copies_all_the_same(monkeypatch):
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    cow, origin, copies = cow_device(), MemoryDevice(SIZE), scattered(40)
    wanted = model(cow, bytes(SIZE), copies)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert RunCopier(cow, origin, "merge").upwards(copies, None)
    assert origin.read_at(0, SIZE) == wanted


def test_a_read_that_fails_is_told():
    cow = FaultDevice(cow_device(), fail_range(9 * CHUNK, CHUNK, "read"))
    assert not RunCopier(cow, MemoryDevice(SIZE), "merge").upwards(scattered(40), None)


def test_a_closed_device_is_told():
    cow = cow_device()
    cow.close()
    assert not RunCopier(cow, MemoryDevice(SIZE), "merge").upwards(scattered(3), None)
    done, failure = RunCopier(cow, MemoryDevice(SIZE), "merge").in_order(scattered(3), None)
    assert (done, type(failure)) == (0, MergeFailed)
    assert isinstance(failure.__cause__, Exception)
    assert not isinstance(failure.__cause__, IOFailed)
