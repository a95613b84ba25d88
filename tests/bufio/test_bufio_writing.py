"""Dirty ranges, write-back, flush, and what becomes of write errors."""

import threading

import pytest
from bufio_devices import PATIENCE_SECONDS, Background, GateDevice

from dmsnap.bufio import BufioClient
from dmsnap.bufio.writeback import write_range

BLOCK = 16384


@pytest.fixture
def device():
    return GateDevice(64 * BLOCK)


@pytest.fixture
def client(device):
    with BufioClient(device, BLOCK, writers=0) as client:
        yield client


@pytest.fixture
def background_client(device):
    with BufioClient(device, BLOCK, writers=1) as client:
        yield client
        device.write_gate.set()


def dirty(client, *blocks, content=b"\1"):
    for block in blocks:
        with client.new(block) as buffer:
            buffer.data[:] = content * BLOCK
            client.mark_dirty(buffer)


def content_of(device, block):
    return bytes(device.content[block * BLOCK : (block + 1) * BLOCK])


# -- what is written ---------------------------------------------------------------------------------------------------


def test_changes_that_nobody_marked_are_not_written(client, device):
    with client.read(0) as buffer:
        buffer.data[:] = b"x" * BLOCK
    client.write_dirty()
    assert device.operations("write") == []


def test_marking_dirty_writes_nothing_by_itself(client, device):
    dirty(client, 0)
    assert device.log == []


def test_write_dirty_writes_what_is_dirty_and_then_flushes(client, device):
    dirty(client, 2, 0)
    client.write_dirty()
    assert device.log == [("write", 2 * BLOCK, BLOCK), ("write", 0, BLOCK), ("flush", 0, 0)]
    assert content_of(device, 2) == b"\1" * BLOCK


def test_write_dirty_moves_the_buffers_to_clean(client):
    dirty(client, 0, 1)
    client.write_dirty()
    assert (client.counters.clean, client.counters.dirty) == (2, 0)


def test_a_dirty_block_is_not_prefetched(client, device):
    dirty(client, 0)
    client.prefetch(0)
    assert device.batches == []


def test_a_buffer_is_written_once_for_each_time_it_was_dirtied(client, device):
    dirty(client, 0)
    client.write_dirty()
    client.write_dirty()
    assert len(device.operations("write")) == 1
    dirty(client, 0)
    client.write_dirty()
    assert len(device.operations("write")) == 2


@pytest.mark.parametrize(
    ("ranges", "written"),
    [
        ([(0, 1)], (0, 4096)),
        ([(4095, 4097)], (0, 8192)),
        ([(4096, 8192)], (4096, 8192)),
        ([(16383, 16384)], (12288, 16384)),
        ([(5000, 5001), (9000, 9001)], (4096, 12288)),
        ([(9000, 9001), (100, 200)], (0, 12288)),
        ([(0, 16384)], (0, 16384)),
    ],
)
def test_a_write_covers_the_united_ranges_rounded_to_4096(client, device, ranges, written):
    with client.new(1) as buffer:
        for start, end in ranges:
            client.mark_partial_dirty(buffer, start, end)
    client.write_dirty()
    assert device.operations("write") == [(BLOCK + written[0], written[1] - written[0])]


def test_a_write_ends_with_a_block_that_is_no_multiple_of_4096(device):
    with BufioClient(device, 5120, writers=0) as client, client.new(1) as buffer:
        client.mark_partial_dirty(buffer, 4200, 4300)
        client.write_dirty()
    assert device.operations("write") == [(5120 + 4096, 1024)]


def test_a_write_is_in_multiples_of_a_larger_logical_block(device):
    device.logical_block_size_bytes = 8192
    with BufioClient(device, BLOCK, writers=0) as client, client.new(1) as buffer:
        client.mark_partial_dirty(buffer, 0, 1)
        client.write_dirty()
    assert device.operations("write") == [(BLOCK, 8192)]


@pytest.mark.parametrize("size", [512, 4096, 5120, 16384])
def test_a_write_range_holds_the_dirty_range_inside_the_block(size):
    for start in range(0, size, 509):
        for end in range(start + 1, size + 1, 487):
            low, high = write_range(start, end, 4096, size)
            assert 0 <= low <= start < end <= high <= size
            assert low % 4096 == 0
            assert high % 4096 == 0 or high == size


def test_the_dirty_range_begins_anew_after_a_write(client, device):
    with client.new(0) as buffer:
        client.mark_partial_dirty(buffer, 0, 1)
        client.write_dirty()
        client.mark_partial_dirty(buffer, 9000, 9001)
        client.write_dirty()
    assert device.operations("write") == [(0, 4096), (8192, 4096)]


def test_writes_go_behind_the_start(device):
    with BufioClient(device, BLOCK, writers=0, start_sectors=32) as client:
        dirty(client, 1)
        client.write_dirty()
    assert device.operations("write") == [(2 * BLOCK, BLOCK)]


def test_the_write_callback_sees_each_buffer_just_before_its_write(device):
    def stamp(buffer):
        assert ("write", buffer.block * BLOCK, BLOCK) not in device.log
        buffer.data[:4] = b"sum!"

    with BufioClient(device, BLOCK, writers=0, write_callback=stamp) as client:
        dirty(client, 3)
        client.write_dirty()
    assert content_of(device, 3)[:5] == b"sum!\1"


# -- in the background -------------------------------------------------------------------------------------------------


