"""A rate is kept, and evenly."""

from __future__ import annotations

import pytest

from dmsnap.library.pace import Pace


class Clock:
    """Time that passes only where somebody waits or works."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds


def test_without_a_rate_nothing_waits() -> None:
    clock = Clock()
    pace = Pace(None, 1 << 20, now=clock.now, wait=clock.wait)
    pace.copied(1 << 40)
    assert pace.step_bytes == 1 << 20
    assert clock.waits == []


def test_steps_are_a_tenth_of_a_second_long_and_no_longer_than_they_may_be() -> None:
    assert Pace(1 << 20, 1 << 30).step_bytes == (1 << 20) // 10
    assert Pace(1 << 40, 1 << 20).step_bytes == 1 << 20
    assert Pace(1, 1 << 20).step_bytes == 1


@pytest.mark.parametrize("work_seconds", [0.0, 0.05, 0.09])
def test_the_rate_is_kept_however_long_the_work_takes(work_seconds: float) -> None:
    clock = Clock()
    pace = Pace(1000, 1 << 20, now=clock.now, wait=clock.wait)
    for _ in range(50):
        clock.seconds += work_seconds
        pace.copied(pace.step_bytes)
    assert clock.seconds - 100 == pytest.approx(5.0, abs=0.25)
    assert max(clock.waits) <= 0.1 + 1e-9


def test_a_pause_is_not_caught_up_with_in_a_rush() -> None:
    clock = Clock()
    pace = Pace(1000, 1 << 20, now=clock.now, wait=clock.wait)
    clock.seconds += 3600
    start = clock.seconds
    for _ in range(10):
        pace.copied(100)
    assert clock.seconds - start == pytest.approx(0.8)
