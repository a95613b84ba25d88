"""Reads with an I/O priority: Linux dm_bufio_read_with_ioprio and dm_bufio_prefetch_with_ioprio."""

import sys

import pytest

from dmsnap.block import BadRequest, FileDevice, IOClass, IOPriority, MemoryDevice, io_priority, uring
from dmsnap.block import file as file_module
from dmsnap.block.priority import asked_io_priority, thread_io_priority
from dmsnap.bufio import BufioClient

BLOCK = 4096
IDLE = IOPriority(IOClass.IDLE, 0)
LOW = IOPriority(IOClass.BEST_EFFORT, 7)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities are Linux's")


class AskingDevice(MemoryDevice):
    """Memory that notes the priority its reads were made with, as the operating system sees it."""

    def __init__(self):
        super().__init__(64 * BLOCK)
        self.seen = []

    def _read_into(self, offset, view):
        self.seen.append((offset // BLOCK, thread_io_priority()))
        super()._read_into(offset, view)


@pytest.fixture
def cold_file(tmp_path, monkeypatch):
    """A file that is never in the page cache; yields it and what priority each of its reads had."""
    path = tmp_path / "file"
    path.write_bytes(bytes(64 * BLOCK))
    seen = {}
    preadv = file_module.preadv

    def noting(fd, buffers, offset, flags=0, /):
        if flags:
            raise BlockingIOError
        seen[offset // BLOCK] = thread_io_priority()
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(file_module, "preadv", noting)
    monkeypatch.setattr(uring, "open_ring", lambda _: None)
    with FileDevice(path) as device:
        device._nowait = device._nowait or 8
        yield device, seen


def test_a_read_has_the_priority_asked_for_and_the_thread_its_own_again():
    device, before = AskingDevice(), thread_io_priority()
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(3, LOW))
        assert device.seen == [(3, LOW)]
        assert thread_io_priority() == before
        client.release(client.read(4))
        assert device.seen[1:] == [(4, before)]


def test_a_cached_block_is_not_read_again_for_its_priority():
    device = AskingDevice()
    with BufioClient(device, BLOCK) as client:
        client.release(client.read(3))
        client.release(client.read(3, LOW))
        assert len(device.seen) == 1


def test_prefetched_reads_have_it_in_the_threads_that_make_them(cold_file):
    device, seen = cold_file
    with BufioClient(device, BLOCK) as client:
        client.prefetch(0, 40, IDLE)
        for block in range(40):
            client.release(client.read(block))
        assert {seen[block].kind for block in range(40)} == {IOClass.IDLE}
        client.prefetch(40, 20)
        for block in range(40, 60):
            client.release(client.read(block))
        assert IOClass.IDLE not in {seen[block].kind for block in range(40, 60)}


def test_priorities_nest():
    with io_priority(LOW):
        with io_priority(IDLE):
            assert asked_io_priority() == IDLE
            assert thread_io_priority().kind is IOClass.IDLE
        assert asked_io_priority() == thread_io_priority() == LOW
    assert asked_io_priority() is None


def test_a_level_that_there_is_not_is_refused():
    with pytest.raises(BadRequest, match="level 8"), io_priority(IOPriority(IOClass.BEST_EFFORT, 8)):
        pass


def test_an_error_of_a_read_puts_the_priority_back():
    before = thread_io_priority()
    with BufioClient(AskingDevice(), BLOCK) as client, pytest.raises(BadRequest):
        client.read(64, IDLE)
    assert thread_io_priority() == before


def test_where_it_cannot_be_set_reads_go_on(monkeypatch):
    monkeypatch.setattr("dmsnap.block.priority._system_calls", lambda: None)
    with BufioClient(MemoryDevice(64 * BLOCK), BLOCK) as client:
        client.release(client.read(3, IDLE))
    assert thread_io_priority() is None
