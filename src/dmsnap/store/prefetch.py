"""How far ahead of the area being read the next ones are asked for.

A policy sees, area by area, whether the loader had to wait, and says how many reads may be under way or waiting to be
used. The result of loading is the same for each policy; only the time differs.
"""

from __future__ import annotations

import math
from typing import Protocol

from dmsnap.errors import DmsnapError

__all__ = ["AutoPrefetch", "BadPrefetch", "FixedPrefetch", "PrefetchPolicy", "prefetch_policy"]

KERNEL_DEPTH = 12
"""Linux since 3.14 prefetches 12 areas ahead, "found to provide the best performance on a single 15k SCSI spindle"."""
MAX_DEPTH = 65536
MEMORY_BYTES = 64 << 20
"""Bound on what may be read ahead at once, whatever the policy and the chunk size."""


class BadPrefetch(DmsnapError, ValueError):
    """A prefetch policy that does not exist."""


class PrefetchPolicy(Protocol):
    """Decides how many blocks to ask for, and when to decide again."""

    def ask(self, used: int, ahead: int, waited: bool, now: float) -> int:
        """Returns how many more blocks to ask for now.

        Args:
            used: Blocks used so far.
            ahead: Blocks asked for and not used yet.
            waited: Whether the next block was not there yet when it was wanted last.
            now: Seconds on the device's clock.
        """
        ...

    def use(self, ahead: int) -> int:
        """Returns how many of the ``ahead`` blocks to use before asking again."""
        ...


class FixedPrefetch:
    """Always the same depth: 0 reads one block after another, 12 is what Linux does (one more for each one used)."""

    def __init__(self, depth: int) -> None:
        self._window = depth + 1 if depth else 0

    def ask(self, used: int, ahead: int, waited: bool, now: float) -> int:  # noqa: ARG002
        """Tops the window up to ``depth`` blocks besides the next one."""
        return self._window - ahead

    def use(self, ahead: int) -> int:  # noqa: ARG002
        """One."""
        return 1


class AutoPrefetch:
    """Finds the depth that the device rewards, from the first load on.

    It times the device: how long does a whole window of blocks take? While a larger one takes no longer, reads run side
    by side, and the window grows, fourfold as long as none seems to queue. Where it takes half as long again as the
    quickest did, reads queue up. Then three times what the device has under way in that quickest time keep it busy, and
    more would only be read in vain behind the end of the store; but an eighth of what was used, up to `STEADY`, is
    always allowed, because a disk finds a better order in a longer queue. The numbers were chosen on all the modelled
    drives (`dmsnap.block.model`) and on delays of 0.1 to 50 ms: see docs/prefetch.md.

    Where a block takes ten times as long as it did then, what was timed was something else, a cache say, and the timing
    begins anew. Where the loader never waits, the window grows with what was used, up to `CALM`. Blocks are asked for
    and used half a window at a time: that costs a fraction of doing so one by one.
    """

    LEAST = 24
    CALM = 64
    STEADY = 96
    MOST = 1024

    _SIDE_BY_SIDE = 1.2
    _QUEUED = 1.5
    _BUSY = 3
    _OTHER_DEVICE = 10

    def __init__(self) -> None:
        self._window = self.LEAST
        self._waited = False
        self._since_used, self._since_seconds = 0, math.nan
        self._quickest = self._each = math.inf  # seconds of a window, and then of each block in it

    def ask(self, used: int, ahead: int, waited: bool, now: float) -> int:
        """Fills the window once half of it is used; looks at its size each time that all of it was."""
        self._waited = self._waited or waited
        turned = used - self._since_used
        if turned <= 0:
            self._since_seconds = now
        elif turned >= self._window:
            self._resize(used, (now - self._since_seconds) * self._window / turned)
            # What a larger window has asked for is used up before the next one is timed.
            self._since_used = used + (ahead if ahead > self._window else 0)
            self._since_seconds, self._waited = now, False
        return self._window - ahead if ahead <= self._window // 2 else 0

    def use(self, ahead: int) -> int:
        """Half a window."""
        return ahead - self._window // 2

    def _resize(self, used: int, seconds: float) -> None:
        """Chooses a window, the last one having taken so long."""
        window = self._window
        if not self._waited:
            self._window = max(window, min(used, self.CALM))
            return
        if not seconds > 0:  # a clock that stands still tells nothing
            return
        if seconds / window > self._OTHER_DEVICE * self._each:  # what was timed was a cache before it, say
            self._quickest = math.inf
        quickest = self._quickest
        if seconds < quickest:
            self._quickest, self._each = seconds, seconds / window
        if seconds <= quickest * self._SIDE_BY_SIDE:
            self._window = min(window * (2 if quickest == math.inf else 4), self.MOST)
        elif seconds <= quickest * self._QUEUED:
            self._window = min(window * 2, self.MOST)
        else:
            under_way = int(window * quickest / seconds)
            self._window = max(self.LEAST, self._BUSY * under_way, min(used // 8, self.STEADY))


def prefetch_policy(name: str | int) -> PrefetchPolicy:
    """Makes the policy for ``"auto"``, ``"kernel"`` or a fixed number of areas ahead (0 to 65536).

    Raises:
        BadPrefetch: Anything else.
    """
    if name == "auto":
        return AutoPrefetch()
    if name == "kernel":
        return FixedPrefetch(KERNEL_DEPTH)
    try:
        depth = int(name)
    except ValueError:
        depth = -1
    if not 0 <= depth <= MAX_DEPTH:
        raise BadPrefetch(f"no prefetch policy {name!r}", hint=f"use auto, kernel, or 0 to {MAX_DEPTH} areas")
    return FixedPrefetch(depth)
