"""Reading through bufio: what is fetched, what is waited for, what is handed out."""

import pytest
from bufio_devices import Background, GateDevice, until_waiting

from dmsnap.block import COMPLETED, BadRequest
from dmsnap.bufio import BufioClient

BLOCK = 4096
BLOCKS = 16


@pytest.fixture
def device():
    device = GateDevice(BLOCKS * BLOCK)
    for block in range(BLOCKS):
        device.content[block * BLOCK : (block + 1) * BLOCK] = bytes([block + 1]) * BLOCK
    return device


def filled(block):
    return bytes([block + 1]) * BLOCK


def test_read_hands_out_the_content_of_the_block(device):
    with BufioClient(device, BLOCK) as client, client.read(3) as buffer:
        assert buffer.block == 3
        assert buffer.client is client
        assert buffer.data == filled(3)


def test_a_block_is_read_from_the_device_once(device):
    with BufioClient(device, BLOCK) as client:
        for _ in range(3):
            client.release(client.read(3))
    assert device.operations("read") == [(3 * BLOCK, BLOCK)]


def test_two_holds_share_one_buffer(device):
    with BufioClient(device, BLOCK) as client:
        first, second = client.read(3), client.read(3)
        assert first is second
        client.release(first)
        client.release(second)


def test_two_threads_that_read_one_block_cause_one_device_read(device):
    device.read_gate.clear()
    with BufioClient(device, BLOCK) as client:
        first = Background(client.read, 3)
        assert device.read_waits.acquire(timeout=20)
        second = Background(client.read, 3)
        until_waiting(client)
        device.read_gate.set()
        assert first.result() is second.result()
        for _ in range(2):
            client.release(first.result())
    assert device.operations("read") == [(3 * BLOCK, BLOCK)]


@pytest.mark.parametrize("block", [-1, BLOCKS, 1 << 70])
def test_read_outside_the_device_is_refused_before_memory_is_taken(device, block):
    with BufioClient(device, BLOCK) as client:
        with pytest.raises(BadRequest, match="outside its 16 blocks"):
            client.read(block)
        assert client.counters.memory_blocks == 0


def test_a_partial_last_block_cannot_be_read():
    with BufioClient(GateDevice(BLOCK + 512), BLOCK) as client:
        assert client.device_size_blocks == 1
        with pytest.raises(BadRequest):
            client.read(1)


def test_a_block_of_a_device_that_grew_can_be_read(device):
    with BufioClient(device, BLOCK) as client:
        with pytest.raises(BadRequest):
            client.read(BLOCKS)
        device.content += bytes(BLOCK)
        client.release(client.read(BLOCKS))


def test_block_sizes_need_not_be_powers_of_two():
    device = GateDevice(1536 * 4)
    device.content[1536:3072] = b"x" * 1536
    with BufioClient(device, 1536) as client, client.read(1) as buffer:
        assert buffer.data == b"x" * 1536


@pytest.mark.parametrize("size", [0, -512, 511, 4095])
def test_a_block_size_that_is_no_multiple_of_512_is_refused(device, size):
    with pytest.raises(BadRequest, match="not multiple of 512b"):
        BufioClient(device, size)


@pytest.mark.parametrize(("start", "blocks"), [(0, 16), (8, 15), (9, 14), (127, 0), (128, 0), (1000, 0)])
def test_device_size_counts_whole_blocks_behind_the_start(device, start, blocks):
    with BufioClient(device, BLOCK, start_sectors=start) as client:
        assert client.device_size_blocks == blocks


def test_block_0_begins_at_the_start(device):
    with BufioClient(device, BLOCK, start_sectors=8) as client, client.read(0) as buffer:
        assert buffer.data == filled(1)


# -- get ---------------------------------------------------------------------------------------------------------------


def test_get_of_an_absent_block_returns_none_and_reads_nothing(device):
    with BufioClient(device, BLOCK) as client:
        assert client.get(3) is None
    assert device.log == []


def test_get_returns_a_cached_block_held(device):
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(3))
        buffer = client.get(3)
        assert buffer.data == filled(3)
        assert client.counters.held == 1
        client.release(buffer)


