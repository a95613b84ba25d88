"""Forgetting: a hint that drops what is idle, and never anything else."""

import pytest
from bufio_devices import Background, GateDevice, dirty, is_cached, touch, until_asleep

from dmsnap.bufio import BufioClient

BLOCK = 4096


@pytest.fixture
def device():
    return GateDevice(64 * BLOCK)


def test_forget_drops_an_idle_block(device):
    with BufioClient(device, BLOCK) as client:
        touch(client, 0)
        client.forget(0)
        assert not is_cached(client, 0)


def test_forget_leaves_absent_held_dirty_and_pending_blocks(device):
    device.hold_reads = True
    with BufioClient(device, BLOCK, writers=0) as client:
        client.prefetch(0)
        dirty(client, 1)
        with client.read(2):
            client.forget_buffers(0, 10)
            client.forget(2)
            assert client.counters.clean == 2
            assert client.counters.dirty == 1
        device.end_reads()


def test_forget_buffers_drops_a_range_of_any_size(device):
    with BufioClient(device, BLOCK) as client:
        touch(client, 0, 1, 2, 3)
        client.forget_buffers(1, 2)
        assert [is_cached(client, block) for block in range(4)] == [True, False, False, True]
        client.forget_buffers(0, 1 << 62)
        assert client.counters.clean == 0


def test_forget_drops_a_block_whose_write_is_over(device):
    with BufioClient(device, BLOCK, writers=0) as client:
        dirty(client, 0)
        client.write_dirty_async()
        assert client.counters.dirty == 1
        client.forget(0)
        assert client.counters.dirty == 0
        client.write_dirty()


def test_release_can_forget_in_the_same_step(device):
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(0), forget=True)
        assert not is_cached(client, 0)
        assert client.counters.memory_blocks == 0


def test_release_forgets_nothing_that_others_hold_or_that_is_dirty(device):
    with BufioClient(device, BLOCK, writers=0) as client:
        first, second = client.read(0), client.read(0)
        client.release(first, forget=True)
        client.mark_dirty(second)
        client.release(second, forget=True)
        assert is_cached(client, 0)


def test_a_sleeper_wakes_when_a_block_is_released_and_forgotten(device):
    client = BufioClient(device, BLOCK, max_buffers=1, reserved_buffers=0)
    held = client.read(0)
    reader = Background(client.read, 1)
    until_asleep(client)
    client.release(held, forget=True)
    client.release(reader.result())
