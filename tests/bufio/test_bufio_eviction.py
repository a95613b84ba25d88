"""Who has to go when the cache is full, what is kept back, and who sleeps."""

import pytest
from bufio_devices import Background, GateDevice, dirty, is_cached, touch, until_asleep

from dmsnap.block import BadRequest
from dmsnap.bufio import BufioClient
from dmsnap.bufio.buffer import Buffer
from dmsnap.bufio.cache import Cache, sweep

BLOCK = 4096


@pytest.fixture
def device():
    return GateDevice(64 * BLOCK)


def evictions(device, **options):
    """Returns a client and the list that its evicted blocks are added to."""
    evicted = []
    client = BufioClient(
        device,
        BLOCK,
        trace=lambda _, event, block: evicted.append(block) if event == "evict" else None,
        **{"reserved_buffers": 0, "writers": 0, **options},
    )
    return client, evicted


# -- the CLOCK ---------------------------------------------------------------------------------------------------------


def ring_of(*blocks):
    cache = Cache()
    for block in blocks:
        cache.clean[block] = Buffer(None, block, memoryview(b""), 0, 0)
    return cache.clean


def test_the_sweep_takes_the_entry_under_the_cursor():
    assert sweep(ring_of(1, 2, 3), busy=True).block == 1


def test_the_sweep_clears_a_reference_bit_and_passes_on():
    ring = ring_of(1, 2, 3)
    ring[1].referenced = True
    assert sweep(ring, busy=True).block == 2
    assert not ring[1].referenced
    assert list(ring) == [2, 3, 1]


def test_the_sweep_goes_round_once_more_where_every_entry_was_referenced():
    ring = ring_of(1, 2, 3)
    for buffer in ring.values():
        buffer.referenced = True
    assert sweep(ring, busy=True).block == 1


def test_the_sweep_gives_up_where_every_entry_is_held():
    ring = ring_of(1, 2)
    for buffer in ring.values():
        buffer.holds = 1
    assert sweep(ring, busy=True) is None


def test_the_sweep_of_an_empty_ring_finds_nothing():
    assert sweep(ring_of(), busy=True) is None


def test_blocks_go_in_the_order_they_came(device):
    client, evicted = evictions(device, max_buffers=3)
    touch(client, 0, 1, 2, 3, 4)
    assert evicted == [0, 1]


def test_a_hit_saves_a_block_once(device):
    client, evicted = evictions(device, max_buffers=3)
    touch(client, 0, 1, 2, 0, 3, 4, 5)
    assert evicted == [1, 2, 0]


def test_a_block_enters_without_its_reference_bit_set(device):
    client, evicted = evictions(device, max_buffers=2)
    touch(client, 0, 1)
    touch(client, 0)
    touch(client, 2)  # clears 0's bit, takes 1: the cursor is at 0
    touch(client, 3)
    assert evicted == [1, 0]


def test_a_held_block_is_never_evicted(device):
    client, _ = evictions(device, max_buffers=2)
    with client.read(0) as buffer:
        touch(client, *range(1, 20))
        assert client.get(0) is buffer
        client.release(buffer)
        assert buffer.data == bytes(BLOCK)


# -- the ladder --------------------------------------------------------------------------------------------------------


def test_memory_never_exceeds_the_limit_and_the_reserve(device):
    client, _ = evictions(device, max_buffers=3, reserved_buffers=2)
    dirty(client, *range(20))
    assert client.counters.memory_blocks <= 5
    held = [client.read(block) for block in range(5)]
    assert client.counters.memory_blocks == 5
    for buffer in held:
        client.release(buffer)


def test_the_limit_can_be_given_in_bytes(device):
    client, _ = evictions(device, cache_bytes=3 * BLOCK + 1)
    touch(client, *range(20))
    assert client.counters.memory_blocks == 3


