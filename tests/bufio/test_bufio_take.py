"""`take`: what is there moves out in one step, and nothing is waited for."""

import pytest

from dmsnap.block import IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice, LogDevice
from dmsnap.block.wrap.fault import fail_range
from dmsnap.bufio import BufioClient, BufioMisuse

SIZE = 512


@pytest.fixture
def device():
    return LogDevice(MemoryDevice(b"".join(bytes([block]) * SIZE for block in range(10))))


def test_blocks_come_in_the_order_asked_for_and_are_forgotten(device):
    with BufioClient(device, SIZE) as client:
        client.prefetch_blocks([1, 2, 3])
        into = bytearray(3 * SIZE)
        assert client.take([3, 1], memoryview(into)) == 2
        assert into == bytes([3]) * SIZE + bytes([1]) * SIZE + bytes(SIZE)
        assert client.get(3) is None
        assert client.counters.hits == 2
        assert client.counters.prefetch_wasted == 0


def test_it_ends_before_a_block_that_is_not_cached_held_or_dirty(device):
    with BufioClient(device, SIZE) as client:
        into = memoryview(bytearray(4 * SIZE))
        assert client.take([0], into) == 0
        client.prefetch_blocks([0, 1, 2])
        held = client.read(1)
        assert client.take([0, 1, 2], into) == 1
        client.mark_dirty(held)
        client.release(held)
        assert client.take([1], into) == 0
        assert client.take([2], into) == 1


def test_a_failed_read_is_left_to_be_reported():
    device = FaultDevice(MemoryDevice(10 * SIZE), fail_range(SIZE, SIZE))
    with BufioClient(device, SIZE) as client:
        client.prefetch_blocks([0, 1])
        assert client.take([0, 1], memoryview(bytearray(2 * SIZE))) == 1
        with pytest.raises(IOFailed):
            client.read(1)


def test_not_after_close(device):
    client = BufioClient(device, SIZE)
    client.close()
    with pytest.raises(BufioMisuse):
        client.take([0], memoryview(bytearray(SIZE)))
