"""Which of several records for a chunk counts, against a model that walks lists as Linux does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmsnap.store import kernel_order
from dmsnap.store.kernel_order import found_by_linux
from dmsnap.testing.linux_runs import linux_finds


def found(records):
    pairs = np.array(records, np.uint64).reshape(-1, 2)
    origin, cow = found_by_linux(pairs[:, 0].copy(), pairs[:, 1].copy())
    assert len(set(origin.tolist())) == len(origin)
    return dict(zip(origin.tolist(), cow.tolist(), strict=True))


@pytest.mark.parametrize(
    ("records", "chunk", "copy"),
    [
        ([(5, 2), (5, 3)], 5, 2),
        ([(6, 9), (5, 2), (6, 3)], 6, 3),
        ([(5, 7), (4, 2), (5, 3), (6, 4)], 5, 3),
        ([(5, 2), (5, 3), (6, 4)], 5, 2),
        ([(1, 15), (1, 8), (0, 7), (1, 8)], 1, 8),
        ([(256, 9), (255, 2), (256, 3)], 256, 9),
    ],
)
def test_the_first_counts_unless_a_later_one_joined_a_run_that_begins_lower(records, chunk, copy):
    """The first four are what Linux 6.1 answered; runs do not reach from one group of 256 chunks into the next."""
    assert found(records)[chunk] == linux_finds(records)[chunk] == copy


record = st.tuples(st.integers(252, 258), st.one_of(st.just(0), st.integers(2, 9)))


@settings(max_examples=500)
@given(st.lists(record, max_size=60))
def test_any_records_are_found_as_linux_finds_them(records):
    assert found(records) == linux_finds(records)


def test_in_a_group_of_garbage_the_first_counts(monkeypatch):
    monkeypatch.setattr(kernel_order, "_MOST_IN_A_GROUP", 2)
    assert found([(6, 9), (5, 2), (6, 3), (300, 4)]) == {6: 9, 5: 2, 300: 4}
