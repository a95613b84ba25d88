"""Many started reads seen as one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

from dmsnap.block.completion import COMPLETED, Completion

__all__ = ["joint"]


class _Joint(Completion):
    """Waits at the parts: time may be simulated, and pass only there."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Completion]) -> None:
        super().__init__()
        self._parts = parts

    def wait(self) -> None:
        for part in self._parts:
            if not part.done:
                with contextlib.suppress(Exception):  # the first error is told below
                    part.wait()
        super().wait()


def joint(parts: Sequence[Completion]) -> Completion:
    """Returns a completion that is done when every part is, with the error of the first part that has one.

    Args:
        parts: Started reads; when all are done already, nothing is allocated.
    """
    waiting = [part for part in parts if not part.done]
    if not waiting:
        return next((part for part in parts if part.error is not None), COMPLETED)
    whole = _Joint(waiting)
    lock = threading.Lock()
    left = len(waiting)

    def arrived(_: Completion) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            whole.finish(next((part.error for part in parts if part.error is not None), None))

    for part in waiting:
        part.add_done_callback(arrived)
    return whole