def test_get_of_a_block_that_is_being_read_returns_none(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK) as client:
        client.prefetch(3)
        assert client.get(3) is None
        device.end_reads()
        with client.get(3) as buffer:
            assert buffer.data == filled(3)


# -- new ---------------------------------------------------------------------------------------------------------------


def test_new_reads_nothing_and_is_clean(device):
    with BufioClient(device, BLOCK) as client, client.new(3) as buffer:
        assert buffer.data == bytes(BLOCK)
        assert client.counters.dirty == 0
    assert device.log == []


def test_new_of_a_cached_block_shows_its_content(device):
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(3))
        with client.new(3) as buffer:
            assert buffer.data == filled(3)


def test_new_waits_for_a_pending_read(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK) as client:
        client.prefetch(3)
        new = Background(client.new, 3)
        until_waiting(client)
        assert new.running
        device.end_reads()
        assert new.result().data == filled(3)
        client.release(new.result())


# -- prefetch ----------------------------------------------------------------------------------------------------------


def test_prefetch_starts_reads_and_does_not_wait_for_them(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK) as client:
        client.prefetch(2, 3)
        assert device.operations("start") == [(block * BLOCK, BLOCK) for block in (2, 3, 4)]
        assert client.counters.held == 0
        device.end_reads()


def test_read_waits_for_the_prefetch_and_reads_nothing_itself(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK) as client:
        client.prefetch(2)
        read = Background(client.read, 2)
        until_waiting(client)
        assert read.running
        device.end_reads()
        assert read.result().data == filled(2)
        client.release(read.result())
    assert device.operations("read") == []


def test_reads_that_end_out_of_order_serve_their_own_readers(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK) as client:
        client.prefetch(0, 2)
        readers = [Background(client.read, block) for block in range(2)]
        until_waiting(client, 2)
        device.pending.reverse()
        device.end_reads(count=1)
        assert readers[1].result().data == filled(1)
        assert readers[0].running
        device.end_reads()
        assert readers[0].result().data == filled(0)
        for reader in readers:
            client.release(reader.result())


def test_a_reader_that_came_before_the_device_answered_at_once_is_woken():
    class SlowToStart(GateDevice):
        def _start_reads(self, requests):
            self.read_waits.release()
            assert self.read_gate.wait(20)
            return [COMPLETED] * len(requests)

    device = SlowToStart(BLOCK)
    device.read_gate.clear()
    with BufioClient(device, BLOCK) as client:
        prefetch = Background(client.prefetch, 0)
        assert device.read_waits.acquire(timeout=20)
        reader = Background(client.read, 0)
        until_waiting(client)
        device.read_gate.set()
        prefetch.result()
        client.release(reader.result())


def test_prefetch_blocks_is_one_batch_of_arbitrary_blocks(device):
    with BufioClient(device, BLOCK) as client:
        client.prefetch_blocks([9, 1, 5])
        assert device.batches == [3]
        assert device.operations("read") == [(block * BLOCK, BLOCK) for block in (9, 1, 5)]


def test_prefetch_passes_over_what_is_cached_or_named_twice(device):
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(1))
        client.prefetch_blocks([1, 2, 2, 1])
        assert device.batches == [1]


def test_prefetch_of_only_cached_blocks_asks_the_device_for_nothing(device):
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(1))
        client.prefetch(1)
        assert device.batches == []


def test_prefetch_ends_at_the_device_silently(device):
    with BufioClient(device, BLOCK) as client:
        client.prefetch(BLOCKS - 1, 1 << 60)
        client.prefetch(-2, 1)
        client.prefetch_blocks([BLOCKS, -1, 1 << 70])
        assert client.counters.prefetched == 1


def test_prefetch_without_memory_at_hand_does_less_and_does_not_wait(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK, max_buffers=3) as client:
        client.prefetch(0, BLOCKS)
        assert len(device.pending) == 3
        client.prefetch(8)
        assert len(device.pending) == 3
        device.end_reads()


def test_prefetch_leaves_the_reserve_alone(device):
    with BufioClient(device, BLOCK, max_buffers=2, reserved_buffers=2) as client:
        held = [client.read(0), client.read(1)]
        client.prefetch(5)
        assert client.counters.prefetched == 0
        for buffer in held:
            client.release(buffer)
