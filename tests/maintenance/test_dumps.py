"""A dump of a store gives it back: the same metadata byte for byte, the same data if asked for."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
from dump_samples import ODD_RECORDS, dumped, metadata, records_of_dump, restored, stored

from dmsnap.errors import DmsnapError
from dmsnap.maintenance.dump_runs import RunFinder
from dmsnap.maintenance.dumping import FORMATS
from dmsnap.maintenance.events import Exceptions
from dmsnap.testing.fixtures import load, names
from dmsnap.testing.store_builder import in_allocation_order

TEXT = ["xml", "json"]


def random_program(seed: int) -> tuple[list[tuple[int, int]], int, int]:
    """Records of runs and single ones, with repeats and numbers of any size; sectors of a chunk; valid."""
    rng = random.Random(seed)
    records: list[tuple[int, int]] = []
    while len(records) < rng.choice([0, 1, 31, 32, 33, 64, 200]):
        origin, cow = rng.randrange(2 ** rng.choice([4, 20, 64])), rng.randrange(1, 2 ** rng.choice([4, 20, 64]))
        length = rng.choice([1, 1, 2, 40])
        records += [((origin + i) % 2**64, (cow + i) % 2**64 or 1) for i in range(length)]
    return records, rng.choice([1, 2, 8]), rng.choice([0, 1, 1, 2**32 - 1])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("exceptions", [0, 1, 31, 32, 33, 64, 200])
@pytest.mark.parametrize("sectors", [1, 8])
@pytest.mark.parametrize("in_order", [True, False], ids=["runs", "scattered"])
def test_restoring_gives_the_same_metadata(form: str, exceptions: int, sectors: int, in_order: bool) -> None:
    chunks = range(exceptions) if in_order else random.Random(exceptions).sample(range(1000), exceptions)
    content = stored(in_allocation_order(chunks, sectors), sectors)
    areas = exceptions // (sectors * 32) + 1
    again = restored(dumped(content, form), len(content))
    assert metadata(again, sectors, areas) == metadata(content, sectors, areas)


@pytest.mark.parametrize("form", FORMATS)
def test_whatever_numbers_there_are_they_are_the_same_again(form: str) -> None:
    for seed in range(150):
        records, sectors, valid = random_program(seed)
        per_area = sectors * 32
        areas = len(records) // per_area + 1
        content = stored(records, sectors, valid=valid, size_chunks=areas * (per_area + 1) + 2)
        again = restored(dumped(content, form), len(content))
        assert metadata(again, sectors, areas) == metadata(content, sectors, areas), f"seed {seed}"


@pytest.mark.parametrize("form", TEXT)
@pytest.mark.parametrize("sectors", [1, 8, 256])
def test_with_data_the_whole_store_comes_back(form: str, sectors: int) -> None:
    content = stored(in_allocation_order(random.Random(5).sample(range(100), 70), sectors), sectors)
    assert restored(dumped(content, form, data=True), len(content)) == content


@pytest.mark.parametrize("form", TEXT)
def test_data_of_records_that_point_anywhere_leaves_the_metadata_alone(form: str) -> None:
    content = stored(ODD_RECORDS, size_chunks=40)
    again = restored(dumped(content, form, data=True), len(content))
    assert metadata(again, 1, 1) == metadata(content, 1, 1)
    assert again[2 * 512 : 4 * 512] == content[2 * 512 : 4 * 512]


def test_a_last_chunk_that_is_cut_off_keeps_what_there_is_of_it() -> None:
    content = stored([(9, 3), (1, 4)], 2)[: 4 * 1024 + 512]
    assert restored(dumped(content, "xml", data=True), len(content)) == content


def test_packed_metadata_has_no_user_data() -> None:
    content = stored([(7, 2)], 8)
    assert dumped(content, "packed", data=True) == dumped(content, "packed")
    assert len(dumped(content, "packed")) < 100


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", names())
def test_stores_of_the_kernel_come_back_as_they_were(form: str, name: str, tmp_path: Path) -> None:
    content = load(name, tmp_path).cow.read_bytes()
    try:
        dump = dumped(content, form, data=True)
    except DmsnapError:  # what cannot be read to its end has no whole dump
        return
    sectors = int.from_bytes(content[12:16], "little")
    areas = len(records_of_dump(dump)) // (sectors * 32) + 1
    again = restored(dump, len(content))
    chunk, per_area = sectors * 512, sectors * 32
    for area in range(areas):
        begin = (1 + area * (per_area + 1)) * chunk
        used = 16 * min(per_area, len(records_of_dump(dump)) - area * per_area)
        assert again[begin : begin + used] == content[begin : begin + used]
    assert again[:16] == content[:16]


def test_the_xml_is_in_the_manner_of_thin_dump() -> None:
    content = stored([(5, 2), (6, 3), (7, 4), (1, 5)], 8, size_chunks=6)
    assert dumped(content, "xml").decode() == (
        '<snapshot version="1" valid="1" chunk_size="8" cow_sectors="48"'
        ' units="chunk_size, cow_sectors: sectors of 512 bytes; all else: chunks">\n'
        '  <range_exception origin_begin="5" cow_begin="2" length="3"/>\n'
        '  <single_exception origin_chunk="1" cow_chunk="5"/>\n'
        '  <end nr_exceptions="4" next_free="6"/>\n'
        "</snapshot>\n"
    )


def test_the_lines_of_json_say_the_same() -> None:
    content = stored([(5, 2), (6, 3), (7, 4), (1, 5)], 8, size_chunks=6)
    assert dumped(content, "json").decode() == (
        '{"snapshot": {"version": 1, "valid": 1, "chunk_size": 8, "cow_sectors": 48}}\n'
        '{"origin_begin": 5, "cow_begin": 2, "length": 3}\n'
        '{"origin_chunk": 1, "cow_chunk": 5}\n'
        '{"end": {"nr_exceptions": 4, "next_free": 6}}\n'
    )


def test_runs_end_with_their_area_and_nowhere_else() -> None:
    records = [(i, 100 + i) for i in range(100)]
    lengths = re.findall(rb'length="(\d+)"', dumped(stored(records, size_chunks=300), "xml"))
    assert list(map(int, lengths)) == [32, 32, 32, 4]


def test_runs_do_not_end_with_what_is_read_at_once() -> None:
    records = np.arange(2, 2 + 200, dtype=np.uint64).repeat(2).reshape(-1, 2)
    finder, runs = RunFinder(64), []
    for first in range(0, 200, 7):
        runs += finder.add(Exceptions(first, records[first : first + 7])).tolist()
    runs += finder.rest().tolist()
    assert runs == [[2, 2, 64], [66, 66, 64], [130, 130, 64], [194, 194, 8]]


def test_numbers_that_go_round_make_no_run() -> None:
    content = stored([(2**64 - 1, 5), (0, 6)], size_chunks=40)
    assert records_of_dump(dumped(content, "xml")) == [(2**64 - 1, 5), (0, 6)]
    assert b"range" not in dumped(content, "xml")


@pytest.mark.parametrize("form", FORMATS)
def test_cut_short_anywhere_it_is_noticed(form: str) -> None:
    content = stored(in_allocation_order(random.Random(1).sample(range(99), 40), 1))
    dump = dumped(content, form)
    whole = len(dump) - (1 if form != "packed" else 0)  # the last line break says nothing
    for length in range(whole):
        with pytest.raises(DmsnapError):
            restored(dump[:length], len(content))
