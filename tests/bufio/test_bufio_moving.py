"""`release_move`: a buffer's content becomes that of another block."""

import threading

import pytest
from bufio_devices import until_asleep

from dmsnap.block import BadRequest, IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import FaultDevice
from dmsnap.block.wrap.fault import fail_range
from dmsnap.bufio import BufioClient, BufioMisuse

SIZE = 512


@pytest.fixture
def device():
    return MemoryDevice(b"".join(bytes([block]) * SIZE for block in range(8)))


def block_of(device, block):
    return bytes(device.read_at(block * SIZE, SIZE))


@pytest.fixture(params=[0, 1], ids=["inline", "background"])
def client(device, request):
    with BufioClient(device, SIZE, writers=request.param) as client:
        yield client


def test_a_sole_holder_gives_the_buffer_the_new_number_and_all_of_it_is_dirty(device, client):
    buffer = client.read(2)
    client.release_move(buffer, 5)
    assert client.get(2) is None
    assert block_of(device, 5) == b"\5" * SIZE
    client.write_dirty()
    assert (block_of(device, 2), block_of(device, 5)) == (b"\2" * SIZE, b"\2" * SIZE)
    moved = client.read(5)
    assert moved is buffer
    client.release(moved)


def test_what_was_dirty_is_written_to_its_old_place_first(device, client):
    buffer = client.read(2)
    buffer.data[:] = b"x" * SIZE
    client.mark_dirty(buffer)
    client.release_move(buffer, 5)
    assert (block_of(device, 2), block_of(device, 5)) == (b"x" * SIZE, b"\5" * SIZE)
    client.write_dirty()
    assert block_of(device, 5) == b"x" * SIZE


def test_with_other_holders_a_copy_is_written_and_the_buffer_stays(device, client):
    buffer = client.read(2)
    other = client.read(2)
    client.release_move(buffer, 5)
    assert block_of(device, 5) == b"\2" * SIZE
    assert (other.block, other.holds) == (2, 1)
    client.release(other)


def test_what_was_cached_of_the_new_block_goes_once_nobody_holds_it(device, client):
    occupant = client.read(5)
    occupant.data[:] = b"o" * SIZE
    client.mark_dirty(occupant)
    buffer = client.read(2)
    mover = threading.Thread(target=client.release_move, args=(buffer, 5))
    mover.start()
    until_asleep(client)
    assert block_of(device, 5) == b"o" * SIZE
    client.release(occupant)
    mover.join(10)
    assert not mover.is_alive()
    client.write_dirty()
    assert block_of(device, 5) == b"\2" * SIZE


def test_to_its_own_block_it_is_a_release(device, client):
    buffer = client.read(2)
    client.release_move(buffer, 2)
    assert (buffer.block, buffer.holds) == (2, 0)


def test_a_write_that_fails_is_kept_for_write_dirty(device):
    with BufioClient(FaultDevice(device, fail_range(5 * SIZE, SIZE, "write")), SIZE) as client:
        buffer, other = client.read(2), client.read(2)
        client.release_move(buffer, 5)
        client.release(other)
        with pytest.raises(IOFailed):
            client.write_dirty()


@pytest.mark.parametrize("block", [-1, 8])
def test_a_block_outside_is_refused_and_the_hold_stays(client, block):
    buffer = client.read(2)
    with pytest.raises(BadRequest):
        client.release_move(buffer, block)
    client.release(buffer)


def test_misuse(client):
    buffer = client.read(2)
    client.release(buffer)
    with pytest.raises(BufioMisuse):
        client.release_move(buffer, 3)
