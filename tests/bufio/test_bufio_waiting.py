"""Who waits for a read waits at the device: reads may end because somebody waits, as they do in simulated time."""

from collections.abc import Sequence

import pytest

from dmsnap.block.completion import Completion
from dmsnap.block.contract import IOFailed, ReadRequest
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import StatsDevice
from dmsnap.bufio import BufioClient

BLOCK = 4096


class OnDemand(MemoryDevice):
    """Reads take a second each on a clock of its own, one after another, and only while somebody waits for one."""

    def __init__(self) -> None:
        super().__init__(bytes(range(16)) * (BLOCK // 16) * 64)
        self.seconds = 0.0
        self.queue: list[Started] = []
        self.failing: set[int] = set()

    def clock(self) -> float:
        return self.seconds

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        started = [Started(self, request) for request in requests]
        self.queue += started
        return list(started)

    def _read_into(self, offset: int, view: memoryview) -> None:
        self.start_reads([(offset, view)])[0].wait()


class Started(Completion):
    __slots__ = ("device", "request")

    def __init__(self, device: OnDemand, request: ReadRequest) -> None:
        super().__init__()
        self.device, self.request = device, request

    def wait(self) -> None:
        while not self.done:
            first = self.device.queue.pop(0)
            offset, view = first.request
            self.device.seconds += 1
            view[:] = bytes([offset // BLOCK]) * len(view)
            first.finish(IOFailed("bad") if offset // BLOCK in self.device.failing else None)
        super().wait()


@pytest.fixture
def device() -> OnDemand:
    return OnDemand()


def test_a_wait_for_one_block_lets_time_pass_until_that_is_there(device):
    events = []
    with BufioClient(device, BLOCK, trace=lambda *event: events.append(event)) as client:
        client.prefetch(0, 8)
        with client.read(2) as buffer:
            assert set(buffer.data) == {2}
        assert device.seconds == 3
        assert client.get(3) is None
        with client.read(0) as buffer:
            assert set(buffer.data) == {0}
        assert device.seconds == 3
    assert device.seconds == 8  # the end waits for the rest
    assert (3.0, "arrived", 2) in events
    assert (0.0, "wait", 2) in events


def test_a_read_that_was_not_prefetched_waits_its_turn(device):
    with BufioClient(device, BLOCK) as client:
        client.prefetch(0, 3)
        client.release(client.read(9))
        assert device.seconds == 4


def test_an_error_met_on_the_way_is_that_of_its_own_block(device):
    device.failing = {1}
    with BufioClient(device, BLOCK) as client:
        client.prefetch(0, 4)
        client.release(client.read(3))
        with pytest.raises(IOFailed, match="bad"):
            client.read(1)


def test_a_cache_that_is_full_of_reads_waits_for_one_of_them(device):
    with BufioClient(device, BLOCK, max_buffers=2, reserved_buffers=0) as client:
        client.prefetch(0, 2)
        client.release(client.read(7))
        assert device.seconds <= 3


def test_wrappers_pass_the_clock_on(device):
    device.seconds = 7.0
    assert StatsDevice(device).clock() == 7


# -- interrupts -------------------------------------------------------------------------------------------------------


class Interrupting(MemoryDevice):
    """Is interrupted when it has started so many reads of a batch; they go on all the same."""

    def __init__(self, started: int) -> None:
        super().__init__(bytes(BLOCK * 64))
        self.left, self.late = started, []

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        completions = []
        for offset, view in requests:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            self.late.append((offset, view))
            completions.append(Completion())
        return completions


def test_memory_of_reads_that_may_go_on_is_used_by_nobody_else():
    device = Interrupting(3)
    with BufioClient(device, BLOCK, max_buffers=8) as client:
        with pytest.raises(KeyboardInterrupt):
            client.prefetch(0, 8)
        client.forget_buffers(0, 8)
        buffers = [client.new(block) for block in range(20, 28)]
        for buffer in buffers:
            buffer.data[:] = b"\x01" * BLOCK
        for _, view in device.late:
            view[:] = b"\x02" * BLOCK
        assert all(set(buffer.data) == {1} for buffer in buffers)
        for buffer in buffers:
            client.release(buffer)


@pytest.mark.parametrize("when", range(6))
def test_a_client_closes_though_it_was_interrupted_while_it_noted_what_was_started(when, monkeypatch):
    device, calls = OnDemand(), iter(range(100))
    add = Completion.add_done_callback

    def interrupted(self, callback):
        if next(calls) == when:
            raise KeyboardInterrupt
        add(self, callback)

    client = BufioClient(device, BLOCK)
    monkeypatch.setattr(Completion, "add_done_callback", interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.prefetch(0, 6)
    monkeypatch.undo()
    with client.read(5) as buffer:
        assert set(buffer.data) == {5}
    client.close()
    assert client.counters.in_flight == 0


def test_a_device_that_cannot_end_a_read_is_an_error_and_no_endless_wait(monkeypatch):
    device = OnDemand()
    client = BufioClient(device, BLOCK)
    client.prefetch(0, 2)
    device.queue.clear()
    with pytest.raises(IndexError):
        client.read(0)
