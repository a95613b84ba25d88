"""How fast copying may be: so many bytes a second, spread evenly."""

from __future__ import annotations

import time
from collections.abc import Callable

from dmsnap.errors import DmsnapError

__all__ = ["BadRate", "Pace"]

_STEPS_A_SECOND = 10
_BURST_SECONDS = 0.2
"""Time that was lost is caught up with only this far, so that a pause is not followed by a rush."""


class BadRate(DmsnapError, ValueError):
    """A rate at which nothing would ever be done."""


class Pace:
    """Waits so that no more than a rate is copied.

    Args:
        rate_bytes: The most bytes a second; None for no limit.
        most_bytes: The most bytes that are to be copied in one step.
        now: The clock, in seconds.
        wait: Waits for so many seconds.

    Attributes:
        step_bytes: How much to copy between two calls of `copied`.

    Raises:
        BadRate: Less than one byte a second.
    """

    def __init__(
        self,
        rate_bytes: int | None,
        most_bytes: int,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        if rate_bytes is not None and rate_bytes < 1:
            raise BadRate(f"{rate_bytes} bytes a second is no rate", hint="leave it out for no limit")
        self.step_bytes = most_bytes if rate_bytes is None else min(most_bytes, max(1, rate_bytes // _STEPS_A_SECOND))
        self._rate_bytes = rate_bytes
        self._now = now
        self._wait = wait
        self._due = now()

    def copied(self, length_bytes: int) -> None:
        """Waits until so many bytes more are due."""
        if self._rate_bytes is None:
            return
        now = self._now()
        self._due = max(self._due, now - _BURST_SECONDS) + length_bytes / self._rate_bytes
        if self._due > now:
            self._wait(self._due - now)
