"""Prefetch policies: exactly which areas are asked for, and when."""

import io

import pytest

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap import LogDevice, StatsDevice
from dmsnap.store import BadPrefetch, open_store
from dmsnap.store.foreign import LOOKED_AT_BYTES
from dmsnap.store.prefetch import MEMORY_BYTES, AutoPrefetch, prefetch_policy
from dmsnap.testing.store_builder import area_chunk, build_store, in_allocation_order

CHUNK = 512


def store_device(areas, *, size_areas=None):
    out = io.BytesIO()
    size = None if size_areas is None else area_chunk(size_areas, 1)
    build_store(out, in_allocation_order(range(0, 2 * 32 * areas, 2), 1), chunk_size_sectors=1, size_chunks=size)
    return MemoryDevice(out.getvalue(), read_only=True)


def areas_read(log):
    return [(event.offset // CHUNK - 1) // 33 for event in log.events if event.offset]


def test_kernel_asks_for_areas_0_to_12_then_one_more_for_each():
    log = LogDevice(store_device(3, size_areas=100))
    open_store(log, prefetch="kernel")
    assert areas_read(log) == list(range(13 + 3))


def test_depth_0_reads_one_area_after_another_and_none_in_vain():
    log = LogDevice(store_device(5, size_areas=100))
    open_store(log, prefetch=0)
    assert areas_read(log) == list(range(6))


def test_nothing_past_the_end_of_the_device_is_asked_for():
    log = LogDevice(store_device(3))
    open_store(log, prefetch=50)
    assert areas_read(log) == list(range(4))


def test_auto_reads_few_areas_in_vain_from_a_small_store():
    log = LogDevice(store_device(0, size_areas=1000))
    open_store(log)
    assert len(areas_read(log)) == AutoPrefetch.LEAST


def test_auto_doubles_when_it_has_to_wait_and_keeps_calm_when_it_has_not():
    waiting, calm = AutoPrefetch(), AutoPrefetch()
    asked = [0, 0]
    for used in range(1, 3000):
        asked[0] = max(asked[0], waiting.ask(used, 0, True))
        asked[1] = max(asked[1], calm.ask(used, 0, False))
    assert asked == [AutoPrefetch.MOST, AutoPrefetch.CALM]


def test_memory_read_ahead_is_bounded_for_large_chunks():
    device = MemoryDevice(2**50)
    out = io.BytesIO()
    build_store(out, [(1, 2)], chunk_size_sectors=2048, size_chunks=3)
    device.write_at(0, out.getvalue())
    stats = StatsDevice(device)
    assert open_store(stats, prefetch=65536).table.lookup(1) == 2
    assert stats.reads.bytes <= MEMORY_BYTES + LOOKED_AT_BYTES


@pytest.mark.parametrize("name", ["never", "-1", -1, 65537, "1e3"])
def test_other_policies_do_not_exist(name):
    with pytest.raises(BadPrefetch, match="no prefetch policy"):
        prefetch_policy(name)