def test_with_a_limit_below_one_block_the_reserve_is_all_there_is(device):
    client, _ = evictions(device, cache_bytes=BLOCK - 1, reserved_buffers=1)
    touch(client, 0, 1, 2)
    client.prefetch(5)
    assert client.counters.memory_blocks == 1
    assert client.counters.prefetched == 0


@pytest.mark.parametrize(
    "options", [{"max_buffers": 0}, {"max_buffers": -1}, {"max_buffers": 5, "reserved_buffers": -1}]
)
def test_a_client_without_a_buffer_is_refused(device, options):
    with pytest.raises(BadRequest):
        BufioClient(device, BLOCK, **{"reserved_buffers": 0, **options})


def test_a_client_of_huge_blocks_takes_no_memory_before_it_needs_some(device):
    with BufioClient(device, 1 << 40, cache_bytes=1 << 60, reserved_buffers=8) as client:
        assert client.counters.memory_blocks == 0
        with pytest.raises(BadRequest):
            client.read(0)


def test_memory_that_the_machine_does_not_have_is_an_error_not_a_hang():
    class Endless(GateDevice):
        size_bytes = 1 << 62

    with BufioClient(Endless(0), 1 << 61, cache_bytes=1 << 62) as client:
        client.prefetch(0)
        assert client.counters.prefetched == 0
        with pytest.raises(MemoryError):
            client.new(0)


def test_a_reader_gets_a_reserved_buffer_when_the_cache_is_full_of_held_ones(device):
    client, _ = evictions(device, max_buffers=2, reserved_buffers=1)
    held = [client.read(0), client.read(1)]
    held.append(Background(client.read, 2).result())
    assert client.counters.sleeps == 0
    for buffer in held:
        client.release(buffer)


def test_a_reader_without_a_reserved_buffer_sleeps_until_a_release(device):
    client, evicted = evictions(device, max_buffers=2)
    held = [client.read(0), client.read(1)]
    reader = Background(client.read, 2)
    until_asleep(client)
    assert reader.running
    client.release(held[1])
    assert reader.result().block == 2
    assert evicted == [1]


def test_a_sleeper_wakes_when_its_block_comes_into_the_cache(device):
    client, _ = evictions(device, max_buffers=1)
    held = client.read(0)
    readers = [Background(client.read, 1) for _ in range(2)]
    while client.counters.sleeps < 2:
        pass
    client.release(held)
    first, second = (reader.result() for reader in readers)
    assert first is second
    assert len(device.operations("read")) == 2


def test_the_reserve_is_refilled_before_prefetch_gets_memory(device):
    client, evicted = evictions(device, max_buffers=2, reserved_buffers=1)
    held = [client.read(block) for block in range(3)]
    client.release(held.pop(0))
    client.prefetch(5)
    assert evicted == [0]
    assert not is_cached(client, 5)
    client.release(held.pop(0))
    client.prefetch(5)
    assert is_cached(client, 5)
    client.release(held.pop(0))


def test_prefetch_leaves_the_forgotten_memory_of_the_reserve_alone(device):
    client, _ = evictions(device, max_buffers=2, reserved_buffers=1)
    held = [client.read(block) for block in range(3)]
    client.release(held.pop(), forget=True)
    client.prefetch(5)
    assert client.counters.prefetched == 0
    for buffer in held:
        client.release(buffer)


def test_a_block_that_came_in_while_memory_was_waited_for_is_not_cached_twice(device):
    device.write_gate.clear()
    client, _ = evictions(device, max_buffers=2)
    dirty(client, 0)
    held = client.read(1)
    reader = Background(client.read, 5)
    assert device.write_waits.acquire(timeout=20)
    client.release(held)
    mine = client.read(5)
    device.write_gate.set()
    assert reader.result() is mine
    assert client.counters.memory_blocks == 1
    assert device.operations("read") == [(BLOCK, BLOCK), (5 * BLOCK, BLOCK)]


def test_clean_blocks_go_before_dirty_ones(device):
    client, evicted = evictions(device, max_buffers=3)
    dirty(client, 0)
    touch(client, 1, 2, 3, 4)
    assert evicted == [1, 2]
    assert device.operations("write") == []


