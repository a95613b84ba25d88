"""Many started reads seen as one."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dmsnap.block.completion import COMPLETED, Completion

__all__ = ["joint"]


def joint(parts: Sequence[Completion]) -> Completion:
    """Returns a completion that is done when every part is, with the error of the first part that has one.

    Args:
        parts: Started reads; when all are done already, nothing is allocated.
    """
    waiting = [part for part in parts if not part.done]
    if not waiting:
        return next((part for part in parts if part.error is not None), COMPLETED)
    whole = Completion()
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
