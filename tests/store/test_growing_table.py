"""A table that changes against a dict: every question has the same answer, whenever changes are folded."""

import sys
import threading
from itertools import count, pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.store import growing_table
from dmsnap.store import table as table_module
from dmsnap.store.growing_table import GrowingTable
from dmsnap.store.table import ExceptionTable
from dmsnap.store.table_builder import TableBuilder


@pytest.fixture(scope="module", params=[0, 3, 8192], ids=["fold-always", "fold-often", "fold-seldom"], autouse=True)
def fewest_to_fold(request):
    """When changes are folded must not show; nor where work is cut to batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growing_table, "_FEWEST_TO_FOLD", request.param)
        if request.param < 8192:
            patch.setattr(growing_table, "_LONG", 3)
            patch.setattr(growing_table, "_FEW", 4)
            patch.setattr(growing_table, "_BATCH_RUNS", 5)
            patch.setattr(table_module, "_BATCH_RUNS", 4)
        yield


def built(exceptions):
    builder = TableBuilder()
    for origin, cow in exceptions.items():
        builder.add(np.array([origin], np.uint64), np.array([cow], np.uint64))
    return builder.build()


def as_dict(batches):
    found = {}
    for runs in batches:
        assert len(runs.origin)
        for origin, cow, length in zip(*(column.tolist() for column in runs), strict=True):
            for step in range(length):
                assert origin + step > max(found, default=-1)
                found[origin + step] = cow + step if cow else 0
    return found


def between(table, first, stop):
    runs = table.runs_between(first, stop)
    return as_dict([runs] if len(runs.origin) else [])


chunk = st.one_of(st.integers(0, 24), st.integers(2**32 - 6, 2**32 + 6), st.integers(2**55 - 9, 2**55 - 1))
cow_chunk = st.one_of(st.integers(2, 40), st.integers(2**32 - 4, 2**32 + 4), st.integers(2, 2**50))
base_content = st.dictionaries(chunk, st.one_of(st.just(0), cow_chunk), max_size=12)
change = st.tuples(st.sampled_from(["add", "add", "remove", "remove_many"]), chunk, cow_chunk, st.integers(1, 6))
range_of_chunks = st.tuples(chunk, st.one_of(st.integers(0, 12), st.just(2**56)))


def change_both(table, model, kind, origin, cow, length):
    """One change where it is possible: chunks are added that have no exception, and removed that have one."""
    chunks = range(origin, origin + length)
    if kind == "add":
        if not any(at in model for at in chunks):
            table.add(origin, cow, length)
            model.update(zip(chunks, range(cow, cow + length), strict=True))
    elif kind == "remove":
        if all(at in model for at in chunks):
            table.remove(origin, length)
            for at in chunks:
                del model[at]
    else:
        present = [at for at in reversed(chunks) if at in model]
        table.remove_many(np.array(present, np.uint64))
        for at in present:
            del model[at]


@given(base_content, st.lists(change, max_size=25), st.lists(range_of_chunks, min_size=1, max_size=4))
def test_every_question_has_the_same_answer_after_any_changes(base, changes, ranges):
    table, model = GrowingTable(built(base)), dict(base)
    for step in changes:
        change_both(table, model, *step)
        assert len(table) == len(model)
    assert as_dict(table.batches()) == model
    for first, length in ranges:
        inside = {origin: cow for origin, cow in model.items() if first <= origin < first + length}
        assert between(table, first, first + length) == inside
        assert as_dict(table.batches(first, first + length)) == inside
        for near in (first - 1, first, first + 1):
            if near >= 0:
                assert table.lookup(near) == model.get(near)


@given(base_content, st.lists(change, max_size=10), chunk, st.integers(0, 20))
def test_missing_are_the_ranges_without_an_exception(base, changes, first, length):
    table, model = GrowingTable(built(base)), dict(base)
    for step in changes:
        change_both(table, model, *step)
    gaps = table.missing(first, first + length)
    assert [at for begin, end in gaps for at in range(begin, end)] == [
        at for at in range(first, first + length) if at not in model
    ]
    assert all(begin < end for begin, end in gaps)
    assert all(one[1] < other[0] for one, other in pairwise(gaps))


@given(base_content, st.lists(change, max_size=10))
def test_the_table_below_stays_as_it_was(base, changes):
    below = built(base)
    table, model = GrowingTable(below), dict(base)
    for step in changes:
        change_both(table, model, *step)
    assert as_dict(below.batches()) == base
    assert len(below) == len(base)


@pytest.mark.parametrize("seed", [1, 2])
def test_thousands_of_changes(seed):
    random = Random(seed)
    table, model = GrowingTable(built({})), {}
    cow = 2
    for _ in range(1500):
        if model and random.random() < 0.3:
            change_both(table, model, "remove", random.choice(list(model)), 0, 1)
        else:
            length = random.randrange(1, 5)
            change_both(table, model, "add", random.randrange(3000), cow, length)
            cow += length
    assert as_dict(table.batches()) == model
    assert (len(table), table.missing(0, 3000)[0][0]) == (len(model), min(set(range(3000)) - set(model)))


def test_a_chunk_that_was_removed_can_be_added_elsewhere():
    table = GrowingTable(built({5: 2, 6: 3, 7: 4}))
    table.remove(6)
    table.add(6, 9)
    assert as_dict(table.batches()) == {5: 2, 6: 9, 7: 4}


def test_chunks_added_one_by_one_in_a_row_become_one_run(monkeypatch):
    monkeypatch.setattr(growing_table, "_FEWEST_TO_FOLD", 10)
    table = GrowingTable(built({}))
    for step in range(10_000):
        table.add(100 + step, 2 + step)
    assert table.run_count <= 1 + 11
    assert between(table, 100, 200) == {100 + step: 2 + step for step in range(100)}
    assert len(table.runs_between(0, 2**40).origin) == 1


def test_a_long_run_takes_no_memory_chunk_by_chunk():
    table = GrowingTable(built({2**40: 7}))
    table.add(10, 100, 2**31)
    table.add(2**31 + 10, 2**31 + 100, 2**31)
    assert (len(table), table.run_count) == (2**32 + 1, 2)
    assert table.nbytes < 1000
    table.remove(2**20, 2**30)
    assert (table.lookup(2**20 - 1), table.lookup(2**20), table.lookup(2**30 + 2**20)) == (
        2**20 + 89,
        None,
        2**30 + 2**20 + 90,
    )
    assert table.missing(0, 2**33) == [(0, 10), (2**20, 2**20 + 2**30), (2**32 + 10, 2**33)]


def test_memory_stays_in_proportion_to_the_exceptions():
    exceptions = 200_000
    table = GrowingTable(built({}))
    highest = 0
    for step in range(exceptions):
        table.add(step * 7919 % exceptions * 3, 2 + step)
        if step % 1000 == 0 and step > 100_000:
            highest = max(highest, table.nbytes / step)
    assert highest < 40


def test_many_scattered_chunks_go_at_once():
    chunks = 100_000
    origin = np.arange(chunks, dtype=np.uint64) * 5
    table = GrowingTable(ExceptionTable(origin, origin + np.uint64(2), None))
    table.remove_many(np.random.default_rng(3).permutation(origin)[: chunks // 2])
    assert len(table) == chunks // 2 == sum(len(runs.origin) for runs in table.batches())
    table.remove_many(table.runs_between(0, 2**40).origin.astype(np.uint64))
    assert (len(table), list(table.batches())) == (0, [])


# -- threads ----------------------------------------------------------------------------------------------------------


def at_each_step(run, interrupt):
    """Runs something, and ``interrupt(number)`` before each instruction of the table's code, as a thread could."""
    numbers = count()

    def trace(frame, event, _):
        if frame.f_code.co_filename != growing_table.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            interrupt(next(numbers))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return next(numbers)