def test_a_dirty_block_is_written_before_it_goes(device):
    client, evicted = evictions(device, max_buffers=1)
    with client.new(7) as buffer:
        buffer.data[:] = b"7" * BLOCK
        client.mark_dirty(buffer)
    touch(client, 8)
    assert evicted == [7]
    assert device.operations("write") == [(7 * BLOCK, BLOCK)]
    with client.read(7) as buffer:
        assert buffer.data == b"7" * BLOCK


def test_eviction_waits_for_a_pending_read_where_nothing_else_is_left(device):
    device.hold_reads = True
    client, evicted = evictions(device, max_buffers=1)
    client.prefetch(0)
    reader = Background(client.read, 1)
    while not client.counters.held:
        pass  # the victim is held by who waits for it
    assert reader.running
    device.end_reads()
    assert reader.result().block == 1
    assert evicted == [0]
    assert client.counters.prefetch_wasted == 1


def test_a_block_that_is_taken_while_its_eviction_waits_stays(device):
    device.write_gate.clear()
    client, evicted = evictions(device, max_buffers=2)
    dirty(client, 0)
    held = client.read(1)
    reader = Background(client.read, 2)
    assert device.write_waits.acquire(timeout=20)
    saved = client.get(0)
    device.write_gate.set()
    until_asleep(client)
    assert evicted == []
    assert saved.data == bytes(BLOCK)
    client.release(saved)
    client.release(reader.result())
    client.release(held)
    assert evicted == [0]


def test_a_block_enters_the_dirty_list_without_its_reference_bit_set(device):
    client, evicted = evictions(device, max_buffers=2)
    touch(client, 0, 0)
    dirty(client, 0, 1)
    touch(client, 2)
    assert evicted == [0]


def test_prefetch_evicts_idle_clean_blocks(device):
    client, evicted = evictions(device, max_buffers=2)
    touch(client, 0, 1)
    client.prefetch(2, 2)
    assert evicted == [0, 1]
    assert device.batches == [2]


def test_prefetch_never_evicts_the_blocks_of_its_own_batch(device):
    client, evicted = evictions(device, max_buffers=2)
    client.prefetch(0, 5)
    assert evicted == []
    assert is_cached(client, 0)


def test_prefetch_leaves_minimum_buffers_alone(device):
    client, evicted = evictions(device, max_buffers=4)
    client.set_minimum_buffers(4)
    touch(client, 0, 1, 2, 3)
    client.prefetch(5)
    assert evicted == []
    client.set_minimum_buffers(3)
    client.prefetch(5)
    assert evicted == [0]


def test_minimum_buffers_is_no_guarantee(device):
    client, evicted = evictions(device, max_buffers=2)
    client.set_minimum_buffers(100)
    touch(client, 0, 1, 2)
    assert evicted == [0]


def test_memory_of_forgotten_blocks_is_used_again(device):
    with BufioClient(device, BLOCK) as client:
        with client.read(0) as buffer:
            memory = buffer.data
        client.forget(0)
        with client.read(1) as buffer:
            assert buffer.data is memory


def test_without_sleep_a_pending_read_is_not_waited_for_by_eviction(device):
    device.hold_reads = True
    client, evicted = evictions(device, max_buffers=2, no_sleep=True)
    client.prefetch(0)
    held = client.new(1)
    reader = Background(client.read, 2)
    until_asleep(client)
    client.release(held)
    client.release(reader.result())
    assert evicted == [1]
    device.end_reads()


@pytest.mark.parametrize("writers", [0, 1])
def test_without_sleep_dirty_blocks_are_written_in_the_background_to_make_room(device, writers):
    client, _ = evictions(device, max_buffers=2, no_sleep=True, writers=writers)
    dirty(client, 0, 1)
    client.release(Background(client.read, 2).result())
    assert sorted(device.operations("write")) == [(0, BLOCK), (BLOCK, BLOCK)]
