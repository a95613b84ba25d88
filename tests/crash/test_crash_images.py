"""What a crash may leave: a sector holds any version since the last flush, whatever the others hold."""

from __future__ import annotations

import random
from itertools import product

import pytest

from dmsnap.testing.crash import Limits, Recorder, Timeline, crashes
from dmsnap.testing.crash.images import count_images, every_image
from dmsnap.testing.crash.moments import Moment, moments
from dmsnap.testing.crash.recorder import Change, FlushEnded
from dmsnap.testing.crash.sampling import sampled_images
from dmsnap.testing.crash.volatile_disk import VolatileDisk

SECTOR = 512
SECTORS = 3

Contents = tuple[bytes, ...]


def filled(letter: str, sectors: int = 1) -> bytes:
    return letter.encode() * (sectors * SECTOR)


def last_moment(recorder: Recorder) -> Moment:
    *_, last = moments(recorder.timeline())
    return last._replace(anew=True)


def letters(contents: Contents) -> str:
    """One letter a sector."""
    return " ".join("".join(chr(disk[at]) for at in range(0, len(disk), SECTOR)) for disk in contents)


def left(moment: Moment) -> list[str]:
    """Everything that a crash leaves at a moment, in letters."""
    return sorted(letters(tuple(map(bytes, image.contents()))) for image in every_image(moment))


def test_unflushed_writes_are_lost_or_kept_sector_by_sector() -> None:
    recorder = Recorder()
    device = recorder.device(filled("a", 3), "disk")
    device.write_at(0, filled("b", 2))
    assert left(last_moment(recorder)) == ["aaa", "aba", "baa", "bba"]


def test_a_later_write_may_be_there_without_an_earlier_one() -> None:
    recorder = Recorder()
    device = recorder.device(filled("a"), "disk")
    device.write_at(0, filled("b"))
    device.write_at(0, filled("c"))
    assert left(last_moment(recorder)) == ["a", "b", "c"]


def test_a_flush_ends_all_choice_on_its_device_only() -> None:
    recorder = Recorder()
    one, other = recorder.device(filled("a"), "one"), recorder.device(filled("a"), "other")
    one.write_at(0, filled("b"))
    other.write_at(0, filled("c"))
    one.flush()
    assert left(last_moment(recorder)) == ["b a", "b c"]


def test_a_write_that_comes_during_a_flush_is_not_made_durable_by_it() -> None:
    disk = VolatileDisk(filled("a"))
    disk.write(0, filled("b"), 1)
    disk.write(0, filled("c"), 3)
    disk.settle(2)
    assert disk.contents(0) == (filled("b"), filled("c"))


def test_a_discard_leaves_zeros_or_what_was_there_even_after_a_flush() -> None:
    recorder = Recorder()
    device = recorder.device(filled("a"), "disk")
    device.discard(0, SECTOR)
    device.flush()
    assert left(last_moment(recorder)) == ["\0", "a"]
    device.write_at(0, filled("b"))
    device.flush()
    assert left(last_moment(recorder)) == ["b"]


def test_writing_what_is_there_leaves_no_choice() -> None:
    recorder = Recorder()
    device = recorder.device(filled("a"), "disk")
    device.write_at(0, filled("a"))
    assert left(last_moment(recorder)) == ["a"]


def random_timeline(seed: int) -> Timeline:
    """Two devices of three sectors and a dozen requests, a mark among them."""
    rng = random.Random(seed)
    recorder = Recorder()
    devices = [recorder.device(filled("a", SECTORS), name) for name in ("one", "other")]
    for step in range(rng.randint(3, 12)):
        device, first = rng.choice(devices), rng.randrange(SECTORS)
        length = rng.randint(1, SECTORS - first)
        match rng.randrange(6):
            case 0:
                device.flush()
            case 1:
                device.discard(first * SECTOR, length * SECTOR)
            case 2:
                recorder.mark(step, narrows=rng.random() < 0.5)
            case _:
                device.write_at(first * SECTOR, filled(rng.choice("abcd"), length))
    return recorder.timeline()


def by_definition(timeline: Timeline, number: int) -> set[Contents]:
    """What a crash after ``number`` events leaves, told from the record alone."""
    events = list(enumerate(timeline.events[:number]))
    disks = []
    for disk, initial in enumerate(timeline.initial):
        durable = max(
            (event.begun for _, event in events if isinstance(event, FlushEnded) and event.disk == disk), default=0
        )
        sectors = []
        for sector in range(SECTORS):
            held = [initial[sector * SECTOR :][:SECTOR]]
            for at, event in events:
                if not isinstance(event, Change) or event.disk != disk:
                    continue
                inside = sector * SECTOR - event.offset
                if not 0 <= inside < len(event.data):
                    continue
                if at < durable and event.sure:
                    held.clear()
                held.append(event.data[inside : inside + SECTOR])
            sectors.append(set(held))
        disks.append({b"".join(whole) for whole in product(*sectors)})
    return set(product(*disks))


@pytest.mark.parametrize("seed", range(30))
def test_every_image_is_found_when_it_is_new_and_none_twice(seed: int) -> None:
    timeline = random_timeline(seed)
    known: set[Contents] = set()
    for moment in moments(timeline):
        legal = by_definition(timeline, moment.number)
        expected = legal if moment.anew else legal - known
        found = (
            [tuple(map(bytes, image.contents())) for image in every_image(moment)]
            if moment.anew or moment.fresh
            else []
        )
        assert len(found) == len(set(found))
        if moment.anew or moment.fresh:
            assert count_images(moment) == len(found)
        # what was there before the last flush ended may come back as new: it is judged again, no harm done
        assert expected <= set(found) <= legal, moment.number
        known = legal


@pytest.mark.parametrize("seed", range(10))
def test_samples_are_legal_and_new_and_the_same_for_a_seed(seed: int) -> None:
    timeline = random_timeline(seed)
    for moment in moments(timeline):
        if not (moment.anew or moment.fresh):
            continue
        new = {tuple(map(bytes, image.contents())) for image in every_image(moment)}
        samples = [
            [tuple(map(bytes, image.contents())) for image in sampled_images(moment, 40, random.Random(seed))]
            for _ in range(2)
        ]
        assert samples[0] == samples[1]
        assert set(samples[0]) <= new
        assert len(set(samples[0])) == len(samples[0])


def test_few_images_are_all_looked_at_and_many_are_sampled() -> None:
    recorder = Recorder()
    device = recorder.device(filled("a", 40), "disk")
    device.write_at(0, filled("b", 3))
    device.flush()
    device.write_at(0, filled("c", 30))
    found = list(crashes(recorder.timeline(), Limits(every=8, draws=20), seed=3))
    assert [crash.drawn for crash in found[:8]] == [False] * 8
    assert 10 < sum(crash.drawn for crash in found) <= 20
