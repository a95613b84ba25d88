"""How long the arm takes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dmsnap.block.model.seek import fitted_seeks, measured_seeks


def test_measured_times_lie_on_lines_between_the_points() -> None:
    seeks = measured_seeks([(1, 1.0), (3, 2.0), (7, 6.0)], cylinders=10)
    assert [1000 * seconds for seconds in seeks] == pytest.approx([0, 1, 1.5, 2, 3, 4, 5, 6, 7, 8])


def test_a_fitted_curve_has_the_published_times() -> None:
    cylinders = 2000
    seeks = fitted_seeks(0.5, 8.0, 17.0, cylinders)
    pairs = [(cylinders - distance, seconds) for distance, seconds in enumerate(seeks) if distance]
    average = sum(count * seconds for count, seconds in pairs) / sum(count for count, _ in pairs)
    assert len(seeks) == cylinders
    assert seeks[0] == 0
    assert seeks[1] == pytest.approx(0.0005)
    assert average == pytest.approx(0.008)
    assert seeks[-1] == pytest.approx(0.017)


def test_farther_takes_longer_and_short_seeks_are_dear() -> None:
    seeks = fitted_seeks(0.5, 8.0, 17.0, 2000)
    assert all(after >= before for before, after in pairwise(seeks))
    assert seeks[100] > seeks[-1] / 10
