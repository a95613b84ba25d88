"""The transient store: from the first chunk to the last whole one, and nothing written of its own."""

import pytest

from dmsnap.block import MemoryDevice
from dmsnap.block.wrap import LogDevice
from dmsnap.store.exception_store import NewRun
from dmsnap.store.format import BadChunkSize
from dmsnap.store.transient import TransientStore


def make(size_bytes: int = 10 * 4096, chunk_sectors: int = 8) -> TransientStore:
    return TransientStore(MemoryDevice(size_bytes), chunk_sectors)


def test_chunks_come_from_the_first_byte_of_the_device_on():
    store = make()
    [run] = store.allocate(70, 3)
    assert (run.origin, run.length) == (70, 3)
    assert store.chunk_zero_bytes + run.cow * store.chunk_size_bytes == 0
    [run] = store.allocate(5, 1)
    assert store.chunk_zero_bytes + run.cow * store.chunk_size_bytes == 3 * 4096


def test_every_whole_chunk_is_usable_and_a_part_of_one_is_not():
    store = make(10 * 4096 + 512)
    assert [run.length for run in store.allocate(0, 12)] == [10]
    assert store.allocate(20, 1) == []


def test_a_device_that_grew_is_gone_on_with():
    store = make()
    store.allocate(0, 10)
    store.device.grow(11 * 4096)
    assert [run.length for run in store.allocate(20, 2)] == [1]


def test_usage_is_what_was_given_without_metadata():
    store = make(10 * 4096 + 512)
    assert store.usage() == (0, 81, 0)
    store.allocate(0, 3)
    assert store.usage() == (24, 81, 0)


def test_what_was_given_last_can_be_given_again():
    store = make()
    store.allocate(0, 2)
    runs = store.allocate(7, 3)
    store.give_back(runs)
    assert store.allocate(9, 1) == [NewRun(9, runs[0].cow, 1)]


def test_nothing_but_copies_is_ever_read_or_written():
    log = LogDevice(MemoryDevice(40960))
    store = TransientStore(log, 8)
    store.record(store.allocate(0, 2))
    assert not store.commit()
    store.drop()
    store.close()
    assert not store.valid
    assert not log.events


@pytest.mark.parametrize("chunk_sectors", [0, 3, 1 << 22])
def test_a_chunk_size_has_to_be_given_and_be_one(chunk_sectors):
    with pytest.raises(BadChunkSize):
        make(chunk_sectors=chunk_sectors)
