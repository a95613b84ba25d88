"""Ways to run a program: by the kernel alone, by ours alone, and crossed: where one stops, the other goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Literal, TypeAlias

from dmsnap.testing.programs.kernel import run_in_kernel
from dmsnap.testing.programs.language import Result, Step
from dmsnap.testing.programs.ours import run_in_ours
from dmsnap.testing.programs.program import Program, parts, with_content

__all__ = ["CROSSED", "PLAIN", "Runner", "run_ways"]

Runner: TypeAlias = Literal["kernel", "flush", "commit"]
"""The kernel, or ours in a sync mode."""

PLAIN: Mapping[str, Sequence[Runner]] = {"kernel": ("kernel",), "flush": ("flush",), "commit": ("commit",)}
"""Ways by name: who runs the parts of a program, in turn."""

CROSSED: Mapping[str, Sequence[Runner]] = {
    "kernel, flush": ("kernel", "flush"),
    "flush, kernel": ("flush", "kernel"),
    "commit, kernel": ("commit", "kernel"),
}


class _Lane:
    """A program on one of its ways."""

    def __init__(self, program: Program, runners: Sequence[Runner]) -> None:
        cut = list(parts(program.steps))
        turns = [(runners[number % len(runners)], part) for number, part in enumerate(cut)]
        self._left: list[tuple[Runner, tuple[Step, ...]]] = [
            (runner, tuple(step for _, part in group for step in part))
            for runner, group in groupby(turns, key=lambda turn: turn[0])
        ]
        self._bases = program.bases
        self.result = Result((), {base.name: base.data() for base in program.bases})

    def next(self) -> Runner | None:
        """Returns who goes on; None at the end."""
        return self._left[0][0] if self._left else None

    def stretch(self) -> Program:
        """Returns what is to be run next."""
        return Program(with_content(self._bases, self.result.content), self._left[0][1])

    def went_on(self, result: Result) -> None:
        """Takes what came of it."""
        del self._left[0]
        before = self.result
        self.result = Result(before.outcomes + result.outcomes, result.content, before.log + result.log)


def run_ways(
    programs: Sequence[Program],
    ways: Mapping[str, Sequence[Runner]],
    *,
    kernel: Callable[[Sequence[Program]], list[Result]] = run_in_kernel,
) -> list[dict[str, Result]]:
    """Runs each of ``programs`` on all ``ways`` that it can go, with as few boots as their turns allow.

    Returns:
        Of each program the results by way.

    Raises:
        ProgramFailed, KernelVMFailed, KernelVMUnavailable: As `run_in_kernel`.
    """
    lanes = [
        {way: _Lane(program, runners) for way, runners in ways.items() if not (program.timely and "flush" in runners)}
        for program in programs
    ]
    every = [lane for row in lanes for lane in row.values()]
    while True:
        for lane in every:
            while (runner := lane.next()) is not None and runner != "kernel":
                lane.went_on(run_in_ours(lane.stretch(), runner))
        waiting = [lane for lane in every if lane.next() == "kernel"]
        if not waiting:
            return [{way: lane.result for way, lane in row.items()} for row in lanes]
        for lane, result in zip(waiting, kernel([lane.stretch() for lane in waiting]), strict=True):
            lane.went_on(result)
