"""Broken rules of use are told, at the place where they are broken."""

import pytest
from bufio_devices import GateDevice

from dmsnap import errors
from dmsnap.block import BadRequest, MemoryDevice
from dmsnap.bufio import BufferLeaked, BufioClient, BufioMisuse

BLOCK = 4096


@pytest.fixture
def device():
    return GateDevice(16 * BLOCK)


@pytest.fixture
def client(device):
    with BufioClient(device, BLOCK, writers=0) as client:
        yield client


def test_misuse_is_an_assertion_and_an_error_of_dmsnap():
    assert issubclass(BufioMisuse, AssertionError)
    assert issubclass(BufioMisuse, errors.DmsnapError)
    assert issubclass(BufferLeaked, BufioMisuse)


def test_release_of_a_buffer_that_is_not_held(client):
    buffer = client.read(0)
    client.release(buffer)
    with pytest.raises(BufioMisuse, match="not held"):
        client.release(buffer)


def test_a_release_too_many_is_found_even_after_the_memory_went_to_another_block(client):
    stale = client.read(0)
    client.release(stale)
    client.forget(0)
    with client.read(1) as buffer:
        assert buffer.data is stale.data
        with pytest.raises(BufioMisuse, match="not held"):
            client.release(stale)
        assert client.counters.held == 1


def test_release_of_another_clients_buffer(client, device):
    with BufioClient(device, BLOCK) as other, other.read(0) as buffer, pytest.raises(BufioMisuse):
        client.release(buffer)


def test_dirtying_another_clients_buffer(client, device):
    with BufioClient(device, BLOCK) as other, other.read(0) as buffer, pytest.raises(BufioMisuse):
        client.mark_dirty(buffer)


def test_dirtying_a_buffer_that_is_not_held(client):
    buffer = client.read(0)
    client.release(buffer)
    with pytest.raises(BufioMisuse, match="dirtying"):
        client.mark_dirty(buffer)


def test_dirtying_a_buffer_that_is_being_read(device):
    reading = []
    client = BufioClient(device, BLOCK, alloc_callback=reading.append)
    device.hold_reads = True
    client.prefetch(0)
    reading[0].holds += 1  # no call hands out a buffer that is being read
    with pytest.raises(BufioMisuse, match="reading"):
        client.mark_dirty(reading[0])
    reading[0].holds -= 1
    device.end_reads()
    client.close()


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 5), (6, 5), (-1, 5), (0, BLOCK + 1), (BLOCK, BLOCK + 1)])
def test_a_dirty_range_that_is_empty_or_outside_the_block(client, start, end):
    with client.read(0) as buffer, pytest.raises(BufioMisuse, match="dirty range"):
        client.mark_partial_dirty(buffer, start, end)


def test_dropping_a_held_buffer_is_stopped(client):
    with client.read(0) as buffer, pytest.raises(AssertionError):
        client._state.drop(buffer, "drop")


def test_forget_buffers_of_a_client_that_must_not_sleep(device):
    with BufioClient(device, BLOCK, no_sleep=True) as client, pytest.raises(BufioMisuse):
        client.forget_buffers(0, 1)


def test_a_new_sector_offset_while_io_runs(client, device):
    device.hold_reads = True
    client.prefetch(0)
    with pytest.raises(BufioMisuse, match="while I/O is running"):
        client.set_sector_offset(8)
    device.end_reads()
    client.set_sector_offset(8)
    assert client.device_size_blocks == 15


BLOCKING_CALLS = {
    "read": lambda client: client.read(1),
    "new": lambda client: client.new(1),
    "prefetch": lambda client: client.prefetch(1),
    "prefetch_blocks": lambda client: client.prefetch_blocks([1]),
    "write_dirty_async": lambda client: client.write_dirty_async(),
    "write_dirty": lambda client: client.write_dirty(),
    "flush": lambda client: client.flush(),
    "discard": lambda client: client.discard(0, 1),
    "reset": lambda client: client.reset(),
}


@pytest.mark.parametrize("call", [*BLOCKING_CALLS, "close"])
@pytest.mark.parametrize("writers", [0, 1])
def test_a_blocking_call_inside_the_write_callback(device, call, writers):
    calls = {**BLOCKING_CALLS, "close": lambda client: client.close()}
    client = BufioClient(device, BLOCK, writers=writers, write_callback=lambda buffer: calls[call](buffer.client))
    with client.new(0) as buffer:
        client.mark_dirty(buffer)
        client.write_dirty_async()
        with pytest.raises(BufioMisuse, match="inside a callback"):
            client.write_dirty()
    client.close()


@pytest.mark.parametrize("call", BLOCKING_CALLS)
def test_a_blocking_call_inside_the_allocation_callback(device, call):
    client = BufioClient(device, BLOCK, alloc_callback=lambda buffer: BLOCKING_CALLS[call](client))
    with pytest.raises(BufioMisuse, match="inside a callback"):
        client.read(0)
    assert client.counters.memory_blocks == 0


def test_calls_that_never_block_are_allowed_inside_callbacks(device):
    def look(buffer):
        same = buffer.client.get(buffer.block)
        buffer.client.release(same)
        buffer.client.forget(7)

    with BufioClient(device, BLOCK, writers=0, write_callback=look) as client:
        with client.new(0) as buffer:
            client.mark_dirty(buffer)
        client.write_dirty()


def test_blocking_calls_are_allowed_again_after_a_callback_that_raised(device):
    def refuse(buffer):
        raise ValueError("once")

    client = BufioClient(device, BLOCK, alloc_callback=refuse)
    with pytest.raises(ValueError, match="once"):
        client.read(0)
    with BufioClient(device, BLOCK) as other:
        other.release(other.read(0))


@pytest.mark.parametrize("call", [*BLOCKING_CALLS, "get"])
def test_use_after_close(device, call):
    client = BufioClient(device, BLOCK)
    client.close()
    with pytest.raises(BufioMisuse, match="after close"):
        ({**BLOCKING_CALLS, "get": lambda client: client.get(0)})[call](client)


@pytest.mark.parametrize(("block", "count"), [(-1, 1), (0, 17), (15, 2), (0, -1)])
def test_a_discard_that_reaches_outside_is_refused_and_touches_nothing(block, count):
    device = MemoryDevice(b"\xee" * 32 * 512)
    with BufioClient(device, 512, start_sectors=16) as client:
        with pytest.raises(BadRequest):
            client.discard(block, count)
        client.discard(15, 1)
    assert device.read_at(0, 31 * 512) == b"\xee" * 31 * 512


def test_a_client_starts_on_its_device():
    device = MemoryDevice(32 * 512)
    with pytest.raises(BadRequest, match="before its device"):
        BufioClient(device, 512, start_sectors=-8)
    with BufioClient(device, 512) as client, pytest.raises(BadRequest):
        client.set_sector_offset(-1)
