"""Who has the store when several tables name it: what Linux 6.1 does, and that ours does the same.

Each scene is a row of steps with their outcomes; base devices are an origin ``o`` and COW devices ``c`` and ``d``.
"""

from __future__ import annotations

import pytest

from dmsnap.testing.kernelvm import need_kernelvm
from dmsnap.testing.programs.compare import difference
from dmsnap.testing.programs.kernel import run_in_kernel
from dmsnap.testing.programs.language import (
    Create,
    Flush,
    Load,
    Read,
    Remove,
    Resume,
    Status,
    Step,
    Suspend,
    Table,
    WaitMerge,
    Write,
)
from dmsnap.testing.programs.ours import run_in_ours
from dmsnap.testing.programs.program import Base, Pattern, Program

P8, P16, PO8, N8, Q8 = (f"0 64 snapshot o c {words}" for words in ("P 8", "P 16", "PO 8", "N 8", "Q 8"))
MERGE, OTHER, OTHER_MERGE = "0 64 snapshot-merge o c P 8", "0 64 snapshot o d P 8", "0 64 snapshot-merge o d P 8"
IDLE = "0 8 zero"

Scene = tuple[tuple[Step, str], ...]
ok = "ok"

SCENES: dict[str, Scene] = {
    "a second device has to wait": (
        (Create("s", P8), ok),
        (Create("t", P8), "EINVAL"),
        (Suspend("s"), ok),
        (Create("t", P8), ok),
        (Status("s"), "0 64 snapshot Invalid"),
        (Status("t"), "0 64 snapshot 16/64 16"),
        (Table("s"), "0 64 snapshot o c P 0"),
        (Resume("s"), ok),
        (Read("s", 0, 8), "EIO"),
        (Write("s", 0, 8, 20), "EIO"),
        (Flush("s"), ok),
        (Create("u", P8), "EINVAL"),
        (Remove("s"), ok),
        (Write("t", 0, 8, 21), ok),
        (Status("t"), "0 64 snapshot 24/64 16"),
    ),
    "a source that is resumed too early": (
        (Create("s", P8), ok),
        (Create("t", IDLE), ok),
        (Load("t", PO8), ok),
        (Load("s", P8), "EINVAL"),
        (Resume("s"), ok),
        (Suspend("s"), ok),
        (Resume("s"), "EINVAL"),
        (Status("s"), "0 64 snapshot 16/64 16"),
        (Resume("t"), ok),
        (Table("t"), "0 64 snapshot o c PO 8"),
        (Table("s"), "0 64 snapshot o c PO 0"),
        (Resume("s"), ok),
    ),
    "a source that goes away": (
        (Create("s", P8), ok),
        (Create("t", IDLE), ok),
        (Load("t", P8), ok),
        (Remove("s"), ok),
        (Resume("t"), ok),
        (Status("t"), "0 64 snapshot Invalid"),
        (Table("t"), "0 64 snapshot o c P 0"),
        (Read("t", 0, 8), "EIO"),
        (Load("t", P8), ok),
        (Resume("t"), ok),
        (Status("t"), "0 64 snapshot Invalid"),
        (Remove("t"), ok),
        (Create("s", P8), ok),
        (Status("s"), "0 64 snapshot 16/64 16"),
    ),
    "a destination that goes away": (
        (Create("s", P8), ok),
        (Create("t", IDLE), ok),
        (Load("t", P8), ok),
        (Remove("t"), ok),
        (Write("s", 0, 8, 20), ok),
        (Load("s", P8), ok),
        (Resume("s"), ok),
        (Status("s"), "0 64 snapshot 24/64 16"),
    ),
    "one device, table after table": (
        (Create("s", P8), ok),
        (Write("s", 0, 16, 20), ok),
        (Load("s", Q8), "EINVAL"),
        (Load("s", "0 64 snapshot o c P 9"), "EINVAL"),
        (Load("s", P16), ok),
        (Load("s", P8), "EINVAL"),
        (Resume("s"), ok),
        (Table("s"), "0 64 snapshot o c P 8"),
        (Status("s"), "0 64 snapshot 32/64 16"),
        (Load("s", N8), ok),
        (Resume("s"), ok),
        (Table("s"), "0 64 snapshot o c P 8"),
        (Load("s", "0 64 snapshot o c P 8 2 discard_passdown_origin discard_zeroes_cow"), ok),
        (Resume("s"), ok),
        (Table("s"), "0 64 snapshot o c P 8 2 discard_zeroes_cow discard_passdown_origin"),
        (Write("s", 32, 8, 21), ok),
        (Status("s"), "0 64 snapshot 40/64 16"),
    ),
    "a transient store": (
        (Create("s", N8), ok),
        (Write("s", 0, 8, 20), ok),
        (Create("t", IDLE), ok),
        (Load("t", MERGE), "EINVAL"),
        (Load("s", P16), ok),
        (Resume("s"), ok),
        (Table("s"), "0 64 snapshot o c N 8"),
        (Status("s"), "0 64 snapshot 8/64 0"),
        (Write("s", 8, 8, 21), ok),
        (Status("s"), "0 64 snapshot 16/64 0"),
    ),
    "two tables that only wait": (
        (Create("s", IDLE), ok),
        (Load("s", P8), ok),
        (Create("t", P8), "EINVAL"),
        (Create("t", MERGE), "EINVAL"),
        (Resume("s"), ok),
        (Status("s"), "0 64 snapshot 16/64 16"),
    ),
    "a table that is too long": (
        (Create("s", P8), ok),
        (Load("s", "0 1000 snapshot o c P 8"), ok),
        (Resume("s"), "EINVAL"),
        (Status("s"), "0 64 snapshot 16/64 16"),
        (Resume("s"), ok),
        (Write("s", 0, 8, 20), ok),
        (Status("s"), "0 64 snapshot 24/64 16"),
    ),
    "overflow comes along": (
        (Create("s", PO8), ok),
        (Write("s", 0, 64, 20), "EIO"),
        (Status("s"), "0 64 snapshot Overflow"),
        (Load("s", P8), ok),
        (Resume("s"), ok),
        (Status("s"), "0 64 snapshot Overflow"),
        (Table("s"), "0 64 snapshot o c P 8"),
        (Load("s", MERGE), ok),
        (Resume("s"), ok),
    ),
    "an invalid store": (
        (Create("s", P8), ok),
        (Write("s", 0, 64, 20), "EIO"),
        (Status("s"), "0 64 snapshot Invalid"),
        (Load("s", P8), ok),
        (Resume("s"), ok),
        (Status("s"), "0 64 snapshot Invalid"),
        (Table("s"), "0 64 snapshot o c P 8"),
        (Load("s", MERGE), ok),
        (Resume("s"), ok),
        (Status("s"), "0 64 snapshot-merge Invalid"),
        (Write("s", 0, 8, 21), ok),
        (Remove("s"), ok),
        (Create("s", P8), ok),
        (Status("s"), "0 64 snapshot Invalid"),
    ),
    "a snapshot becomes a merge": (
        (Create("s", P8), ok),
        (Create("g", "0 64 snapshot-origin o"), ok),
        (Write("s", 0, 16, 20), ok),
        (Write("g", 8, 16, 21), ok),
        (Suspend("s"), ok),
        (Suspend("g"), ok),
        (Load("g", MERGE), ok),
        (Resume("g"), ok),
        (WaitMerge("g"), "0 64 snapshot-merge 16/64 16"),
        (Table("g"), "0 64 snapshot-merge o c P 8"),
        (Status("s"), "0 64 snapshot Invalid"),
        (Remove("s"), ok),
        (Suspend("g"), ok),
        (Load("g", P8), ok),
        (Resume("g"), ok),
        (Status("g"), "0 64 snapshot 16/64 16"),
        (Write("g", 40, 8, 22), ok),
        (Status("g"), "0 64 snapshot 24/64 16"),
    ),
    "merges of one origin": (
        (Create("s", P8), ok),
        (Create("m", OTHER_MERGE), ok),
        (Create("t", IDLE), ok),
        (Load("t", MERGE), "EINVAL"),
        (Suspend("m"), ok),
        (Load("t", MERGE), "EINVAL"),
        (Load("m", OTHER_MERGE), "EINVAL"),
        (Remove("s"), ok),
        (Load("t", MERGE), ok),
        (Resume("t"), ok),
        (WaitMerge("t"), "0 64 snapshot-merge 16/64 16"),
        (Resume("m"), ok),
    ),
    "other snapshots keep what a merge overwrites": (
        (Create("s", P8), ok),
        (Create("g", "0 64 snapshot-origin o"), ok),
        (Write("s", 0, 24, 20), ok),
        (Create("e", OTHER), ok),
        (Suspend("s"), ok),
        (Suspend("g"), ok),
        (Load("g", MERGE), ok),
        (Resume("g"), ok),
        (WaitMerge("g"), "0 64 snapshot-merge 16/64 16"),
        (Status("e"), "0 64 snapshot 40/64 16"),
        (Write("g", 60, 2, 21), ok),
        (Status("e"), "0 64 snapshot 48/64 16"),
    ),
    "two ways to write an origin": (
        (Create("s", P8), ok),
        (Create("g", "0 64 snapshot-origin o"), ok),
        (Create("h", "0 64 snapshot-origin o"), ok),
        (Write("h", 0, 8, 20), ok),
        (Status("s"), "0 64 snapshot 24/64 16"),
        (Remove("h"), ok),
        (Write("g", 0, 16, 21), ok),
        (Status("s"), "0 64 snapshot 32/64 16"),
        (Suspend("s"), ok),
        (Write("g", 16, 8, 22), ok),
        (Status("s"), "0 64 snapshot 40/64 16"),
    ),
    "a table that was loaded and not resumed keeps nothing": (
        (Create("g", "0 64 snapshot-origin o"), ok),
        (Create("s", IDLE), ok),
        (Load("s", P8), ok),
        (Write("g", 0, 8, 20), ok),
        (Resume("s"), ok),
        (Status("s"), "0 64 snapshot 16/64 16"),
        (Write("g", 8, 8, 21), ok),
        (Status("s"), "0 64 snapshot 24/64 16"),
    ),
    "lines that do not begin at 0": (
        (Create("s", "0 16 linear o 8\n16 16 snapshot o c P 8\n32 8 zero"), ok),
        (Write("s", 20, 8, 20), ok),
        (Status("s"), "0 16 linear\n16 16 snapshot 32/64 16\n32 8 zero"),
        (Create("g", "0 8 error\n8 56 snapshot-origin o"), ok),
        (Write("g", 8, 16, 21), ok),
        (Status("s"), "0 16 linear\n16 16 snapshot 40/64 16\n32 8 zero"),
    ),
}


def program(scene: Scene) -> Program:
    """A scene as a program, which ends as it finds its way: nothing is left."""
    bases = (Base("o", 64, Pattern(1)), Base("c", 64), Base("d", 64))
    return Program(bases, tuple(step for step, _ in scene))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_ours_does_so(name: str, sync: str) -> None:
    assert sync in ("flush", "commit")
    result = run_in_ours(program(SCENES[name]), sync)  # type: ignore[arg-type]
    assert list(zip(result.outcomes, SCENES[name], strict=True)) == [
        (outcome, (step, outcome)) for step, outcome in SCENES[name]
    ]


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_linux_does_so() -> None:
    need_kernelvm()
    programs = {name: program(scene) for name, scene in SCENES.items()}
    results = dict(zip(programs, run_in_kernel(list(programs.values())), strict=True))
    assert {name: dict(enumerate(result.outcomes)) for name, result in results.items()} == {
        name: dict(enumerate(outcome for _, outcome in scene)) for name, scene in SCENES.items()
    }
    for name, one in programs.items():
        assert difference(one.steps, results[name], run_in_ours(one, "flush")) is None, name