def test_an_asynchronous_write_is_not_waited_for(background_client, device):
    device.write_gate.clear()
    dirty(background_client, 0)
    background_client.write_dirty_async()
    assert background_client.counters.writes_in_flight == 1
    assert device.operations("flush") == []


def test_a_buffer_stays_on_the_dirty_list_after_its_write_until_the_next_pass(client):
    dirty(client, 0)
    client.write_dirty_async()
    assert (client.counters.dirty, client.counters.writes_in_flight) == (1, 0)
    client.write_dirty_async()
    assert client.counters.dirty == 0


def test_a_buffer_dirtied_while_it_is_written_is_written_again(background_client, device):
    device.write_gate.clear()
    dirty(background_client, 0, content=b"\1")
    background_client.write_dirty_async()
    assert device.write_waits.acquire(timeout=PATIENCE_SECONDS)
    dirty(background_client, 0, content=b"\2")
    device.write_gate.set()
    background_client.write_dirty()
    assert len(device.operations("write")) == 2
    assert content_of(device, 0) == b"\2" * BLOCK


def test_a_change_during_a_write_does_not_tear_it(background_client, device):
    device.write_gate.clear()
    dirty(background_client, 0, content=b"\1")
    background_client.write_dirty_async()
    assert device.write_waits.acquire(timeout=PATIENCE_SECONDS)
    with background_client.new(0) as buffer:
        buffer.data[:] = b"\2" * BLOCK
        device.write_gate.set()
        background_client.write_dirty()
    assert content_of(device, 0) == b"\1" * BLOCK


def test_an_asynchronous_write_waits_for_the_same_buffers_write_so_that_two_never_overlap(background_client, device):
    device.write_gate.clear()
    dirty(background_client, 0)
    background_client.write_dirty_async()
    assert device.write_waits.acquire(timeout=PATIENCE_SECONDS)
    dirty(background_client, 0)
    again = Background(background_client.write_dirty_async)
    assert not device.write_waits.acquire(timeout=0.05)
    assert again.running
    device.write_gate.set()
    again.result()
    assert device.write_waits.acquire(timeout=PATIENCE_SECONDS)


def test_write_dirty_waits_for_writes_that_others_started(background_client, device):
    device.write_gate.clear()
    dirty(background_client, 0)
    background_client.write_dirty_async()
    assert device.write_waits.acquire(timeout=PATIENCE_SECONDS)
    waiting = Background(background_client.write_dirty)
    assert device.operations("flush") == []
    device.write_gate.set()
    waiting.result()
    assert [op for op, _, _ in device.log] == ["write", "flush"]


def test_a_buffer_can_be_read_while_it_is_written(background_client, device):
    device.write_gate.clear()
    dirty(background_client, 0)
    background_client.write_dirty_async()
    assert device.write_waits.acquire(timeout=PATIENCE_SECONDS)
    with background_client.read(0) as buffer:
        assert buffer.data == b"\1" * BLOCK


def test_several_writers_write_at_once(device):
    device.write_gate.clear()
    with BufioClient(device, BLOCK, writers=3) as client:
        dirty(client, 0, 1, 2)
        client.write_dirty_async()
        assert all(device.write_waits.acquire(timeout=PATIENCE_SECONDS) for _ in range(3))
        device.write_gate.set()


def test_writer_threads_end_when_there_is_nothing_to_write(background_client, device):
    dirty(background_client, 0)
    background_client.write_dirty()
    for thread in threading.enumerate():
        if thread.name == "dmsnap-bufio-writer":
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


def test_write_back_starts_when_dirty_buffers_are_over_three_times_the_clean(client, device):
    dirty(client, 0, 1, 2)
    client.release(client.read(3))
    assert device.operations("write") == []  # 3 dirty, 1 clean
    with client.read(4) as buffer:
        client.mark_dirty(buffer)  # 4 dirty, 1 clean: looked at with the next insertion, when it is 4 to 2
    dirty(client, 5, 6)
    assert device.operations("write") == []  # 5 to 2 when 6 came in
    dirty(client, 7, 8)
    assert len(device.operations("write")) == 7  # 7 to 2 when 8 came in


def test_a_prefetch_can_start_write_back_too(client, device):
    buffers = [client.new(block) for block in range(5)]
    for buffer in buffers:
        client.mark_dirty(buffer)
        client.release(buffer)
    assert device.operations("write") == []  # nothing came in since
    client.prefetch(9)
    assert len(device.operations("write")) == 5


def test_write_back_stops_at_the_first_buffer_that_is_being_written(background_client, device):
    device.write_gate.clear()
    dirty(background_client, 0)
    background_client.write_dirty_async()
    assert device.write_waits.acquire(timeout=PATIENCE_SECONDS)
    dirty(background_client, *range(1, 10))
    assert background_client.counters.writes_in_flight == 1


# -- flush and discard -------------------------------------------------------------------------------------------------


def test_flush_leaves_dirty_buffers_alone(client, device):
    dirty(client, 0)
    client.flush()
    assert device.log == [("flush", 0, 0)]
    assert client.counters.dirty == 1


@pytest.mark.parametrize("start", [0, 32])
def test_discard_is_for_exactly_the_blocks_named_wherever_block_0_begins(device, start):
    with BufioClient(device, BLOCK, start_sectors=start) as client:
        client.discard(3, 2)
    assert device.operations("discard") == [(start * 512 + 3 * BLOCK, 2 * BLOCK)]


def test_discard_leaves_the_cache_alone(client):
    dirty(client, 3)
    client.discard(3, 1)
    with client.read(3) as buffer:
        assert buffer.data == b"\1" * BLOCK
