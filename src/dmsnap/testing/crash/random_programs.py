"""Random crash programs of every kind: a kind and a seed say which."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from dmsnap.target.exceptions import SyncMode
from dmsnap.testing.crash.program import (
    ORIGIN,
    Discard,
    Flush,
    Grow,
    Merge,
    Plan,
    Program,
    Reload,
    Step,
    Take,
    Write,
    Zero,
)

__all__ = ["KINDS", "random_program"]

_SMALL = 64
"""Sectors of an origin that is small."""

_Made = tuple[int, tuple[Plan, ...], list[Step]]
"""What makes a program: sectors of the origin, snapshots, steps."""


def random_program(kind: str, sync: SyncMode, seed: int) -> Program:
    """Returns the program of a kind and a seed."""
    rng = random.Random(f"{kind} {sync} {seed}")  # noqa: S311 - to be replayed
    sectors, plans, steps = KINDS[kind](rng)
    return Program(f"{kind} {sync} {seed}", sectors, plans, tuple(steps), sync)


def _writes(rng: random.Random) -> _Made:
    """One snapshot: whole chunks and parts, zeros, flushes, FUA."""
    chunk = rng.choice((1, 2, 4, 8))
    steps = _mixed(rng, ("a",), _SMALL, chunk, rng.randint(4, 14), flushed=0.25)
    return _SMALL, (Plan("a", chunk, 2 * _SMALL + 4 * chunk),), steps


def _turnover(rng: random.Random) -> _Made:
    """One snapshot whose areas fill up: chunk by chunk, or several areas in one commit."""
    chunk = rng.choice((1, 1, 2))
    chunks = 150
    left = list(range(chunks))
    if rng.random() < 0.7:
        rng.shuffle(left)
    steps: list[Step] = []
    while left:
        many = min(len(left), rng.choice((1, 1, 2, 30, 31, 32, 33, 64, 70, 100)))
        steps += _together(sorted(left[:many]), chunk, "a") if rng.random() < 0.5 else _singly(left[:many], chunk)
        del left[:many]
        steps += [Flush("a")] * (rng.random() < 0.6)
        if len(steps) > 70:
            break
    return chunks * chunk, (Plan("a", chunk, (chunks + 12) * chunk),), steps


def _discards(rng: random.Random) -> _Made:
    """Two snapshots that know discards."""
    chunk = rng.choice((1, 2, 4))
    plans = (
        Plan("a", chunk, 3 * _SMALL, discards=rng.choice(("zero", "passdown"))),
        Plan("b", 2, 3 * _SMALL, discards="zero"),
    )
    steps: list[Step] = []
    for step in _mixed(rng, ("a", "b", ORIGIN), _SMALL, chunk, rng.randint(5, 10), flushed=0.2):
        steps.append(step)
        if rng.random() < 0.5 and isinstance(step, Write):
            sector, sectors = _range(rng, _SMALL, chunk)
            steps.append(Discard("a" if step.where == ORIGIN else step.where, sector, sectors))
    return _SMALL, plans, steps


def _copy_out(rng: random.Random) -> _Made:
    """One to three snapshots of one origin, with different chunk sizes."""
    plans = _several(rng, _SMALL)
    names = (ORIGIN, ORIGIN, *(plan.name for plan in plans))
    return _SMALL, plans, _mixed(rng, names, _SMALL, 2, rng.randint(4, 10), flushed=0.2)


def _uncommitted(rng: random.Random) -> _Made:
    """Chunks have exceptions that are not committed when the origin is overwritten, or only some of them have."""
    plans = _several(rng, _SMALL)
    steps: list[Step] = []
    for _ in range(rng.randint(2, 4)):
        name = rng.choice(plans).name
        sector, sectors = _range(rng, _SMALL, 2)
        steps.append(Write(name, sector, sectors))
        if rng.random() < 0.4:
            steps.append(Write(name, *_range(rng, _SMALL, 2)))
        near = max(0, min(_SMALL - sectors, sector + rng.choice((0, 0, -1, 1))))
        steps.append(Write(ORIGIN, near, sectors, fua=rng.random() < 0.2))
        steps += [Flush(rng.choice((ORIGIN, name)))] * (rng.random() < 0.3)
    return _SMALL, plans, steps


def _merge(rng: random.Random) -> _Made:
    """A snapshot is merged in steps, beside others, and written to meanwhile; sometimes it is a snapshot again."""
    long = rng.random() < 0.3
    size = 120 if long else _SMALL
    chunk = 1 if long else rng.choice((1, 2, 4))
    first = Plan("a", chunk, size * 2)
    plans = first, *(plan for plan in _several(rng, size) if plan.name != "a" and not long)
    names = ("a", "a", ORIGIN, *(plan.name for plan in plans))
    steps = _mixed(rng, names, size, chunk, rng.randint(3, 7), flushed=0.2)
    if long:
        steps += _together(list(range(rng.randint(34, 100))), 1, "a")
    in_order = rng.random() < 0.7
    for _ in range(rng.randint(1, 3)):
        steps.append(Merge("a", chunk * rng.choice((1, 2, 5, 40, 1000)), in_order=in_order))
        for _ in range(rng.randint(0, 2)):
            steps += _mixed(rng, ("a", *(plan.name for plan in plans)), size, chunk, 1, flushed=0.2)
        if rng.random() < 0.15:
            again = Reload(handover=rng.random() < 0.5)
            steps += [again, *_mixed(rng, ("a", ORIGIN), size, chunk, 3, flushed=0.5)]
    steps.append(Merge("a", chunk * rng.choice((1, 3, 1000)) if not long else 50, to_the_end=True, in_order=in_order))
    steps += _mixed(rng, (ORIGIN, *(plan.name for plan in plans[1:])), size, chunk, 2, flushed=0.3)
    return size, plans, steps


def _refill(rng: random.Random) -> _Made:
    """Many records in one commit, or cleared in one step: what a crash leaves of them lies behind the end marker."""
    chunk = rng.choice((1, 2, 2, 4))
    chunks = 150
    steps: list[Step] = [Write("a", chunk * rng.randrange(20), chunk * rng.randint(1, 20)), Flush("a")]
    start = rng.randint(30, 60)
    steps.append(Write("a", chunk * start, chunk * rng.randint(30, chunks - start)))
    if rng.random() < 0.4:
        steps.append(Merge("a", chunk * rng.randint(30, 120)))
        again = Reload(handover=rng.random() < 0.5)
        steps += [again, Write("a", 0, chunk * rng.randint(1, 40))]
    return chunks * chunk, (Plan("a", chunk, (2 * chunks) * chunk),), [*steps, Flush("a")]


def _invalidation(rng: random.Random) -> _Made:
    """Stores that fill up, by writes to the snapshot or the origin; some at the trap of the last area."""
    plans = tuple(
        Plan(name, chunk, chunk * rng.choice((5, 8, 34, 34 if chunk == 1 else 9)), kind=rng.choice(("P", "PO")))
        for name, chunk in zip("abc"[: rng.randint(1, 3)], rng.sample((1, 2, 4, 8), 3), strict=False)
    )
    names = (ORIGIN, *(plan.name for plan in plans))
    steps = _mixed(rng, names, _SMALL, 4, rng.randint(4, 9), flushed=0.25)
    if rng.random() < 0.5:
        steps.insert(rng.randint(0, len(steps)), Write(rng.choice(names), 0, rng.randint(20, 50)))
    return _SMALL, plans, steps


def _growth(rng: random.Random) -> _Made:
    """Stores that are almost full and get longer, before or after it is too late."""
    plans = (
        Plan("a", 1, rng.choice((6, 20, 34, 36)), kind=rng.choice(("P", "PO"))),
        Plan("b", 4, rng.choice((24, 40))),
    )
    steps: list[Step] = []
    for step in _mixed(rng, ("a", "a", "b", ORIGIN), _SMALL, 2, rng.randint(5, 10), flushed=0.3):
        steps.append(step)
        if rng.random() < 0.35:
            steps.append(Grow(rng.choice("ab"), rng.choice((1, 2, 4, 8, 30, 60))))
    return _SMALL, plans, steps


def _creation(rng: random.Random) -> _Made:
    """Snapshots are taken while the origin and another snapshot are in use."""
    plans = _several(rng, _SMALL)
    steps: list[Step] = []
    there: list[str] = [ORIGIN]
    for plan in plans:
        steps += _mixed(rng, there, _SMALL, 2, rng.randint(0, 3), flushed=0.2)
        steps.append(Take(plan.name))
        there.append(plan.name)
    return _SMALL, plans, [*steps, *_mixed(rng, there, _SMALL, 2, rng.randint(1, 5), flushed=0.2)]


KINDS: Final[dict[str, Callable[[random.Random], _Made]]] = {
    "writes": _writes,
    "turnover": _turnover,
    "discards": _discards,
    "copy-out": _copy_out,
    "uncommitted": _uncommitted,
    "merge": _merge,
    "refill": _refill,
    "invalidation": _invalidation,
    "growth": _growth,
    "creation": _creation,
}
"""What programs are about."""


def _several(rng: random.Random, origin_sectors: int) -> tuple[Plan, ...]:
    sizes = rng.sample((1, 2, 4, 8), rng.randint(1, 3))
    return tuple(Plan(name, chunk, 2 * origin_sectors + 4 * chunk) for name, chunk in zip("abc", sizes, strict=False))


def _range(rng: random.Random, sectors: int, chunk_sectors: int) -> tuple[int, int]:
    """Draws first sector and number of sectors: whole chunks, more or less, or any."""
    length = rng.choice((1, chunk_sectors, chunk_sectors, 2 * chunk_sectors, rng.randint(1, 3 * chunk_sectors)))
    start = rng.randrange(sectors)
    if rng.random() < 0.5:
        start -= start % chunk_sectors
    return start, min(length, sectors - start)


def _mixed(
    rng: random.Random, names: tuple[str, ...] | list[str], sectors: int, chunk: int, count: int, *, flushed: float
) -> list[Step]:
    steps: list[Step] = []
    for _ in range(count):
        where = rng.choice(names)
        place = _range(rng, sectors, chunk)
        steps.append(Zero(where, *place) if rng.random() < 0.1 else Write(where, *place, rng.random() < 0.1))
        if rng.random() < flushed:
            steps.append(Flush(rng.choice(names)))
    return steps


def _singly(chunks: list[int], chunk_sectors: int) -> Iterator[Step]:
    return (Write("a", chunk * chunk_sectors, chunk_sectors) for chunk in chunks)


def _together(chunks: list[int], chunk_sectors: int, name: str) -> Iterator[Step]:
    """Yields a write for each run of neighbouring chunks."""
    first = 0
    for at in range(1, len(chunks) + 1):
        if at == len(chunks) or chunks[at] != chunks[at - 1] + 1:
            yield Write(name, chunks[first] * chunk_sectors, (at - first) * chunk_sectors)
            first = at
