"""The exception table against a model of Linux: every way of asking agrees."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.store import overlaps, ranking
from dmsnap.store import table as table_module
from dmsnap.store.table_builder import TableBuilder
from dmsnap.testing.linux_runs import linux_finds


@pytest.fixture(scope="module", params=[5, 1 << 16], ids=["small-blocks", "usual-blocks"])
def block(request):
    """Work is cut to blocks: the cuts must not show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "_BLOCK", request.param)
        patch.setattr(ranking, "_BLOCK", request.param)
        yield


def build(*batches):
    builder = TableBuilder()
    for batch in batches:
        pairs = np.array(batch, np.uint64).reshape(-1, 2)
        builder.add(pairs[:, 0].copy(), pairs[:, 1].copy())
    return builder.build(), builder


def content(table):
    found = {}
    for runs in table.batches():
        for origin, cow, length in zip(*(column.tolist() for column in runs), strict=True):
            for step in range(length):
                assert origin + step not in found
                found[origin + step] = cow + step if cow else 0
    return found


chunk = st.one_of(st.integers(0, 40), st.integers(0, 2**32 + 3), st.integers(2**51 - 3, 2**51 - 1))
pieces = st.builds(
    lambda origin, cow, length: [(origin + i, cow + i if cow else 0) for i in range(length)],
    chunk,
    st.one_of(st.just(0), st.integers(2, 60), st.integers(2, 2**40)),
    st.integers(1, 5),
)
one_batch = st.lists(pieces, min_size=1, max_size=8).map(lambda parts: list(chain.from_iterable(parts)))
batches = st.lists(one_batch, max_size=5)


@pytest.mark.usefixtures("block")
@given(batches)
def test_every_question_has_the_same_answer(batches):
    records = [pair for batch in batches for pair in batch]
    model = linux_finds(records)
    table, builder = build(*batches)
    assert content(table) == model
    assert len(table) == len(model)
    assert builder.duplicates == len(records) - len(model)
    for origin in model:
        for near in (origin - 1, origin, origin + 1):
            if near >= 0:
                assert table.lookup(near) == model.get(near)


@pytest.mark.usefixtures("block")
@given(batches, chunk, st.integers(0, 50))
def test_a_range_is_answered_with_its_runs_clipped(batches, first, length):
    table, _ = build(*batches)
    inside = {origin: cow for origin, cow in content(table).items() if first <= origin < first + length}
    runs = table.runs_between(first, first + length)
    answer = {
        origin + i: cow + i if cow else 0
        for origin, cow, count in zip(*(column.tolist() for column in runs), strict=True)
        for i in range(count)
    }
    assert answer == inside
    assert (np.diff(runs.origin) > 0).all()


@pytest.mark.parametrize("highest", [2**23, 2**34, 2**62])
def test_many_records_sorted_on_several_processors_and_by_every_key_width(highest, monkeypatch):
    monkeypatch.setattr(ranking, "_BLOCK", 1000)
    rng = np.random.default_rng(20140114)
    origin = rng.integers(0, highest, 20_000, dtype=np.uint64)
    origin[::7] = origin[3]
    cow = np.arange(20_000, dtype=np.uint64) * 3 + 2
    table, builder = build(np.column_stack((origin, cow)).tolist())
    model = {}
    for pair in zip(origin.tolist(), cow.tolist(), strict=True):
        model.setdefault(*pair)
    assert content(table) == model
    assert builder.duplicates == 20_000 - len(model)


def test_consecutive_chunks_are_one_run_over_batches_of_any_size():
    table, _ = build([(100 + i, 2 + i) for i in range(256)])
    assert (table.run_count, len(table)) == (1, 256)
    assert table.nbytes < 64


def test_a_scattered_table_takes_under_9_bytes_an_exception():
    table, _ = build([(i * 5, 2 + i) for i in range(10_000)])
    table.lookup(0)
    assert table.nbytes < 9 * len(table)


def test_a_million_records_for_one_chunk_are_one_exception():
    builder = TableBuilder()
    for start in range(0, 1_000_000, 100_000):
        builder.add(np.full(100_000, 9, np.uint64), np.arange(start + 2, start + 100_002, dtype=np.uint64))
    table = builder.build()
    assert (len(table), table.lookup(9), builder.duplicates) == (1, 2, 999_999)


def test_an_empty_table_answers():
    table, _ = build()
    assert (len(table), table.lookup(0), len(table.runs_between(0, 2**60).origin)) == (0, None, 0)


@pytest.mark.parametrize("last", [2**32 - 1, 2**32])
def test_overlapping_runs_that_cross_2_to_the_32_keep_their_numbers(last):
    run = [(last - 1 + i, 2**32 - 2 + i) for i in range(4)]
    table, builder = build([*run, (last, 7), (last + 1, 8)])
    assert content(table) == dict(run)
    assert builder.duplicates == 2


@pytest.mark.parametrize(("first", "stop"), [(-5, -3), (-5, 0), (3, 3), (4, 1)])
def test_a_range_without_chunks_has_no_runs(first, stop):
    table, _ = build([(0, 2), (3, 4)])
    assert len(table.runs_between(first, stop).origin) == 0


@pytest.mark.parametrize("chunks_apart", [1, 2])
def test_batches_of_a_range_are_its_runs(chunks_apart, monkeypatch):
    monkeypatch.setattr(table_module, "_BATCH_RUNS", 7)
    table, _ = build([(100 + i * chunks_apart, 2 + i * 3) for i in range(50)])
    for first, stop in [(0, 2**63), (0, 100), (100, 101), (103, 140), (149, 500), (200, 2**40), (5, 2)]:
        batched = [run for runs in table.batches(first, stop) for run in zip(*runs, strict=True)]
        assert batched == list(zip(*table.runs_between(first, stop), strict=True))
