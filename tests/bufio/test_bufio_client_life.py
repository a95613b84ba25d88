"""Making, resetting and closing a client; its callbacks and counters."""

import pytest
from bufio_devices import Background, GateDevice

from dmsnap.block import BadRequest, IOFailed
from dmsnap.block.wrap import FaultDevice, fail_nth
from dmsnap.bufio import BufferLeaked, BufioClient, BufioMisuse

BLOCK = 4096


@pytest.fixture
def device():
    return GateDevice(16 * BLOCK)


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("writers", [0, 1])
def test_the_end_writes_what_is_dirty(device, end, writers):
    client = BufioClient(device, BLOCK, writers=writers)
    with client.new(3) as buffer:
        buffer.data[:] = b"x" * BLOCK
        client.mark_dirty(buffer)
    getattr(client, end)()
    assert device.content[3 * BLOCK : 4 * BLOCK] == b"x" * BLOCK


def test_close_waits_for_prefetches_and_drops_them(device):
    device.hold_reads = True
    client = BufioClient(device, BLOCK)
    client.prefetch(0, 4)
    closing = Background(client.close)
    device.end_reads(count=3)
    assert closing.running
    device.end_reads(IOFailed("nobody hears of this"))
    closing.result()
    assert client.counters.prefetch_wasted == 4


def test_write_errors_of_the_end_are_lost(device):
    client = BufioClient(FaultDevice(device, fail_nth("write")), BLOCK, writers=0)
    with client.new(3) as buffer:
        client.mark_dirty(buffer)
    client.close()
    assert client.counters.write_errors == 1


@pytest.mark.parametrize("end", ["close", "reset"])
def test_held_buffers_are_reported_and_dropped(device, end):
    client = BufioClient(device, BLOCK)
    held = [client.read(5), client.read(2)]
    client.release(client.read(7))
    with pytest.raises(BufferLeaked, match="2 held buffers: blocks 2, 5") as caught:
        getattr(client, end)()
    assert caught.value.blocks == (2, 5)
    assert client.counters.clean == client.counters.memory_blocks == 0
    with pytest.raises(BufioMisuse, match="not held"):
        client.release(held[0])


def test_a_second_close_does_nothing(device):
    client = BufioClient(device, BLOCK)
    client.close()
    client.close()


def test_close_leaves_the_device_open(device):
    BufioClient(device, BLOCK).close()
    device.read_at(0, 512)


def test_a_leak_does_not_hide_the_error_that_caused_it(device):
    with pytest.raises(BadRequest), BufioClient(device, BLOCK) as client:
        client.read(client.read(0).block - 1)


def test_leaving_the_client_without_an_error_tells_of_a_leak(device):
    with pytest.raises(BufferLeaked), BufioClient(device, BLOCK) as client:
        client.read(0)


def test_a_client_can_be_used_after_reset_and_reads_afresh(device):
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(0))
        device.content[:4] = b"new!"
        client.reset()
        with client.read(0) as buffer:
            assert buffer.data[:4] == b"new!"
        assert client.counters.memory_blocks == 1


def test_the_memory_of_a_leaked_buffer_goes_to_nobody_else(device):
    client = BufioClient(device, BLOCK)
    leaked = client.read(0)
    with pytest.raises(BufferLeaked):
        client.reset()
    with client.read(1) as buffer:
        assert buffer.data is not leaked.data
    client.close()


# -- the caller's hooks ------------------------------------------------------------------------------------------------


def test_each_buffer_gets_an_aux_of_its_own(device):
    with BufioClient(device, BLOCK, aux=lambda: bytearray(16)) as client:
        with client.read(0) as first, client.read(1) as second:
            assert first.aux == bytes(16)
            assert first.aux is not second.aux
            first.aux[:4] = b"mine"
        with client.read(0) as again:
            assert again.aux[:4] == b"mine"


def test_without_aux_there_is_none(device):
    with BufioClient(device, BLOCK) as client, client.read(0) as buffer:
        assert buffer.aux is None


def test_the_allocation_callback_hears_of_every_buffer_before_it_is_cached(device):
    heard = []

    def allocated(buffer):
        assert buffer.client.get(buffer.block) is None
        heard.append(buffer.block)

    with BufioClient(device, BLOCK, alloc_callback=allocated, max_buffers=2) as client:
        client.release(client.read(4))
        client.release(client.read(4))
        client.release(client.new(5))
        client.prefetch_blocks([7, 6])
    assert heard == [4, 5, 7, 6]


def test_a_block_that_came_in_during_the_allocation_callback_is_not_cached_twice(device):
    others = []

    def allocated(buffer):
        if not others:
            others.append(None)
            others[0] = Background(client.read, buffer.block).result()

    client = BufioClient(device, BLOCK, alloc_callback=allocated)
    buffer = client.read(3)
    assert buffer is others[0]
    assert client.counters.memory_blocks == 1
    client.release(buffer)
    client.release(buffer)
    client.close()


def test_an_allocation_callback_that_raises_leaves_no_block_waiting_for_ever(device):
    failing = {2}

    def allocated(buffer):
        if buffer.block in failing:
            raise ValueError("refused")

    with BufioClient(device, BLOCK, alloc_callback=allocated) as client:
        with pytest.raises(ValueError, match="refused"):
            client.prefetch(0, 4)
        assert client.counters.in_flight == 0
        with pytest.raises(ValueError, match="refused"):
            client.read(1)  # kept from the prefetch
        failing.clear()
        client.release(client.read(1))


# -- counters and trace ------------------------------------------------------------------------------------------------


def test_counters_tell_hits_from_misses(device):
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(0))
        client.release(client.new(1))
        client.release(client.read(0))
        client.release(client.get(1))
        client.get(2)
        assert (client.counters.misses, client.counters.hits) == (2, 2)


def test_counters_show_what_prefetch_was_good_for(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK) as client:
        client.prefetch(0, 4)
        assert (client.counters.in_flight, client.counters.prefetched) == (4, 4)
        device.end_reads()
        for block in range(3):
            client.release(client.read(block))
            client.forget(block)
        client.forget(3)
        counters = client.counters
        assert (counters.in_flight, counters.max_in_flight) == (0, 4)
        assert (counters.hits, counters.misses, counters.waits, counters.prefetch_wasted) == (3, 0, 0, 1)


def test_counters_show_the_state_of_the_cache(device):
    with BufioClient(device, BLOCK, writers=0) as client, client.read(0), client.new(1) as buffer:
        client.mark_dirty(buffer)
        client.release(client.read(2))
        counters = client.counters
        assert (counters.held, counters.clean, counters.dirty, counters.memory_blocks) == (2, 2, 1, 3)


def test_counters_are_a_copy(device):
    with BufioClient(device, BLOCK) as client:
        before = client.counters
        client.release(client.read(0))
        assert before.misses == 0


def test_the_trace_tells_the_life_of_blocks_in_order(device):
    events = []
    client = BufioClient(device, BLOCK, writers=0, trace=lambda *event: events.append(event))
    client.prefetch(0)
    with client.read(0) as buffer:
        client.mark_dirty(buffer)
    client.write_dirty()
    client.forget(0)
    client.release(client.read(1))
    client.release(client.new(2))
    client.close()
    assert [event[1:] for event in events] == [
        *[("prefetch", 0), ("arrived", 0), ("hit", 0), ("release", 0), ("write", 0), ("written", 0), ("forget", 0)],
        *[("miss", 1), ("arrived", 1), ("release", 1), ("new", 2), ("release", 2)],
    ]
    times = [event[0] for event in events]
    assert times == sorted(times)
