"""Sizes of COW volumes; the numbers are those of LVM2's own test suite where it has them."""

from __future__ import annotations

import pytest

from dmsnap.lvm.sizing import BadSizing, cow_sizes, largest_cow_chunks, percent_of_origin_extents

KIB = 2
MIB = 1024 * KIB
EIB = 1 << 51


@pytest.mark.parametrize(
    ("origin", "chunk", "leaks", "largest"),
    [
        (4 * KIB, 4 * KIB, False, 12 * KIB),
        (4 * KIB, 128 * KIB, False, 384 * KIB),
        (20 * KIB, 4 * KIB, False, 28 * KIB),
        (4 * KIB, 4 * KIB, True, 16 * KIB),
        (4 * KIB, 128 * KIB, True, 512 * KIB),
        (20 * KIB, 4 * KIB, True, 32 * KIB),
    ],
)
def test_the_largest_useful_size_is_that_of_lvm2s_tests(origin: int, chunk: int, leaks: bool, largest: int) -> None:
    assert largest_cow_chunks(origin, chunk, kernel_leaks=leaks) * chunk == largest


def test_the_area_that_ends_the_list_is_counted() -> None:
    """LVM once made it 2 GiB, and such a snapshot died when it was nearly full."""
    assert largest_cow_chunks(2143289344 // 512, 8 * KIB) == 262145


def test_an_origin_that_is_no_whole_number_of_chunks_counts_as_one_more() -> None:
    assert largest_cow_chunks(8 * 10, 8) == 12
    assert largest_cow_chunks(8 * 10 + 1, 8) == 13


def test_sizes_are_in_whole_extents() -> None:
    sizes = cow_sizes(64 * MIB, 4 * KIB, 4 * MIB)
    assert sizes.minimum_chunks == 3
    assert sizes.minimum_extents == 1
    assert sizes.largest_chunks == 1 + 16384 + 65
    assert sizes.largest_extents == 17


def test_three_chunks_may_be_several_extents() -> None:
    assert cow_sizes(4 * MIB, 512 * KIB, 1 * MIB).minimum_extents == 2


def test_no_more_extents_than_a_volume_can_have() -> None:
    assert cow_sizes(8 * EIB - 1, 4 * KIB, 1 * KIB).largest_extents == (1 << 32) - 1


def test_a_percentage_of_the_origin_has_room_for_the_metadata_of_all_of_it() -> None:
    sizes = cow_sizes(256 * MIB, 4 * KIB, 1 * MIB)
    assert sizes.largest_extents == 258
    assert percent_of_origin_extents(100, 256, sizes) == 258
    assert percent_of_origin_extents(50, 256, sizes) == 128 + 2
    assert percent_of_origin_extents(1, 256, sizes) == 3 + 2
    assert percent_of_origin_extents(300, 256, sizes) == 258


@pytest.mark.parametrize("chunk", [0, 4, 24, 2048])
def test_a_chunk_size_that_lvm_does_not_take_is_refused(chunk: int) -> None:
    with pytest.raises(BadSizing, match="no chunks of"):
        largest_cow_chunks(1024, chunk)


def test_an_origin_or_an_extent_of_nothing_is_refused() -> None:
    with pytest.raises(BadSizing, match="nothing to take"):
        largest_cow_chunks(0, 8)
    with pytest.raises(BadSizing, match="extents of 0"):
        cow_sizes(8, 8, 0)
