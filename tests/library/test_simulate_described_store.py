"""A store that is only described is a store: made up as it is read, the same by whatever reads."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from dmsnap.block import ReadOnlyDevice
from dmsnap.library.simulation.defaults import DEFAULT_ROOM_AREAS
from dmsnap.library.simulation.described_store import BadDescription, DescribedStore
from dmsnap.store import BadChunkSize, open_store

SEED = 3140


@pytest.mark.parametrize("chunk_size_bytes", [512, 4096, 16384, 4 << 20])
@pytest.mark.parametrize("areas", [1, 2, 17])
@pytest.mark.parametrize("room_areas", [0, 3])
def test_it_loads_as_a_sound_store_of_full_areas(chunk_size_bytes: int, areas: int, room_areas: int) -> None:
    store = open_store(DescribedStore(areas, chunk_size_bytes, room_areas=room_areas))
    per_area = chunk_size_bytes // 16
    assert (store.areas, store.committed) == (areas, per_area - 1)
    assert (len(store.table), store.findings) == (areas * per_area - 1, ())


@pytest.mark.parametrize("prefetch", [0, 1, "kernel", 65536, "auto"])
def test_it_loads_alike_with_every_prefetch(prefetch: str | int) -> None:
    device = DescribedStore(40, 512)
    runs = [open_store(device, prefetch=policy).table.columns[:2] for policy in (prefetch, 0)]
    assert [column.tolist() for column in runs[0]] == [column.tolist() for column in runs[1]]


def test_any_range_reads_as_the_same_bytes() -> None:
    dice = random.Random(SEED)
    device = DescribedStore(3, 512, room_areas=2)
    whole = device.read_at(0, device.size_bytes)
    sectors = device.size_bytes // 512
    for _ in range(500):
        begin, end = sorted(dice.randrange(sectors + 1) * 512 for _ in range(2))
        buffer = bytearray(b"\xa5" * (end - begin))
        device.read_into(begin, buffer)
        assert buffer == whole[begin:end], f"bytes {begin} to {end}"


def test_free_room_is_zeros() -> None:
    device = DescribedStore(2, 512, room_areas=5)
    used = (1 + 2 * 33) * 512
    assert device.size_bytes == (1 + 7 * 33) * 512
    assert not any(device.read_at(used, device.size_bytes - used))


def test_room_unless_told_is_for_256_areas_but_not_for_petabytes() -> None:
    assert DescribedStore(1, 4096).size_bytes == (1 + (1 + DEFAULT_ROOM_AREAS) * 257) * 4096
    large = DescribedStore(1, 1 << 20)
    assert large.size_bytes < 2 * (64 << 30) + (2 << 20)


def test_memory_is_not_in_proportion_to_the_store() -> None:
    tracemalloc.start()
    try:
        device = DescribedStore(64, 16 << 20)
        buffer = bytearray(1 << 20)
        device.read_into(16 << 20, buffer)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("areas", [-1, 0, 262145, 1 << 70])
def test_numbers_of_areas_out_of_bounds_are_refused(areas: int) -> None:
    with pytest.raises(BadDescription, match="areas") as caught:
        DescribedStore(areas, 4096)
    assert "262144" in caught.value.hint


@pytest.mark.parametrize("room_areas", [-1, 1 << 60])
def test_room_that_no_device_has_is_refused(room_areas: int) -> None:
    with pytest.raises(BadDescription, match="room"):
        DescribedStore(1, 4096, room_areas=room_areas)


@pytest.mark.parametrize("chunk_size_bytes", [-4096, 0, 1000, 1536, 1 << 31])
def test_chunk_sizes_that_linux_refuses_are_refused(chunk_size_bytes: int) -> None:
    with pytest.raises(BadChunkSize):
        DescribedStore(1, chunk_size_bytes)


def test_it_cannot_be_written() -> None:
    with pytest.raises(ReadOnlyDevice):
        DescribedStore(1, 4096).write_at(0, bytes(512))
