"""Choices from a seed, the same in every Python: all derive from ``random()``, whose sequence does not change."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

__all__ = ["Dice"]

T = TypeVar("T")


class Dice:
    """Choices that ``seed`` decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # noqa: S311 - the same choices each time

    def below(self, limit: int) -> int:
        """Returns a number from 0 to ``limit - 1``."""
        return int(self._random() * limit)

    def between(self, first: int, last: int) -> int:
        """Returns a number from ``first`` to ``last``, or ``first`` if there is none."""
        return first + self.below(max(1, last - first + 1))

    def chance(self, probability: float) -> bool:
        """Returns True as often as ``probability`` says."""
        return self._random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """Returns one of ``choices``."""
        return choices[self.below(len(choices))]

    def weighted(self, weights: Mapping[T, int]) -> T:
        """Returns a key, each as often as its weight says."""
        left = self.below(sum(weights.values()))
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        raise AssertionError("weights are positive")
