"""Many started reads seen as one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from itertools import count

from dmsnap.block.completion import COMPLETED, Completion

__all__ = ["joint"]


class _Joint(Completion):
    """Done when all parts are. It leaves them alone until somebody waits, polls or asks to be called back.

    Who waits does so at the parts: time may be simulated, and pass only there, or a part wait to be collected.
    """

    __slots__ = ("_parts", "_unfinished", "_watched")

    def __init__(self, parts: Sequence[Completion]) -> None:
        super().__init__()
        self._parts = parts
        self._unfinished = [True]  # who takes it out finishes it
        self._watched = False

    @property
    def collectable(self) -> bool:
        return all(part.collectable or part.done for part in self._parts)

    def wait(self) -> None:
        for part in self._parts:
            with contextlib.suppress(Exception):  # the first error is told below
                part.wait()
        self._end()
        super().wait()

    def poll(self) -> bool:
        if not self.done:
            done = [part.poll() for part in self._parts]  # each of them, so that what is there is collected
            if all(done):
                self._end()
        return self.done

    def add_done_callback(self, callback: Callable[[Completion], None]) -> None:
        super().add_done_callback(callback)
        if self.done or self._watched:
            return
        self._watched = True
        arrivals = count(1)

        def arrived(_: Completion) -> None:
            if next(arrivals) == len(self._parts):
                self._end()

        for part in self._parts:
            part.add_done_callback(arrived)

    def _end(self) -> None:
        """Finishes it, once, when all parts are done."""
        try:
            self._unfinished.pop()
        except IndexError:
            return
        self.finish(next((part.error for part in self._parts if part.error is not None), None))


def joint(parts: Sequence[Completion]) -> Completion:
    """Returns a completion that is done when every part is, with the error of the first part that has one.

    Args:
        parts: Started reads; when all are done already, nothing is allocated.
    """
    if all(part.done for part in parts):
        return next((part for part in parts if part.error is not None), COMPLETED)
    return parts[0] if len(parts) == 1 else _Joint(parts)