def half_in_the_dict():
    """Chunks 0 up to 20, every other one of them in the table below."""
    table = GrowingTable(built({at: 100 + at for at in range(0, 20, 2)}))
    for at in range(1, 20, 2):
        table.add(at, 100 + at)
    return table


always = {at: 100 + at for at in range(20)}
changes_of_others = [
    lambda table: table.add(30, 130),
    lambda table: table.remove(30),
    lambda table: table.add(30, 130, 4),
    lambda table: table.remove_many(np.arange(30, 34, dtype=np.uint64)),
    lambda table: table.add(30, 130, 40),
    lambda table: table.remove(30, 40),
    lambda table: table._fold(),
]
questions = [
    lambda table: {at: table.lookup(at) for at in range(20)},
    lambda table: between(table, 0, 20),
    lambda table: between(table, 0, 2**40),
    lambda table: as_dict(table.batches()),
]


def test_who_asks_at_any_step_of_a_change_gets_what_does_not_change():
    table = half_in_the_dict()

    def ask(_):
        for question in questions:
            found = question(table)
            assert {at: found[at] for at in range(20)} == always
            assert all(cow == 100 + at and at < 70 for at, cow in found.items())
        assert table.missing(0, 20) == []

    assert sum(at_each_step(lambda change=change: change(table), ask) for change in changes_of_others) > 100


@pytest.mark.parametrize("question", questions, ids=["lookup", "short-range", "long-range", "batches"])
def test_who_is_overtaken_by_changes_at_any_step_of_a_question_gets_what_does_not_change(question):
    steps = at_each_step(lambda: question(half_in_the_dict()), lambda _: None)
    assert steps > 30
    for overtaken in range(0, steps, 1 if steps < 300 else 7):
        table = half_in_the_dict()

        def change(number, table=table, overtaken=overtaken):
            if number == overtaken:
                for each in changes_of_others:
                    each(table)

        found = {}
        at_each_step(lambda table=table, found=found: found.update(question(table)), change)
        assert {at: found[at] for at in range(20)} == always
        assert all(cow == 100 + at and at < 70 for at, cow in found.items())


def test_what_is_asked_while_another_thread_changes_the_table_is_never_torn():
    """Chunk 0 up to 99 always have an exception, 1000 and on never; what lies between comes and goes."""
    table = GrowingTable(built({at: 10_000 + at for at in range(0, 100, 2)}))
    for at in range(1, 100, 2):
        table.add(at, 10_000 + at)
    stop, wrong = threading.Event(), []

    def ask():
        while not stop.is_set():
            for at in (0, 1, 50, 99, 1000):
                expected = 10_000 + at if at < 100 else None
                if table.lookup(at) != expected:
                    wrong.append(("lookup", at))
            for found in (between(table, 0, 2000), between(table, 90, 110), as_dict(table.batches(0, 2000))):
                if not all(found.get(at) == 10_000 + at for at in range(90, 100)):
                    wrong.append(("lost", found))
                if not all(cow == 10_000 + at for at, cow in found.items()) or max(found) >= 1000:
                    wrong.append(("invented", found))
            if table.missing(0, 100):
                wrong.append(("missing", table.missing(0, 100)))

    def change():
        for _ in range(25):
            for at in range(100, 130):
                table.add(at, 10_000 + at)
            table.add(200, 10_200, 5)
            table.remove(200, 5)
            table.remove_many(np.arange(100, 120, dtype=np.uint64))
            for at in range(120, 130):
                table.remove(at)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        change()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong, wrong[:3]
    assert len(table) == 100
