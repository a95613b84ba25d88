"""What each wrapper is for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic

import pytest

from dmsnap.block import BadRequest, BlockDevice, Completion, IOFailed, MemoryDevice, ReadOnlyDevice, ReadRequest
from dmsnap.block.wrap import (
    Count,
    DelayDevice,
    Event,
    FaultDevice,
    LogDevice,
    ReadOnlyWrapper,
    SliceDevice,
    StatsDevice,
    Wrapper,
    fail_nth,
    fail_range,
)


class Held(Wrapper):
    """Keeps started reads pending until `release`."""

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.held: list[Completion] = []

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        super()._start_reads(requests)
        started = [Completion() for _ in requests]
        self.held += started
        return started

    def release(self, error: Exception | None = None) -> None:
        held, self.held = self.held, []
        for completion in held:
            completion.finish(error)


def reads(*offsets: int, length: int = 512) -> list[ReadRequest]:
    return [(offset, memoryview(bytearray(length))) for offset in offsets]


# -- log --------------------------------------------------------------------------------------------------------------


def test_the_log_has_every_request_in_order() -> None:
    with LogDevice(MemoryDevice(8192)) as device:
        device.read_at(512, 1024)
        device.start_reads(reads(0, 4096))
        device.write_at(1024, bytes(512))
        device.zero(0, 2048)
        device.discard(2048, 512)
        device.flush()
        device.extents(0, 8192)
    assert list(device.events) == [
        Event("read", 512, 1024),
        Event("start_read", 0, 512),
        Event("start_read", 4096, 512),
        Event("write", 1024, 512),
        Event("zero", 0, 2048),
        Event("discard", 2048, 512),
        Event("flush"),
        Event("extents", 0, 8192),
        Event("close"),
    ]
    assert device.ranges("read", "start_read") == [(512, 1024), (0, 512), (4096, 512)]


def test_a_bounded_log_keeps_the_latest() -> None:
    device = LogDevice(MemoryDevice(8192), limit=2)
    for offset in (0, 512, 1024):
        device.read_at(offset, 512)
    assert device.ranges("read") == [(512, 512), (1024, 512)]


def test_refused_requests_are_not_in_the_log_and_failed_ones_are() -> None:
    device = LogDevice(FaultDevice(MemoryDevice(8192), fail_nth("read")))
    with pytest.raises(BadRequest):
        device.read_at(8192, 512)
    with pytest.raises(IOFailed):
        device.read_at(0, 512)
    assert device.ranges("read") == [(0, 512)]


# -- stats ------------------------------------------------------------------------------------------------------------


def test_stats_count_requests_and_bytes_of_each_kind() -> None:
    device = StatsDevice(MemoryDevice(8192))
    device.read_at(0, 1024)
    device.start_reads(reads(0, 512, 1024))
    device.write_at(0, bytes(2048))
    device.zero(0, 512)
    device.discard(0, 4096)
    device.flush()
    counts = [device.reads, device.started_reads, device.writes, device.zeros, device.discards, device.flushes]
    assert [(count.requests, count.bytes) for count in counts] == [
        (4, 2560),
        (3, 1536),
        (1, 2048),
        (1, 512),
        (1, 4096),
        (1, 0),
    ]
    device.reset()
    assert device.reads.requests == 0


def test_stats_know_how_many_reads_are_under_way() -> None:
    held = Held(MemoryDevice(8192))
    device = StatsDevice(held)
    device.start_reads(reads(0, 512, 1024))
    device.start_reads(reads(0, 512))
    assert (device.in_flight, device.most_in_flight) == (5, 5)
    held.release()
    assert (device.in_flight, device.most_in_flight) == (0, 5)


def test_reads_that_fail_are_under_way_no_more() -> None:
    held = Held(FaultDevice(MemoryDevice(8192), fail_nth("read")))
    device = StatsDevice(held)
    with pytest.raises(IOFailed):
        device.read_at(0, 512)
    [completion] = device.start_reads(reads(0))
    held.release(IOFailed("broken"))
    assert device.in_flight == 0
    with pytest.raises(IOFailed, match="broken"):
        completion.wait()


def test_reads_that_wait_in_many_threads_are_under_way_together() -> None:
    inside = threading.Barrier(4)

    class Meeting(Wrapper):
        def _read_into(self, offset: int, view: memoryview) -> None:
            inside.wait(60)

    device = StatsDevice(Meeting(MemoryDevice(8192)))
    threads = [threading.Thread(target=device.read_at, args=(0, 512)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (device.in_flight, device.most_in_flight) == (0, 4)


# -- delay ------------------------------------------------------------------------------------------------------------


def test_no_read_comes_back_before_the_delay() -> None:
    with DelayDevice(MemoryDevice(8192), 0.02) as device:
        begun = monotonic()
        device.read_at(0, 512)
        assert monotonic() - begun >= 0.02
        begun = monotonic()
        [completion] = device.start_reads(reads(0))
        assert not completion.done
        completion.wait()
        assert monotonic() - begun >= 0.02


def test_started_reads_wait_together() -> None:
    """One after the other these reads would take 50 seconds."""

    def clocks() -> int:
        return sum(thread.name == "slow-delay" for thread in threading.enumerate())

    with DelayDevice(MemoryDevice(b"\x07" * 4096, name="slow"), 0.1) as device:
        begun = monotonic()
        requests = [request for _ in range(500) for request in reads(0)]
        completions = [device.start_read(*request) for request in requests]
        assert clocks() == 1
        for completion in completions:
            completion.wait()
        assert monotonic() - begun < 10
        assert all(view == b"\x07" * 512 for _, view in requests)
    assert clocks() == 0


def test_the_delay_passes_on_errors_and_late_reads() -> None:
    with DelayDevice(FaultDevice(MemoryDevice(8192), fail_nth("read")), 0.001) as device:
        with pytest.raises(IOFailed):
            device.read_at(0, 512)
        with pytest.raises(IOFailed):
            device.start_reads(reads(0))[0].wait()
    held = Held(MemoryDevice(8192))
    with DelayDevice(held, 0.001) as device:
        [late] = device.start_reads(reads(0))
        device.read_at(0, 512)
        assert not late.done
        held.release()
        late.wait()


# -- fault ------------------------------------------------------------------------------------------------------------


def test_the_nth_request_of_a_kind_fails() -> None:
    device = FaultDevice(MemoryDevice(8192), fail_nth("read", 2, 4), fail_nth("flush"))
    device.read_at(0, 512)
    with pytest.raises(IOFailed, match=r"read 2 \(512 bytes at byte 1024\) failed on demand"):
        device.read_at(1024, 512)
    device.write_at(0, bytes(512))
    outcomes = [completion.error is None for completion in device.start_reads(reads(0, 512, 1024))]
    assert outcomes == [True, False, True]
    for _ in range(2):
        with pytest.raises(IOFailed):
            device.flush()


def test_a_range_fails_where_it_is_touched() -> None:
    device = FaultDevice(MemoryDevice(b"\x01" * 8192), fail_range(1024, 1024))
    device.read_at(0, 1024)
    device.read_at(2048, 1024)
    device.zero(1024, 512)  # only the kinds asked for: reads and writes
    for offset, length in ((512, 1024), (1024, 512), (1536, 1024), (0, 8192)):
        with pytest.raises(IOFailed):
            device.read_at(offset, length)
        with pytest.raises(IOFailed):
            device.write_at(offset, bytes(length))


def test_a_fault_may_be_any_rule_and_be_lifted() -> None:
    device = FaultDevice(MemoryDevice(b"\x01" * 8192), lambda request: request.op == "write" and request.length > 512)
    device.write_at(0, bytes(512))
    with pytest.raises(IOFailed):
        device.write_at(512, bytes(1024))
    assert device.read_at(512, 1024) == b"\x01" * 1024  # the device below never heard of it
    device.faults.clear()
    device.write_at(512, bytes(1024))


@pytest.mark.parametrize("op", ["read", "write", "zero", "discard", "flush"])
def test_every_kind_can_fail(op: str) -> None:
    device = FaultDevice(MemoryDevice(8192), lambda request: request.op == op)
    requests = {
        "read": lambda: device.read_at(0, 512),
        "write": lambda: device.write_at(0, bytes(512)),
        "zero": lambda: device.zero(0, 512),
        "discard": lambda: device.discard(0, 512),
        "flush": device.flush,
    }
    for kind, request in requests.items():
        if kind == op:
            with pytest.raises(IOFailed):
                request()
        else:
            request()


# -- read-only, slice, and all ----------------------------------------------------------------------------------------


def test_read_only_protects_a_writable_device() -> None:
    below = MemoryDevice(b"\x01" * 512)
    with pytest.raises(ReadOnlyDevice, match="memory: opened read-only"):
        ReadOnlyWrapper(below).zero(0, 512)
    assert below.read_at(0, 512) == b"\x01" * 512


def test_a_slice_reaches_nothing_outside_itself() -> None:
    below = MemoryDevice(b"\x01" * 4096)
    device = SliceDevice(below, 512, 1024)
    device.write_at(0, b"\x02" * 1024)
    device.zero(512, 512)
    assert below.read_at(0, 4096) == b"\x01" * 512 + b"\x02" * 512 + bytes(512) + b"\x01" * 2560
    with pytest.raises(BadRequest):
        device.read_at(512, 1024)


def test_a_slice_lies_inside_its_device() -> None:
    for offset, length in ((512, 4096), (-512, 512), (256, 512), (4608, 0)):
        with pytest.raises(BadRequest):
            SliceDevice(MemoryDevice(4096), offset, length)


def test_wrappers_take_over_how_a_device_is_used() -> None:
    below = MemoryDevice(8192, logical_block_size_bytes=4096, read_only=True, name="below")
    for device in (Wrapper(below), SliceDevice(below, 4096, 4096), LogDevice(StatsDevice(below))):
        assert device.read_only
        assert device.logical_block_size_bytes == 4096
        assert device.name == "below"


def test_a_wrapper_owns_its_device() -> None:
    below = MemoryDevice(512)
    StatsDevice(LogDevice(below)).close()
    assert below.closed


# -- durable writes ---------------------------------------------------------------------------------------------------


def test_a_durable_write_passes_through_wrappers_as_one_request() -> None:
    below = LogDevice(MemoryDevice(8192))
    stats = StatsDevice(FaultDevice(SliceDevice(below, 4096, 4096)))
    with LogDevice(stats) as device:
        device.write_at(512, b"a" * 1024, fua=True)
        assert below.read_at(4608, 1024) == b"a" * 1024
        assert device.ranges("write_durably") == [(512, 1024)]
        assert below.ranges("write_durably") == [(4608, 1024)]
        assert below.ranges("write", "flush") == []
        assert (stats.writes, stats.durable_writes, stats.flushes.requests) == (Count(1, 1024), Count(1, 1024), 0)


def test_a_durable_write_is_a_write_to_a_fault() -> None:
    device = FaultDevice(MemoryDevice(8192), fail_nth("write", 2))
    device.write_at(0, bytes(512))
    with pytest.raises(IOFailed):
        device.write_at(0, b"a" * 512, fua=True)
    assert device.read_at(0, 512) == bytes(512)


def test_a_device_that_knows_only_writes_and_flushes_makes_a_durable_write_of_them() -> None:
    class Plain(MemoryDevice):
        def __init__(self) -> None:
            super().__init__(4096)
            self.asked: list[str] = []

        def _write_at(self, offset: int, view: memoryview) -> None:
            self.asked.append("write")

        def _flush(self) -> None:
            self.asked.append("flush")

    device = Plain()
    device.write_at(0, bytes(512), fua=True)
    assert device.asked == ["write", "flush"]
