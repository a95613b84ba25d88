"""Many crash programs, one after the other: how many images were judged, and the first that was wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dmsnap.errors import DmsnapError
from dmsnap.target.exceptions import SyncMode
from dmsnap.testing.crash.images import Image
from dmsnap.testing.crash.program import Program
from dmsnap.testing.crash.random_programs import KINDS, random_program
from dmsnap.testing.crash.recovery import recovered
from dmsnap.testing.crash.running import run
from dmsnap.testing.crash.search import Crash, Limits, judge
from dmsnap.testing.crash.short_programs import SHORT
from dmsnap.testing.crash.stores import metadata_of

__all__ = ["SYNC_MODES", "Kept", "Part", "Tally", "judge_part", "judge_program", "names", "program_named", "tally"]

SYNC_MODES: tuple[SyncMode, ...] = ("flush", "commit")

_KEPT = 12
_LONG = Limits(every=128, draws=24)
_SHORT = Limits(every=4096, draws=256)
_AFTERWARDS = Limits(every=8, draws=4)
_MOST_RECOVERED = {"refill": 40}
_MOST_RECOVERED_OF_OTHERS = 3


class Part(NamedTuple):
    """Some programs of one kind.

    Attributes:
        kind: Of the programs.
        sync: Of their snapshots.
        images: How many to judge at least.
    """

    kind: str
    sync: SyncMode
    images: int


class Kept(NamedTuple):
    """One image, to be looked at further."""

    program: Program
    image: Image


class Tally(NamedTuple):
    """What came of some programs.

    Attributes:
        programs: How many were run.
        images: Images judged of their crashes …
        drawn: … of which so many were samples; all others are all that there are at their moments.
        recovered: Images that were loaded and used further.
        images_after: Images judged of crashes after that.
        failure: The first that was wrong; None if there was none.
    """

    programs: int = 0
    images: int = 0
    drawn: int = 0
    recovered: int = 0
    images_after: int = 0
    failure: str | None = None

    def __add__(self, other: tuple[object, ...]) -> Tally:
        """Returns the sum; the first failure counts."""
        assert isinstance(other, Tally)
        programs, images, drawn, recovered, after = (a + b for a, b in zip(self[:5], other[:5], strict=True))
        return Tally(programs, images, drawn, recovered, after, self.failure or other.failure)

    @property
    def all_images(self) -> int:
        """Images judged, before and after they were used further."""
        return self.images + self.images_after


def judge_part(part: Part) -> tuple[Tally, str, list[Kept]]:
    """Runs and judges programs until there are enough images, or one is wrong.

    Returns:
        What came of all, the name of the last, and a few of the images.
    """
    counts, name = Tally(), ""
    kept: list[Kept] = []
    rng = random.Random(f"{part.kind} {part.sync}")  # noqa: S311 - to be replayed
    seen = 0

    def keep(program: Program, crash: Crash) -> None:
        nonlocal seen
        seen += 1
        if len(kept) < _KEPT:
            kept.append(Kept(program, crash.image))
        elif (place := rng.randrange(seen)) < _KEPT:
            kept[place] = Kept(program, crash.image)

    for name in names(part.kind, part.sync):
        counts += tally(name, keep=keep)
        if counts.failure is not None or counts.all_images >= part.images:
            break
    return counts, name, kept


def names(kind: str, sync: SyncMode) -> Iterator[str]:
    """Yields the names of a kind's programs: the short ones, then as many long ones as are asked for."""
    for number in range(len(SHORT[kind])):
        yield f"{kind}/{sync}/short/{number}"
    seed = 0
    while True:
        yield f"{kind}/{sync}/{seed}"
        seed += 1


def program_named(name: str) -> Program:
    """Returns a program by its name.

    Raises:
        ValueError: There is none of this name.
    """
    match name.split("/"):
        case [kind, ("flush" | "commit") as sync, "short", number] if kind in KINDS:
            return SHORT[kind][int(number)]._replace(name=name, sync=sync)
        case [kind, ("flush" | "commit") as sync, seed] if kind in KINDS:
            return random_program(kind, sync, int(seed))._replace(name=name)
    raise ValueError(f"no such program: {name}")


def tally(name: str, *, keep: Callable[[Program, Crash], object] = lambda _program, _crash: None) -> Tally:
    """Runs and judges the program of a name.

    Args:
        name: Of the program.
        keep: Sees every crash.
    """
    program = program_named(name)
    most_recovered = _MOST_RECOVERED.get(name.partition("/")[0], _MOST_RECOVERED_OF_OTHERS)
    return judge_program(program, _SHORT if "/short/" in name else _LONG, most_recovered, keep=keep)


def judge_program(
    program: Program,
    limits: Limits,
    most_recovered: int,
    *,
    keep: Callable[[Program, Crash], object] = lambda _program, _crash: None,
) -> Tally:
    """Runs a program and judges its crashes.

    Args:
        program: Its name is the seed of everything that is drawn.
        limits: How many images to look at.
        most_recovered: So many images are used further, or a few more: some of those with metadata of their own.
        keep: Sees every crash.
    """
    done = run(program, program.name)
    if done.problems:
        return Tally(programs=1, failure="\n".join([_told(program), *done.problems]))
    counts = Tally(programs=1)
    rng = random.Random(program.name)  # noqa: S311 - to be replayed
    known: set[bytes] = set()

    def also(crash: Crash) -> list[str]:
        nonlocal counts
        keep(program, crash)
        metadata = b"".join(metadata_of(cow) for cow in crash.image.contents()[1:])
        if metadata in known:
            return []
        known.add(metadata)
        if rng.random() > most_recovered / len(known):
            return []
        try:
            after, went_on = recovered(program, crash, f"{program.name} {len(known)}")
            verdict = judge(went_on.timeline, _AFTERWARDS, seed=len(known))
        except DmsnapError as error:
            return [f"it cannot be used further: {error!r}"]
        counts += Tally(recovered=1, images_after=verdict.images)
        wrong = [*went_on.problems, *([verdict.failure] if verdict.failure else [])]
        return [f"then, after {after.steps}:", *wrong] if wrong else []

    verdict = judge(done.timeline, limits, seed=len(program.name), also=also)
    failure = None if verdict.failure is None else f"{_told(program)}\n{verdict.failure}"
    return counts + Tally(0, verdict.images, verdict.drawn, failure=failure)


def _told(program: Program) -> str:
    plans = "".join(f"\n  {plan}" for plan in program.plans)
    steps = "".join(f"\n  {step}" for step in program.steps)
    return f"{program.name}: origin of {program.origin_sectors} sectors{plans}{steps}"
