"""Crash programs of a few steps, by kind, whose crashes can all be looked at."""

from __future__ import annotations

from typing import Final

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

__all__ = ["SHORT"]

_A1, _A2, _B1, _B2, _C4 = Plan("a", 1, 40), Plan("a", 2, 40), Plan("b", 1, 40), Plan("b", 2, 40), Plan("c", 4, 60)


def _of(plans: tuple[Plan, ...], *steps: Step, sectors: int = 16) -> Program:
    return Program("", sectors, plans, steps)


def _many(where: str, first: int, stop: int) -> tuple[Step, ...]:
    """Writes of one sector each."""
    return tuple(Write(where, sector, 1) for sector in range(first, stop))


_AREAS = Plan("a", 1, 110)
"""Room for three areas of 32 records."""

SHORT: Final[dict[str, tuple[Program, ...]]] = {
    "writes": (
        _of((_A1,), Write("a", 3, 1), Write("a", 5, 2), Flush("a"), Write("a", 3, 1), Write("a", 9, 1), Flush("a")),
        _of((_A2,), Write("a", 3, 1), Write("a", 4, 2), Flush("a"), Write("a", 2, 2), Zero("a", 5, 2), Flush("a")),
        _of((_C4._replace(name="a"),), Write("a", 2, 4), Flush("a"), Write("a", 1, 1, fua=True), Write("a", 8, 1)),
        _of((_A1,), Write("a", 1, 1), Reload(), Write("a", 2, 1), Write("a", 1, 1), Reload(), Write("a", 3, 1)),
    ),
    "turnover": (
        _of((_AREAS,), Write("a", 0, 31), Flush("a"), *_many("a", 40, 43), Flush("a"), sectors=96),
        _of((_AREAS,), Write("a", 0, 32), Flush("a"), Write("a", 50, 1), Flush("a"), sectors=96),
        _of((_AREAS,), Write("a", 0, 30), Flush("a"), Write("a", 40, 40), Write("a", 31, 1), Flush("a"), sectors=96),
        _of((_AREAS,), Write("a", 0, 3), Flush("a"), Write("a", 3, 93), Flush("a"), sectors=96),
        _of((_AREAS,), Write("a", 0, 64), Reload(), Write("a", 64, 1), Flush("a"), sectors=96),
        _of((_AREAS,), Write("a", 0, 31), Write(ORIGIN, 31, 2), Write(ORIGIN, 0, 1), Flush(ORIGIN), sectors=96),
    ),
    "discards": (
        _of((_A2._replace(discards="zero"),), Write("a", 2, 4), Flush("a"), Discard("a", 3, 5), Flush("a")),
        _of(
            (_A2._replace(discards="passdown"), _B1),
            *(Write("a", 2, 2), Write("b", 3, 1), Flush("a"), Flush("b")),
            *(Discard("a", 1, 4), Flush("a"), Flush(ORIGIN), Write(ORIGIN, 2, 2), Flush(ORIGIN)),
        ),
    ),
    "copy-out": (
        _of((_A1,), Write(ORIGIN, 3, 2), Flush(ORIGIN), Write(ORIGIN, 3, 1), Write(ORIGIN, 8, 1), Flush(ORIGIN)),
        _of((_A1, _B2), Write(ORIGIN, 3, 2), Flush(ORIGIN), Write(ORIGIN, 4, 2, fua=True), Zero(ORIGIN, 9, 1)),
        _of((_A1, _B2, _C4), Write(ORIGIN, 3, 2), Flush(ORIGIN), Write("b", 2, 2), Write(ORIGIN, 2, 1)),
    ),
    "uncommitted": (
        _of((_A1,), Write("a", 3, 1), Write(ORIGIN, 3, 1), Flush(ORIGIN), Write("a", 3, 1), Flush("a")),
        _of((_A2,), Write("a", 3, 1), Write(ORIGIN, 2, 1), Flush(ORIGIN), Write("a", 8, 2), Write(ORIGIN, 8, 1)),
        _of((_A1, _B2), Write("b", 2, 2), Write("a", 3, 1), Write(ORIGIN, 2, 2, fua=True), Flush("a")),
        _of((_A1,), Write("a", 2, 2), Write("a", 5, 1), Write(ORIGIN, 1, 5), Flush(ORIGIN), Flush("a")),
    ),
    "merge": (
        _of(
            (_A1,), Write("a", 3, 2), Write("a", 9, 1), Flush("a"), Merge("a", 1, to_the_end=True), Write(ORIGIN, 3, 1)
        ),
        _of(
            (_A1, _B2),
            *(Write("a", 3, 2), Write("a", 9, 1), Write(ORIGIN, 9, 1), Flush("a"), Merge("a", 1)),
            *(Write("a", 9, 1), Write("a", 3, 1), Flush("a"), Merge("a", 9, to_the_end=True), Flush(ORIGIN)),
        ),
        _of(
            (_A2, _B1),
            *(Write("a", 2, 3), Write("a", 8, 1), Merge("a", 2), Write("a", 8, 2), Write("a", 12, 1, fua=True)),
            *(Merge("a", 99, to_the_end=True, in_order=False), Write(ORIGIN, 2, 2), Flush(ORIGIN), Write("b", 2, 1)),
        ),
        _of((_AREAS,), Write("a", 0, 34), Flush("a"), Merge("a", 40, to_the_end=True), Write(ORIGIN, 0, 2), sectors=40),
        _of((_A1,), Write("a", 3, 2), Merge("a", 1), Reload(), Write("a", 4, 1), Write("a", 8, 1), Write(ORIGIN, 8, 1)),
        _of((_A1,), Write("a", 3, 1), Flush("a"), Merge("a", 9, to_the_end=True), Write(ORIGIN, 3, 1), Flush(ORIGIN)),
        _of(
            (_A1, _B2),
            *(Write("a", 3, 2), Write("a", 9, 1), Flush("a"), Merge("a", 1), Reload(handover=True)),
            *(Write("a", 4, 2), Write(ORIGIN, 3, 1), Merge("a", 9), Write("a", 4, 1), Flush("a")),
        ),
        _of((_A1, _B2), Write("a", 9, 1), Flush("a"), Merge("a", 1), Write("a", 2, 1), Flush("a"), Write("a", 4, 1)),
    ),
    "refill": (
        _of((Plan("a", 2, 160),), Write("a", 0, 10), Flush("a"), Write("a", 10, 80), Flush("a"), sectors=160),
        _of(
            (Plan("a", 2, 200),),
            *(Write("a", 0, 150), Merge("a", 130), Reload(), Write("a", 20, 4), Flush("a")),
            sectors=160,
        ),
    ),
    "invalidation": (
        _of((Plan("a", 1, 5),), Write("a", 0, 2), Flush("a"), Write("a", 5, 2), Flush("a"), Write(ORIGIN, 0, 8)),
        _of((Plan("a", 1, 5),), Write("a", 0, 2), Write(ORIGIN, 5, 1), Write(ORIGIN, 6, 2), Flush(ORIGIN)),
        _of((Plan("a", 1, 5, "PO"), _B2), Write("a", 0, 2), Write("a", 5, 2), Flush("a"), Write(ORIGIN, 9, 1)),
        _of((Plan("a", 2, 9), _B1), Write(ORIGIN, 0, 1), Write(ORIGIN, 4, 8), Flush(ORIGIN), Write("b", 9, 1)),
        _of((Plan("a", 1, 34),), Write("a", 0, 31), Flush("a"), Write(ORIGIN, 40, 1), Flush(ORIGIN), sectors=48),
    ),
    "growth": (
        _of((Plan("a", 1, 5),), Write("a", 0, 3), Grow("a", 2), Write("a", 5, 2), Flush("a"), Write(ORIGIN, 9, 1)),
        _of((Plan("a", 1, 34),), Write("a", 0, 31), Grow("a", 9), Write("a", 40, 2), Flush("a"), sectors=48),
    ),
    "creation": (
        _of((_A1,), Write(ORIGIN, 2, 1), Take("a"), Write("a", 3, 1), Write(ORIGIN, 4, 1), Flush("a")),
        _of((_A2, _B1), Take("a"), Write("a", 3, 1), Take("b"), Write(ORIGIN, 2, 2), Flush(ORIGIN)),
    ),
}
"""By kind."""
