"""How far ahead of the area being read the next ones are asked for.

A policy sees, area by area, whether the loader had to wait, and says how many reads may be under way or waiting to be
used. The result of loading is the same for each policy; only the time differs.
"""

from __future__ import annotations

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

    def ask(self, used: int, ahead: int, waited: bool) -> int:
        """Returns how many more blocks to ask for now.

        Args:
            used: Blocks used so far.
            ahead: Blocks asked for and not used yet.
            waited: Whether the next block was not there yet when it was wanted last.
        """
        ...

    def use(self, ahead: int) -> int:
        """Returns how many of the ``ahead`` blocks to use before asking again."""
        ...


class FixedPrefetch:
    """Always the same depth: 0 reads one block after another, 12 is what Linux does (one more for each one used)."""

    def __init__(self, depth: int) -> None:
        self._window = depth + 1 if depth else 0

    def ask(self, used: int, ahead: int, waited: bool) -> int:  # noqa: ARG002
        """Tops the window up to ``depth`` blocks besides the next one."""
        return self._window - ahead

    def use(self, ahead: int) -> int:  # noqa: ARG002
        """One."""
        return 1


class AutoPrefetch:
    """Finds the depth that the device rewards.

    The window grows with what was used, so that a small store is never paid for with many useless reads, up to
    `CALM`; each time the loader has to wait it doubles, up to `MOST`. A device that answers at once never sees more
    than `CALM`; one with 5 ms a read has hundreds under way after a few of its round trips. Blocks are asked for and
    used half a window at a time: that costs a fraction of doing so one by one.
    """

    LEAST = 4
    CALM = 64
    MOST = 1024

    def __init__(self) -> None:
        self._window = self.LEAST

    def ask(self, used: int, ahead: int, waited: bool) -> int:
        """Fills the window once half of it is used, or at once when it grew because of a wait."""
        if waited and used:
            self._window = min(self._window * 2, self.MOST)
        elif self._window < self.CALM and self._window < used:
            self._window = min(used, self.CALM)
        return self._window - ahead if ahead <= self._window // 2 else 0

    def use(self, ahead: int) -> int:
        """Half a window."""
        return ahead - self._window // 2


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
