"""Some of what a crash may leave, where there is too much to look at all of it: drawn, from a seed.

Most mistakes in the order of writes show when one write is lost, or one alone survives; others need sectors of one
write torn from each other. So the ways to draw are mixed.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence

from dmsnap.testing.crash.images import Image
from dmsnap.testing.crash.moments import Moment, Place
from dmsnap.testing.crash.volatile_disk import Version

__all__ = ["sampled_images"]


def sampled_images(moment: Moment, draws: int, rng: random.Random) -> Iterator[Image]:
    """Yields at most ``draws`` images that are new at a moment, each once.

    All writes lost and all kept come first, then random ones.
    """
    seen: set[tuple[bytes, ...]] = set()
    base = [bytes(disk.settled) for disk in moment.disks]
    versions = {
        (number, sector): disk.open[sector] for number, disk in enumerate(moment.disks) for sector in sorted(disk.open)
    }
    writes = sorted({version.number for row in versions.values() for version in row[1:]})
    places = tuple(versions)
    for draw in range(draws):
        if draw < 2 or not writes:
            held = _with_writes(versions.values(), writes if draw else ())
        elif rng.random() < 0.25:
            held = tuple(rng.choice(row).content for row in versions.values())
        else:
            held = _with_writes(versions.values(), _some_writes(writes, versions, rng))
            if rng.random() < 0.4:
                held = _torn(held, versions.values(), rng)
        if not moment.anew:
            held = _with_something_fresh(held, places, moment.fresh, rng)
        if held not in seen:
            seen.add(held)
            yield Image(base, places, held)


def _with_something_fresh(
    held: tuple[bytes, ...], places: Sequence[Place], fresh: dict[Place, bytes], rng: random.Random
) -> tuple[bytes, ...]:
    """The same, but with all that is fresh, or one sector of it, where there was none."""
    if any(fresh.get(place) == content for place, content in zip(places, held, strict=True)):
        return held
    put = fresh
    if rng.random() < 0.5:
        place = rng.choice(sorted(fresh))
        put = {place: fresh[place]}
    return tuple(put.get(place, content) for place, content in zip(places, held, strict=True))


def _with_writes(rows: Collection[Sequence[Version]], kept: Collection[int]) -> tuple[bytes, ...]:
    """What the sectors hold if only the writes ``kept`` reached the disks."""
    kept = set(kept)
    return tuple(
        next((version.content for version in reversed(row) if version.number in kept), row[0].content) for row in rows
    )


def _some_writes(writes: Sequence[int], versions: dict[Place, list[Version]], rng: random.Random) -> Collection[int]:
    """Draws which writes reached the disks whole."""
    one = rng.choice(writes)
    match rng.randrange(8):
        case 0:
            return [one]
        case 1:
            return [number for number in writes if number != one]
        case 2:
            return [number for number in writes if number <= one]
        case 3:
            return [number for number in writes if number > one]
        case 4:
            return writes[-1:]
        case 5:
            return writes[:-1]
        case 6:
            disk = rng.choice(sorted({disk for disk, _ in versions}))
            return {version.number for (on, _), row in versions.items() if on == disk for version in row}
        case _:
            likely = rng.random()
            return [number for number in writes if rng.random() < likely]


def _torn(held: tuple[bytes, ...], rows: Collection[Sequence[Version]], rng: random.Random) -> tuple[bytes, ...]:
    """A few sectors hold any version of theirs."""
    changed = set(rng.sample(range(len(held)), min(len(held), rng.randint(1, 3))))
    return tuple(
        rng.choice(row).content if at in changed else content
        for at, (content, row) in enumerate(zip(held, rows, strict=True))
    )
