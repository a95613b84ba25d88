"""Read errors: kept in the buffer, shown to whoever reads the block, gone with the last holder."""

import pytest
from bufio_devices import Background, GateDevice, until_waiting

from dmsnap.block import IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice, fail_nth
from dmsnap.bufio import BufioClient

BLOCK = 4096


@pytest.fixture
def device():
    return GateDevice(16 * BLOCK, hold_reads=True)


@pytest.fixture
def client(device):
    with BufioClient(device, BLOCK) as client:
        yield client


def test_a_failed_read_raises_and_leaves_nothing_held_or_cached():
    with BufioClient(FaultDevice(MemoryDevice(BLOCK), fail_nth("read", 1)), BLOCK) as client:
        with pytest.raises(IOFailed):
            client.read(0)
        assert client.counters.held == client.counters.clean == 0
        client.release(client.read(0))


def test_prefetch_says_nothing_of_errors(client, device):
    client.prefetch(3)
    device.end_reads(IOFailed("broken"))
    assert client.counters.read_errors == 1


@pytest.mark.parametrize("ask", ["read", "get", "new"])
def test_the_error_of_a_prefetch_is_raised_without_a_retry_when_the_block_is_asked_for(client, device, ask):
    client.prefetch(3)
    device.end_reads(IOFailed("broken"))
    with pytest.raises(IOFailed, match="broken"):
        getattr(client, ask)(3)
    assert device.operations("read") == []


def test_a_read_after_the_error_was_shown_tries_again(client, device):
    client.prefetch(3)
    device.end_reads(IOFailed("broken"))
    with pytest.raises(IOFailed):
        client.read(3)
    client.release(client.read(3))
    assert device.operations("read") == [(3 * BLOCK, BLOCK)]


def test_a_prefetch_after_a_failed_prefetch_does_not_try_again(client, device):
    client.prefetch(3)
    device.end_reads(IOFailed("broken"))
    client.prefetch(3)
    assert device.pending == []


def test_forget_drops_a_kept_error(client, device):
    client.prefetch(3)
    device.end_reads(IOFailed("broken"))
    client.forget(3)
    client.release(client.read(3))


def test_everyone_who_waits_for_a_read_hears_of_its_error(client, device):
    client.prefetch(3)
    readers = [Background(client.read, 3), Background(client.new, 3)]
    until_waiting(client, 2)
    device.end_reads(IOFailed("broken"))
    for reader in readers:
        with pytest.raises(IOFailed, match="broken"):
            reader.result()
    assert client.counters.held == client.counters.clean == 0


def test_a_waiter_hears_of_the_error_of_another_threads_read():
    class Broken(GateDevice):
        def _read_into(self, offset, view):
            super()._read_into(offset, view)
            raise IOFailed("broken")

    device = Broken(BLOCK)
    device.read_gate.clear()
    with BufioClient(device, BLOCK) as client:
        readers = [Background(client.read, 0)]
        assert device.read_waits.acquire(timeout=20)
        readers.append(Background(client.read, 0))
        until_waiting(client)
        device.read_gate.set()
        for reader in readers:
            with pytest.raises(IOFailed, match="broken"):
                reader.result()
        assert len(device.operations("read")) == 1


def test_one_failed_block_of_a_batch_leaves_the_others_alone(client, device):
    client.prefetch(0, 3)
    device.end_reads(count=1)
    device.end_reads(IOFailed("broken"), count=1)
    device.end_reads()
    client.release(client.read(0))
    client.release(client.read(2))
    with pytest.raises(IOFailed):
        client.read(1)


def test_a_device_that_refuses_to_start_reads_shows_when_the_blocks_are_read(client, device):
    def refuse(requests):
        raise IOFailed("closed")

    device._start_reads = refuse
    client.prefetch(0, 2)
    for block in range(2):
        with pytest.raises(IOFailed, match="closed"):
            client.read(block)


@pytest.mark.parametrize("ask", ["read", "prefetch"])
def test_an_interrupt_is_passed_on_and_leaves_no_block_waiting_for_ever(client, device, ask):
    def interrupt(*_):
        raise KeyboardInterrupt

    device._read_into = device._start_reads = interrupt
    with pytest.raises(KeyboardInterrupt):
        getattr(client, ask)(0)
    assert client.counters.in_flight == 0
    del device._read_into
    if ask == "prefetch":
        with pytest.raises(OSError, match="interrupted"):
            client.read(0)
    client.release(client.read(0))


def test_a_buffer_whose_write_failed_is_read_again_after_the_last_release():
    device = MemoryDevice(b"old!" * (BLOCK // 4))
    with BufioClient(FaultDevice(device, fail_nth("write")), BLOCK, writers=0) as client:
        first, second = client.read(0), client.read(0)
        first.data[:4] = b"new!"
        client.mark_dirty(first)
        with pytest.raises(IOFailed):
            client.write_dirty()
        client.release(first)
        assert second.data[:4] == b"new!"
        client.release(second)
        with client.read(0) as buffer:
            assert buffer.data[:4] == b"old!"


def test_a_dirty_buffer_with_an_old_write_error_is_not_dropped_at_release():
    faulty = FaultDevice(MemoryDevice(BLOCK), fail_nth("write", 1))
    with BufioClient(faulty, BLOCK, writers=0) as client:
        with client.new(0) as buffer:
            client.mark_dirty(buffer)
            client.write_dirty_async()
            buffer.data[:4] = b"new!"
            client.mark_dirty(buffer)
        assert client.counters.dirty == 1
        with pytest.raises(IOFailed):
            client.write_dirty()
        assert faulty.read_at(0, 512)[:4] == b"new!"
