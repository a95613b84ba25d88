"""Controller, units and link."""

from __future__ import annotations

from typing import Any

import pytest

from dmsnap.block.model import Command
from dmsnap.block.model.parallel import ParallelDrive

LATENCY = 0.001


def drive(**changes: Any) -> ParallelDrive:
    plain = {
        "capacity_bytes": 1 << 40,
        "queue_depth": 64,
        "max_iops": 1e9,
        "latency_seconds": LATENCY,
        "latency_spread": 0.0,
        "units": 0,
        "unit_bytes": 4096,
        "link_bytes_per_second": 1e12,
        "seed": 1,
    }
    return ParallelDrive(**{**plain, **changes})


def seconds(model: ParallelDrive, count: int, *, length: int = 4096, step: int = 4096) -> float:
    for number in range(count):
        model.submit(Command(number * step, length))
    while model.busy:
        model.run()
    return model.now


def test_commands_are_under_way_together() -> None:
    assert seconds(drive(), 64) == pytest.approx(LATENCY, rel=0.01)


def test_the_queue_bounds_how_many() -> None:
    assert seconds(drive(queue_depth=4), 64) == pytest.approx(16 * LATENCY, rel=0.01)


def test_the_controller_bounds_how_many_begin_in_a_second() -> None:
    assert seconds(drive(max_iops=1000), 50) == pytest.approx(50 / 1000 + LATENCY, rel=0.01)


def test_the_link_bounds_the_bytes() -> None:
    assert seconds(drive(link_bytes_per_second=1e6), 50) == pytest.approx(50 * 4096 / 1e6 + LATENCY, rel=0.01)


def test_commands_for_one_unit_wait_for_each_other() -> None:
    assert seconds(drive(units=8), 10, step=0) == pytest.approx(10 * LATENCY, rel=0.01)
    assert LATENCY * 64 / 8 < seconds(drive(units=8), 64) < LATENCY * 64 / 2


def test_latencies_spread_around_their_average() -> None:
    model = drive(latency_spread=0.5)
    times = []
    for _ in range(500):
        before = model.now
        model.submit(Command(0, 4096))
        model.run()
        times.append(model.now - before)
    assert 0.5 * LATENCY <= min(times) < 0.6 * LATENCY
    assert 1.4 * LATENCY < max(times) <= 1.51 * LATENCY
    assert sum(times) / len(times) == pytest.approx(LATENCY, rel=0.05)
