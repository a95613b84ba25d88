"""The format: header bytes, geometry, chunk size rules. Numbers are the kernel's, see the docstrings."""

import pytest

from dmsnap.store.format import (
    MAGIC,
    BadChunkSize,
    Header,
    area_chunk,
    areas_on,
    check_chunk_size,
    data_capacity,
    exceptions_per_area,
    is_metadata_chunk,
    pack_header,
    unpack_header,
)


def test_a_fresh_header_of_4_kib_chunks_has_these_bytes():
    assert pack_header(Header(MAGIC, 1, 1, 8)).hex(" ") == "53 6e 41 70 01 00 00 00 01 00 00 00 08 00 00 00"


def test_a_header_survives_packing():
    header = Header(MAGIC, 7, 2, 2**32 - 1)
    assert unpack_header(pack_header(header) + b"rubbish behind it") == header


@pytest.mark.parametrize(("sectors", "records"), [(1, 32), (8, 256), (16, 512), (32, 1024), (128, 4096), (1024, 32768)])
def test_records_in_an_area(sectors, records):
    assert exceptions_per_area(sectors) == records


def test_areas_lie_a_stride_apart_and_only_they_and_the_header_are_metadata():
    areas = [area_chunk(area, 32) for area in range(4)]
    assert areas == [1, 34, 67, 100]
    assert [chunk for chunk in range(101) if is_metadata_chunk(chunk, 32)] == [0, *areas]


@pytest.mark.parametrize(
    ("chunks", "room"), [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (25, 23), (258, 256), (259, 256), (260, 257)]
)
def test_room_for_data(chunks, room):
    assert data_capacity(chunks, 256) == room


@pytest.mark.parametrize("sectors", [1, 2, 8, 1024, 2**21])
def test_powers_of_two_up_to_1_gib_are_chunk_sizes(sectors):
    check_chunk_size(sectors, 512, 512)


@pytest.mark.parametrize(
    ("sectors", "words"),
    [
        (0, "not a power of 2"),
        (3, "not a power of 2"),
        (1, "not a multiple of device blocksize"),
        (2**22, "too high"),
        (2**31, "too high"),
    ],
)
def test_other_chunk_sizes_are_refused_in_the_kernels_words(sectors, words):
    with pytest.raises(BadChunkSize, match=words):
        check_chunk_size(sectors, 512, 4096)


@pytest.mark.parametrize(("chunks", "areas"), [(0, 0), (1, 0), (2, 1), (34, 1), (35, 2), (67, 2), (68, 3)])
def test_areas_that_fit(chunks, areas):
    assert areas_on(chunks, 32) == areas
