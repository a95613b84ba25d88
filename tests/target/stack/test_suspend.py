"""A suspended device: who is inside is waited for, who comes waits."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from dmsnap.block import BlockDevice, Completion, DeviceClosed, MemoryDevice, ReadRequest
from dmsnap.block.wrap import Wrapper
from dmsnap.target.stack import MappedDevice, Stack, TableRefused
from dmsnap.testing.device_contract import in_threads


class SlowDevice(Wrapper):
    """A device whose writes and started reads end when they are let go."""

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.arrived = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.pending: list[Completion] = []

    def _write_at(self, offset: int, view: memoryview) -> None:
        self.arrived.release()
        assert self.go_on.acquire(timeout=30)
        super()._write_at(offset, view)

    def _start_reads(self, requests: list[ReadRequest]) -> list[Completion]:  # type: ignore[override]
        completions = [Completion() for _ in requests]
        self.pending += completions
        return completions


def begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until_shut(device: BlockDevice) -> None:
    """Waits until a suspend has begun; this is about threads of the test itself, and ends as soon as it can."""
    assert isinstance(device, MappedDevice)
    while not device.gate.is_shut:
        threading.Event().wait(0.001)


def test_a_suspend_waits_for_a_write_in_flight() -> None:
    slow = SlowDevice(MemoryDevice(4096))
    stack = Stack({"slow": slow}.__getitem__)
    device = stack.create("it", "0 8 linear slow 0")
    writer = begun(lambda: device.write_at(0, b"\1" * 512))
    assert slow.arrived.acquire(timeout=30)
    suspender = begun(lambda: stack.suspend("it"))
    until_shut(device)
    assert suspender.is_alive()
    slow.go_on.release()
    suspender.join(30)
    writer.join(30)
    assert not suspender.is_alive()
    assert slow.read_at(0, 512) == b"\1" * 512


def test_a_suspend_waits_for_a_started_read() -> None:
    slow = SlowDevice(MemoryDevice(4096))
    stack = Stack({"slow": slow}.__getitem__)
    device = stack.create("it", "0 8 linear slow 0")
    completion = device.start_read(0, memoryview(bytearray(512)))
    suspender = begun(lambda: stack.suspend("it"))
    until_shut(device)
    assert suspender.is_alive()
    slow.pending[0].finish()
    suspender.join(30)
    assert not suspender.is_alive()
    assert completion.done


def test_requests_to_a_suspended_device_wait_and_find_the_new_table() -> None:
    old, new = MemoryDevice(4096), MemoryDevice(4096)
    stack = Stack({"old": old, "new": new}.__getitem__)
    device = stack.create("it", "0 8 linear old 0")
    stack.load("it", "0 8 linear new 0")
    stack.suspend("it")
    done: list[str] = []
    waiting = [
        begun(lambda: (device.write_at(0, b"\1" * 512), done.append("write"))),
        begun(lambda: (device.zero(512, 512), done.append("zero"))),
        begun(lambda: (device.discard(1024, 512), done.append("discard"))),
        begun(lambda: (device.read_at(0, 512), done.append("read"))),
        begun(lambda: (list(device.extents(0, 4096)), done.append("extents"))),
        begun(lambda: (device.flush(), done.append("flush"))),
        begun(lambda: (device.write_at(2048, b"\2" * 512, fua=True), done.append("durable"))),
    ]
    assert isinstance(device, MappedDevice)
    assert done == []
    stack.resume("it")
    for thread in waiting:
        thread.join(30)
    assert sorted(done) == ["discard", "durable", "extents", "flush", "read", "write", "zero"]
    assert old.read_at(0, 4096) == bytes(4096)
    assert new.read_at(0, 512) == b"\1" * 512


def test_reads_started_on_a_suspended_device_return_and_are_done_later() -> None:
    stack = Stack({"base": MemoryDevice(b"\1" * 4096)}.__getitem__)
    device = stack.create("it", "0 8 linear base 0")
    stack.suspend("it")
    views = [memoryview(bytearray(512)) for _ in range(3)]
    completions = device.start_reads([(512 * n, view) for n, view in enumerate(views)])
    assert not any(completion.done for completion in completions)
    stack.load("it", "0 4 linear base 0\n4 4 zero")
    stack.resume("it")
    for completion in completions:
        completion.wait()
    assert [bytes(view) for view in views] == [b"\1" * 512] * 3


def test_a_table_that_is_too_small_fails_what_waited() -> None:
    stack = Stack({"base": MemoryDevice(4096)}.__getitem__)
    device = stack.create("it", "0 8 linear base 0")
    stack.suspend("it")
    completion = device.start_read(2048, memoryview(bytearray(512)))
    stack.load("it", "0 1 zero")
    stack.resume("it")
    with pytest.raises(OSError, match="outside the device"):
        completion.wait()


def test_who_waits_on_a_device_that_is_removed_hears_of_it() -> None:
    stack = Stack({"base": MemoryDevice(4096)}.__getitem__)
    device = stack.create("it", "0 8 linear base 0")
    stack.suspend("it")
    completion = device.start_read(0, memoryview(bytearray(512)))
    errors: list[BaseException] = []

    def write() -> None:
        try:
            device.write_at(0, bytes(512))
        except DeviceClosed as error:
            errors.append(error)

    writer = begun(write)
    stack.remove("it")
    writer.join(30)
    assert len(errors) == 1
    with pytest.raises(DeviceClosed):
        completion.wait()


def test_a_resume_that_fails_leaves_those_who_wait_waiting() -> None:
    stack = Stack({"base": MemoryDevice(4096)}.__getitem__)
    device = stack.create("it", "0 8 linear base 0")
    stack.load("it", "0 16 linear base 0")
    stack.suspend("it")
    completion = device.start_read(0, memoryview(bytearray(512)))
    with pytest.raises(TableRefused, match="too small"):
        stack.resume("it")
    assert not completion.done
    stack.resume("it")
    completion.wait()


def test_many_threads_write_through_many_suspends_and_tables() -> None:
    """Two tables lead to the same bytes by different ways; whatever was written is there."""
    base = MemoryDevice(1 << 18)
    stack = Stack({"base": base}.__getitem__)
    ways = ("0 512 linear base 0", "0 100 linear base 0\n100 412 linear base 100")
    device = stack.create("it", ways[0])
    written: dict[int, bytes] = {}
    writers = 4

    def work(number: int) -> None:
        if number == writers:
            for turn in range(60):
                stack.load("it", ways[turn % 2])
                if turn % 3:
                    stack.suspend("it")
                stack.resume("it")
            return
        rng = random.Random(number)
        for _ in range(400):
            offset = rng.randrange(number, 512, writers) * 512
            data = written[offset] = rng.randbytes(512)
            device.write_at(offset, data)
            view = memoryview(bytearray(512))
            completion = device.start_read(offset, view)
            assert device.read_at(offset, 512) == data
            completion.wait()
            assert view == data

    in_threads(writers + 1, work)
    for offset, data in written.items():
        assert base.read_at(offset, 512) == data
