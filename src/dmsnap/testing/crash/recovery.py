"""What comes after a crash: its image is loaded and used further, recorded again, and crashes of that are judged."""

from __future__ import annotations

import random
from collections.abc import Sequence

from dmsnap.testing.crash.program import ORIGIN, Flush, Merge, Plan, Program, Reload, Step, Take, Write
from dmsnap.testing.crash.running import Run, run
from dmsnap.testing.crash.search import Crash

__all__ = ["recovered"]


def recovered(program: Program, crash: Crash, seed: str) -> tuple[Program, Run]:
    """Goes on with what a crash left.

    Args:
        program: Which was crashed.
        crash: How.
        seed: For what comes next.

    Returns:
        What was done, and what came of it.
    """
    rng = random.Random(seed)  # noqa: S311 - to be replayed
    contents = crash.image.contents()
    merging = crash.expected.merging
    plans = tuple(
        plan._replace(cow_sectors=len(content) // 512)
        for plan, content in zip(program.plans, contents[1:], strict=True)
    )
    steps: list[Step] = [Take(plan.name) for plan in plans]  # of those whose store is not there yet
    if merging and rng.random() < 0.7:
        steps += _merging_on(rng, merging, program.origin_sectors)
    else:
        steps += _filling_up(rng, plans, program.origin_sectors)
    steps += [Flush(name) for name in (ORIGIN, *(plan.name for plan in plans))]
    after = Program(f"{program.name} recovered", program.origin_sectors, plans, tuple(steps), program.sync)
    return after, run(after, rng.randrange(1 << 32), contents)


def _merging_on(rng: random.Random, name: str, origin_sectors: int) -> list[Step]:
    steps: list[Step] = []
    if rng.random() < 0.5:
        steps.append(Merge(name, rng.choice((1, 8, 40))))
        steps.append(Write(name, rng.randrange(origin_sectors), 1))
    return [*steps, Merge(name, rng.choice((4, 40, 1000)), to_the_end=True, in_order=rng.random() < 0.5)]


def _filling_up(rng: random.Random, plans: Sequence[Plan], origin_sectors: int) -> list[Step]:
    """New exceptions in the places of those that the crash took, and as many again, so that areas fill up anew."""
    steps: list[Step] = []
    for plan in rng.sample(plans, rng.randint(1, len(plans))):
        where = ORIGIN if rng.random() < 0.2 else plan.name
        for _ in range(rng.randint(1, 6)):
            sectors = min(origin_sectors, plan.chunk_sectors * rng.choice((1, 2, 5, 20, 30, 33, 40)))
            steps.append(Write(where, rng.randrange(0, origin_sectors - sectors + 1, plan.chunk_sectors), sectors))
            if rng.random() < 0.6:
                steps.append(Flush(where))
    if rng.random() < 0.3:
        steps.append(Reload(handover=rng.random() < 0.5))
    return steps
