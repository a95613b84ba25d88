"""Which chunk of the COW device comes next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.store.allocation import ChunkAllocator
from dmsnap.testing.store_builder import data_chunks

PER_AREA = 256


def all_of(device_chunks: int, per_area: int, most: int) -> list[int]:
    """The chunks of a device, ``most`` at a time."""
    allocator, chunks = ChunkAllocator(per_area), []
    while True:
        first, count = allocator.take(most, device_chunks)
        if not count:
            return chunks
        chunks += range(first, first + count)


@pytest.mark.parametrize(
    ("device_chunks", "usable"),
    [
        (2, 0),
        (3, 1),
        (4, 2),
        (25, 23),
        (257, 255),
        (258, 256),
        (259, 256),
        (260, 257),
        (515, 512),
        (516, 512),
        (517, 513),
    ],
)
def test_as_many_chunks_are_usable_as_in_a_kernel(device_chunks, usable):
    assert len(all_of(device_chunks, PER_AREA, 1)) == usable


@given(st.integers(0, 300), st.sampled_from([32, 64]), st.integers(1, 80))
def test_chunks_come_in_order_without_the_metadata_areas_however_many_at_a_time(device_chunks, per_area, most):
    chunks = all_of(device_chunks, per_area, most)
    expected = data_chunks(len(chunks) + 1, per_area // 32).tolist()
    assert chunks == expected[:-1]
    assert expected[-1] >= device_chunks


def test_the_chunk_behind_an_area_of_data_is_passed_over_at_once():
    allocator = ChunkAllocator(PER_AREA)
    assert allocator.take(1000, 10_000) == (2, 256)
    assert allocator.next_free == 259


def test_a_device_that_grew_is_gone_on_with():
    allocator = ChunkAllocator(PER_AREA)
    assert allocator.take(10, 5) == (2, 3)
    assert allocator.take(10, 5)[1] == 0
    assert allocator.take(10, 8) == (5, 3)


def test_what_was_given_last_can_be_given_again():
    allocator = ChunkAllocator(PER_AREA)
    allocator.take(3, 1000)
    allocator.give_back(*allocator.take(4, 1000))
    assert allocator.take(1, 1000) == (5, 1)


def test_the_last_chunks_of_an_area_can_be_given_again():
    allocator = ChunkAllocator(PER_AREA)
    allocator.give_back(*allocator.take(256, 1000))
    assert allocator.next_free == 2


def test_what_was_not_given_last_stays_unused():
    allocator = ChunkAllocator(PER_AREA)
    taken = allocator.take(3, 1000)
    allocator.take(1, 1000)
    allocator.give_back(*taken)
    assert allocator.take(1, 1000) == (6, 1)
