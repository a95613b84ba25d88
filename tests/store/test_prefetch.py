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


def asked_by_auto(seconds_of_a_window, *, count=3000):
    """The most that was ever under way, and at the end, where a device takes so long for a window that was waited for.

    Args:
        seconds_of_a_window: By its size; None where nothing is ever waited for.
        count: Areas in the store.
    """
    policy, used, ahead, now, windows = AutoPrefetch(), 0, 0, 0.0, []
    while used < count:
        ahead += policy.ask(used, ahead, bool(seconds_of_a_window) and used > 0, now)
        windows.append(ahead)
        done = policy.use(ahead)
        now += seconds_of_a_window(ahead) * done / ahead if seconds_of_a_window else 0
        used, ahead = used + done, ahead - done
    return max(windows), windows[-1]


def test_auto_goes_on_growing_while_reads_run_side_by_side():
    assert asked_by_auto(lambda window: 0.05)[0] == AutoPrefetch.MOST


def test_auto_asks_for_a_few_times_what_a_device_has_under_way():
    for under_way in (20, 50, 90):
        _, last = asked_by_auto(lambda window, under_way=under_way: 0.001 * max(1, window / under_way))
        assert under_way <= last <= 3.2 * under_way + AutoPrefetch.STEADY


def test_auto_stays_small_where_reads_come_one_after_another():
    assert asked_by_auto(lambda window: 0.003 * window, count=400)[0] <= 4 * AutoPrefetch.LEAST
    assert asked_by_auto(lambda window: 0.003 * window)[1] <= AutoPrefetch.STEADY


def test_auto_finds_out_that_a_cache_has_ended():
    """A first part that comes at once, with a wait now and then, says nothing of the rest."""
    policy, used, ahead, now, windows = AutoPrefetch(), 0, 0, 0.0, []
    while used < 4000:
        ahead += policy.ask(used, ahead, used > 0, now)
        windows.append(ahead)
        done = policy.use(ahead)
        now += (0.0003 if used < 300 else 0.02) * done / ahead
        used, ahead = used + done, ahead - done
    assert windows[-1] == AutoPrefetch.MOST


def test_a_clock_that_stands_still_changes_nothing():
    assert asked_by_auto(lambda window: 0.0) == (AutoPrefetch.LEAST, AutoPrefetch.LEAST)


def test_auto_keeps_calm_when_it_never_has_to_wait():
    assert asked_by_auto(None)[0] == AutoPrefetch.CALM


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
