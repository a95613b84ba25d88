"""Running programs: outcomes of steps, turns of the kernel and ours, and how a difference reads."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from dmsnap.testing.programs.compare import difference
from dmsnap.testing.programs.language import Create, Read, Remove, Result, Status, Step, WaitMerge, Write
from dmsnap.testing.programs.ours import run_in_ours
from dmsnap.testing.programs.pattern import pattern
from dmsnap.testing.programs.program import Base, Pattern, Program
from dmsnap.testing.programs.running import Devices, errno_name, run_steps
from dmsnap.testing.programs.ways import run_ways

LINEAR = (Create("a", "0 8 linear o 0"), Write("a", 2, 3, 7), Read("a", 0, 8), Remove("a"))
PROGRAM = Program((Base("o", 8, Pattern(1)),), LINEAR * 3)


class Answers(Devices):
    """Devices that answer in turn."""

    def __init__(self, *answers: str) -> None:
        self._answers = iter(answers)

    def status(self, name: str) -> str:
        return next(self._answers)


def outcomes(steps: Sequence[Step], *answers: str) -> list[str]:
    return run_steps(steps, Answers(*answers), lambda error: f"raised {type(error).__name__}")


def test_a_step_that_fails_does_not_end_the_program() -> None:
    assert outcomes([Status("a"), Status("a")]) == ["raised StopIteration", "raised StopIteration"]


def test_blanks_at_the_end_of_a_line_do_not_count() -> None:
    assert outcomes([Status("a")], "0 8 linear \n8 8 error ") == ["0 8 linear\n8 8 error"]


@pytest.mark.parametrize("last", ["16/2048 16", "Invalid", "Merge failed"])
def test_a_merge_is_waited_for(last: str) -> None:
    line = "0 8 snapshot-merge"
    assert outcomes([WaitMerge("m")], f"{line} 24/2048 16", f"{line} 40/2048 24", f"{line} {last}") == [
        f"{line} {last}"
    ]


def test_what_does_not_merge_is_not_waited_for() -> None:
    assert outcomes([WaitMerge("m")], "0 8 snapshot-origin ") == ["0 8 snapshot-origin"]
    assert outcomes([WaitMerge("m")], "0 8 snapshot-merge Overflow") == ["0 8 snapshot-merge Overflow"]


def test_errnos_go_by_the_names_that_device_mapper_uses() -> None:
    assert [errno_name(number) for number in (errno.EIO, errno.EOPNOTSUPP)] == ["EIO", "EOPNOTSUPP"]


def test_ours_runs_a_program() -> None:
    result = run_in_ours(Program((Base("o", 8, Pattern(1)),), (*LINEAR, Read("a", 0, 1))), "flush")
    assert [result.outcomes[0], result.outcomes[1], result.outcomes[3:]] == ["ok", "ok", ("ok", "ENXIO")]
    assert result.content == {"o": pattern(1, 0, 2) + pattern(7, 2, 3) + pattern(1, 5, 3)}


def test_crossed_each_goes_on_with_what_the_other_left() -> None:
    boots: list[list[int]] = []

    def kernel(programs: Sequence[Program]) -> list[Result]:
        boots.append([len(program.steps) for program in programs])
        return [run_in_ours(program, "commit") for program in programs]

    ways = {"kernel": ("kernel",), "there": ("kernel", "flush"), "back": ("flush", "kernel")}
    (results,) = run_ways([PROGRAM], ways, kernel=kernel)  # type: ignore[arg-type]
    assert boots == [[12, 4, 4], [4]]
    assert [difference(PROGRAM.steps, results["kernel"], result) for result in results.values()] == [None] * 3


def test_where_writing_metadata_fails_ours_has_to_write_it_at_once() -> None:
    (results,) = run_ways([PROGRAM._replace(timely=True)], {"flush": ("flush",), "commit": ("commit",)})
    assert list(results) == ["commit"]


def test_a_difference_is_told_by_step_and_by_byte() -> None:
    kernel = run_in_ours(PROGRAM, "flush")
    wrong = kernel._replace(outcomes=("EIO", *kernel.outcomes[1:]))
    assert "step 0 of 12 differs: Create('a'" in str(difference(PROGRAM.steps, kernel, wrong))
    torn = kernel._replace(content={"o": kernel.content["o"][:1024] + bytes(3072)})
    assert str(difference(PROGRAM.steps, kernel, torn)).splitlines()[:4] == [
        "o differs from byte 1024 on, in sectors 2-7",
        "    sector 2, no store:",
        "      kernel: write 7 at sector 2",
        "      other:  zeros",
    ]
