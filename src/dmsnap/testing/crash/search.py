"""Goes through the crashes of one timeline and judges each: all of them while they are few, else some."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from dmsnap.testing.crash.checker import Checker
from dmsnap.testing.crash.expectation import Expectation
from dmsnap.testing.crash.images import Image, count_images, every_image
from dmsnap.testing.crash.moments import Moment, moments
from dmsnap.testing.crash.recorder import Mark, Timeline
from dmsnap.testing.crash.sampling import sampled_images

__all__ = ["Crash", "Limits", "Verdict", "crashes", "judge"]


class Limits(NamedTuple):
    """How much to look at.

    Attributes:
        every: Moments with at most so many new images are looked at exhaustively …
        draws: … and of all others so many images are drawn.
    """

    every: int = 512
    draws: int = 64


class Crash(NamedTuple):
    """One crash to judge.

    Attributes:
        moment: When.
        image: What it leaves.
        expected: What is right then. It changes with the next moment.
        drawn: Whether it is a sample, with more images of that moment left out.
    """

    moment: Moment
    image: Image
    expected: Expectation
    drawn: bool


class Verdict(NamedTuple):
    """What came of it.

    Attributes:
        images: How many images were judged, all different or judged by different promises.
        drawn: How many of them were samples.
        moments: At how many moments they lie.
        failure: The first that was wrong, with what is wrong with it; None if there was none.
    """

    images: int
    drawn: int
    moments: int
    failure: str | None


def crashes(timeline: Timeline, limits: Limits, seed: int) -> Iterator[Crash]:
    """Yields the crashes of a timeline whose device 0 is the origin, in order; no two leave the same.

    What a crash may leave is left out where an earlier one may have, unless what is right has narrowed since.
    """
    expected = Expectation(timeline.initial[0])
    for moment in moments(timeline):
        if isinstance(moment.event, Mark):
            expected.note(moment.event.value, moment.number)
        if not (moment.anew or moment.fresh):
            continue
        drawn = count_images(moment) > limits.every
        if not drawn:
            for image in every_image(moment):
                yield Crash(moment, image, expected, drawn)
            continue
        rng = random.Random(f"{seed} {moment.number}")  # noqa: S311 - to be replayed
        for image in sampled_images(moment, limits.draws, rng):
            yield Crash(moment, image, expected, drawn)


def judge(
    timeline: Timeline,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    *,
    seed: int = 0,
    also: Callable[[Crash], Sequence[str]] | None = None,
) -> Verdict:
    """Judges the crashes of a timeline until one is wrong.

    Args:
        timeline: With the marks of a `Client`; device 0 is the origin.
        limits: How much to look at.
        seed: For what is drawn.
        also: Judges a crash further; returns what is wrong.
    """
    checker = Checker()
    images = drawn = 0
    seen_moments: set[int] = set()
    for crash in crashes(timeline, limits, seed):
        images += 1
        drawn += crash.drawn
        seen_moments.add(crash.moment.number)
        wrong = checker.problems(crash.image.contents(), crash.expected)
        if not wrong and also is not None:
            wrong = list(also(crash))
        if wrong:
            return Verdict(images, drawn, len(seen_moments), "\n".join([told(crash, timeline), *wrong]))
    return Verdict(images, drawn, len(seen_moments), None)


def told(crash: Crash, timeline: Timeline) -> str:
    """Returns in words when a crash comes and what it leaves."""
    kept: dict[int, int] = {}
    for (disk, sector), held in zip(crash.image.places, crash.image.held, strict=True):
        for version in crash.moment.disks[disk].open[sector][1:]:
            if version.content == held:
                kept[version.number] = kept.get(version.number, 0) + 1
    lines = [f"a crash after event {crash.moment.number} of {len(timeline.events)} leaves, of what was not flushed,"]
    lost = {version.number: 0 for disk in crash.moment.disks for row in disk.open.values() for version in row[1:]}
    for number, sectors in sorted((lost | kept).items()):
        event = timeline.events[number - 1]
        name, offset, length = timeline.names[event.disk], event.offset, len(event.data)  # type: ignore[union-attr]
        lines.append(f"  {sectors} of {length // 512} sectors of event {number}, a write to {name} at byte {offset}")
    return "\n".join(lines)
