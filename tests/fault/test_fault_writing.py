"""An I/O error at every single request of a program in turn: the outcome is the kernel's, and nothing is ever wrong."""

import pytest
from fault_judge import Judge

from dmsnap.block import IOFailed, OutOfRoom
from dmsnap.testing.fault_run import ORIGIN, FaultRun, SnapshotPlan, Step, failures_of, steps_of

pytestmark = pytest.mark.timeout(120)

SECTORS = 48

ONE = {"snap": SnapshotPlan("P", 4, 30)}
TWO = {"coarse": SnapshotPlan("P", 8, 20), "fine": SnapshotPlan("P", 2, 60)}
KINDS = {"lost": SnapshotPlan("P", 4, 7), "over": SnapshotPlan("PO", 4, 7), "gone": SnapshotPlan("N", 4, 5)}

PROGRAMS = {
    "snapshot writes, whole chunks and parts of them": (
        ONE,
        [
            Step("write", "snap", 4, 4),
            Step("write", "snap", 1, 2),
            Step("write", "snap", 5, 2),
            Step("write", "snap", 3, 10),
            Step("flush", "snap"),
            Step("zero", "snap", 20, 9),
            Step("zero", "snap", 21, 3),
            Step("discard", "snap", 20, 4),
            Step("read", "snap", 0, 48),
            Step("write", "snap", 40, 8),
            Step("flush", "snap"),
            Step("write", "snap", 46, 2),
        ],
    ),
    "writes to an origin with two snapshots": (
        TWO,
        [
            Step("write", ORIGIN, 3, 2),
            Step("write", "fine", 3, 2),
            Step("write", "coarse", 20, 3),
            Step("write", ORIGIN, 0, 24),
            Step("flush", ORIGIN),
            Step("read", "coarse", 0, 48),
            Step("read", "fine", 0, 48),
            Step("zero", ORIGIN, 22, 20),
            Step("write", "coarse", 40, 8),
            Step("write", ORIGIN, 40, 8),
            Step("flush", "coarse"),
            Step("write", ORIGIN, 1, 30),
        ],
    ),
    "stores that run full": (
        KINDS,
        [
            Step("write", "over", 0, 18),
            Step("write", "lost", 2, 6),
            Step("write", "gone", 0, 12),
            Step("write", "over", 18, 6),
            Step("write", "over", 0, 4),
            Step("write", "lost", 10, 20),
            Step("write", ORIGIN, 2, 4),
            Step("write", "gone", 9, 20),
            Step("flush", "lost"),
            Step("write", ORIGIN, 20, 20),
        ],
    ),
    "areas that fill up": (
        {"snap": SnapshotPlan("P", 1, 80)},
        [
            Step("write", "snap", 0, 30),
            Step("flush", "snap"),
            Step("write", "snap", 30, 1),
            Step("write", ORIGIN, 31, 1),
            Step("write", "snap", 32, 1),
            Step("flush", "snap"),
            Step("write", ORIGIN, 33, 3),
            Step("write", "snap", 0, 48),
            Step("flush", "snap"),
        ],
    ),
    "an area that has no successor": (
        {"snap": SnapshotPlan("P", 1, 34)},
        [
            Step("write", "snap", 0, 30),
            Step("flush", "snap"),
            Step("write", "snap", 30, 1),
            Step("write", "snap", 31, 1),
            Step("write", ORIGIN, 0, 48),
            Step("read", "snap", 0, 1),
        ],
    ),
}


def every_failure(plans, steps, sync):
    run = FaultRun(SECTORS, plans, sync=sync)
    begun = len(run.asked)
    assert steps_of(run, steps)
    return list(failures_of(run))[begun:]


@pytest.mark.parametrize("sync", ["commit", "flush"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_without_an_error_everything_is_as_it_should_be(name, sync):
    plans, steps = PROGRAMS[name]
    Judge(FaultRun(SECTORS, plans, sync=sync), plans, sync).follow(steps)


@pytest.mark.parametrize("sync", ["commit", "flush"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_error_has_the_outcome_that_it_has_in_linux(name, sync):
    plans, steps = PROGRAMS[name]
    failures = every_failure(plans, steps, sync)
    assert len(failures) > 10
    for failure in failures:
        print(failure)
        run = FaultRun(SECTORS, plans, sync=sync, failure=failure)
        Judge(run, plans, sync).follow(steps)
        assert run.failed_in is not None


@pytest.mark.parametrize("sync", ["commit", "flush"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_host_without_room_loses_nothing_and_the_same_step_succeeds_later(name, sync):
    plans, steps = PROGRAMS[name]
    for failure in every_failure(plans, steps, sync):
        if failure.op in ("write", "zero"):
            print(failure)
            run = FaultRun(SECTORS, plans, sync=sync, failure=failure, error=OutOfRoom)
            Judge(run, plans, sync).follow(steps, again=True)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_error_in_loading_is_raised_or_does_not_matter(program):
    plans, _ = PROGRAMS[program]
    untouched = FaultRun(SECTORS, plans)
    for failure in list(failures_of(untouched)):
        try:
            run = FaultRun(SECTORS, plans, failure=failure)
        except IOFailed:
            continue
        # An area was read ahead that nobody needed.
        assert failure.op == "read"
        for name, snapshot in run.snapshots.items():
            assert snapshot.status() == untouched.snapshots[name].status()
            assert snapshot.read_at(0, snapshot.size_bytes) == run.disk.read_at(0, snapshot.size_bytes)
