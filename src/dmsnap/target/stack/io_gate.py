"""The gate of a device: who is inside is waited for, and while it is shut nobody enters."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dmsnap.block.completion import Completion

__all__ = ["IOGate"]


class IOGate:
    """Requests in flight, for a device that is suspended and resumed (Linux ``dm_suspend``).

    Entering an open gate costs an object and an addition to a set, no lock: who enters is seen by who shuts, or sees
    that it is shut, since the one adds itself before it looks and the other shuts before it looks.
    """

    def __init__(self) -> None:
        self._inside: set[object] = set()
        self._shut = 0  # how many hold it shut
        self._changed = threading.Condition()
        self._put_off: list[Callable[[], None]] = []

    def enter(self) -> object:
        """Waits while the gate is shut; returns what `leave` takes."""
        token = object()
        self._inside.add(token)
        if self._shut:
            with self._changed:
                while self._shut:
                    self._inside.discard(token)
                    self._changed.notify_all()
                    self._changed.wait()
                    self._inside.add(token)
        return token

    def leave(self, token: object) -> None:
        """Says that a request is over. Also a callback of a `Completion` that entered by `stay`."""
        self._inside.discard(token)
        if self._shut:
            with self._changed:
                self._changed.notify_all()

    def stay(self, completion: Completion) -> None:
        """Keeps a started read inside until it is done; to be called from inside."""
        self._inside.add(completion)
        completion.add_done_callback(self.leave)

    @property
    def is_shut(self) -> bool:
        """Whether who enters now would have to wait."""
        return self._shut > 0

    def put_off(self, action: Callable[[], None]) -> bool:
        """Keeps an action for when the gate opens, in the thread that opens it; False where it is open now."""
        if not self._shut:
            return False
        with self._changed:
            if not self._shut:
                return False
            self._put_off.append(action)
            return True

    def shut(self) -> None:
        """Lets nobody in any more and waits until nobody is inside. Not to be called from inside.

        Interrupted while it waits, it opens again.
        """
        try:
            with self._changed:
                self._shut += 1
                while self._inside:
                    self._changed.wait()
        except BaseException:
            self.open()
            raise

    def open(self) -> None:
        """Undoes one `shut`; with the last one those that wait come in."""
        self._open(self._shut - 1)

    def open_for_good(self) -> None:
        """Undoes every `shut`."""
        self._open(0)

    def _open(self, shut: int) -> None:
        with self._changed:
            self._shut = shut
            if shut:
                return
            actions, self._put_off = self._put_off, []
            self._changed.notify_all()
        for action in actions:
            action()
