"""Write errors: kept for `write_dirty`, the first one wins, and nothing is tried again."""

import threading

import pytest
from bufio_devices import GateDevice

from dmsnap.block import IOFailed
from dmsnap.block.wrap import FaultDevice, fail_nth
from dmsnap.bufio import BufioClient

BLOCK = 16384


@pytest.fixture
def device():
    return GateDevice(64 * BLOCK)


def dirty(client, *blocks):
    for block in blocks:
        with client.new(block) as buffer:
            buffer.data[:] = b"\1" * BLOCK
            client.mark_dirty(buffer)


def faulty_client(device, *faults, **options):
    return BufioClient(FaultDevice(device, *faults), BLOCK, **{"writers": 0, **options})


def test_write_dirty_raises_the_error_of_an_asynchronous_write_once(device):
    with faulty_client(device, fail_nth("write", 1)) as client:
        dirty(client, 0)
        client.write_dirty_async()
        with pytest.raises(IOFailed, match="write 1"):
            client.write_dirty()
        client.write_dirty()


def test_the_first_of_several_write_errors_is_the_one_raised(device):
    with faulty_client(device, fail_nth("write")) as client:
        dirty(client, 0, 1)
        with pytest.raises(IOFailed, match="write 1"):
            client.write_dirty()
        assert client.counters.write_errors == 2


def test_a_failed_write_is_not_tried_again(device):
    with faulty_client(device, fail_nth("write", 1)) as client:
        dirty(client, 0)
        with pytest.raises(IOFailed):
            client.write_dirty()
        client.write_dirty()
        assert client.counters.writes == 1


def test_a_buffer_whose_write_failed_can_be_dirtied_again(device):
    with faulty_client(device, fail_nth("write", 1)) as client, client.new(0) as buffer:
        client.mark_dirty(buffer)
        with pytest.raises(IOFailed):
            client.write_dirty()
        buffer.data[:] = b"\2" * BLOCK
        client.mark_dirty(buffer)
        client.write_dirty()
    assert device.content[:BLOCK] == b"\2" * BLOCK


def test_the_error_of_an_eviction_is_kept_for_write_dirty(device):
    with faulty_client(device, fail_nth("write", 1), max_buffers=1, reserved_buffers=0) as client:
        dirty(client, 0)
        client.release(client.read(1))
        with pytest.raises(IOFailed, match="write 1"):
            client.write_dirty()


def test_a_write_error_does_not_stop_the_flush_and_comes_before_its_error(device):
    with faulty_client(device, fail_nth("write", 1), fail_nth("flush", 1)) as client:
        dirty(client, 0)
        with pytest.raises(IOFailed, match="write 1"):
            client.write_dirty()
        client.write_dirty()
    assert device.operations("flush")


def test_the_error_of_the_flush_is_raised_where_every_write_succeeded(device):
    with faulty_client(device, fail_nth("flush")) as client:
        dirty(client, 0)
        with pytest.raises(IOFailed, match="flush 1"):
            client.write_dirty()
        with pytest.raises(IOFailed, match="flush 2"):
            client.flush()


def test_an_error_in_the_write_callback_is_the_error_of_the_write(device):
    def refuse(buffer):
        raise ValueError("no checksum")

    with BufioClient(device, BLOCK, writers=1, write_callback=refuse) as client:
        dirty(client, 0)
        with pytest.raises(ValueError, match="no checksum"):
            client.write_dirty()
    assert device.operations("write") == []


def test_without_a_free_thread_the_caller_writes_itself(device, monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with BufioClient(device, BLOCK, writers=1) as client:
        dirty(client, 0)
        client.write_dirty_async()
        assert device.operations("write") == [(0, BLOCK)]


def test_a_failed_discard_is_raised(device):
    with faulty_client(device, fail_nth("discard")) as client, pytest.raises(IOFailed):
        client.discard(0, 1)


def test_an_interrupted_write_is_no_error_and_is_made_later(device):
    def interrupt(request):
        raise KeyboardInterrupt

    with faulty_client(device, interrupt) as client:
        dirty(client, 0, 1)
        with pytest.raises(KeyboardInterrupt):
            client.write_dirty()
        client.device.faults.clear()
        client.write_dirty()
        assert client.counters.write_errors == 0
    assert device.read_at(0, 3 * BLOCK) == b"\1" * 2 * BLOCK + bytes(BLOCK)
