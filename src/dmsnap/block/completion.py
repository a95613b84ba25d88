"""The outcome of a read that was started and may finish later."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

__all__ = ["COMPLETED", "Completion", "finish_all"]

_transition = threading.RLock()  # the collector of garbage may end a device, and its reads, anywhere


class Completion:
    """One started read: pending until `finish` is called once, from any thread.

    The buffer given to the device must not be touched by the caller until the completion is done. Completions are
    cheap when nothing has to wait: no lock or event is made until somebody calls `wait` or `add_done_callback` on a
    pending one. `done` may lag behind until one of these, or `poll`, is called.
    """

    __slots__ = ("__weakref__", "_callbacks", "done", "error")

    @property
    def collectable(self) -> bool:
        """Whether it is for those who wait to make it done: `wait` and `poll` do so without another thread."""
        return False

    def __init__(self) -> None:
        self.done = False
        self.error: Exception | None = None
        self._callbacks: list[Callable[[Completion], None]] | None = None

    @classmethod
    def failed(cls, error: Exception) -> Completion:
        """Returns a completion that is already done, with an error."""
        completion = cls()
        completion.error = error
        completion.done = True
        return completion

    def finish(self, error: Exception | None = None) -> None:
        """Marks the read as done and runs the callbacks in this thread. Called by the device, exactly once."""
        with _transition:
            self.error = error
            self.done = True
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback(self)

    def add_done_callback(self, callback: Callable[[Completion], None]) -> None:
        """Calls ``callback(self)`` once done: at once, in this thread, when it already is.

        A callback runs in the thread that completed the read and must neither block nor raise.
        """
        if not self.done:
            with _transition:
                if not self.done:
                    if self._callbacks is None:
                        self._callbacks = []
                    self._callbacks.append(callback)
                    return
        callback(self)

    def poll(self) -> bool:
        """Returns whether the read is done; one that has only to be collected is, if that needs no waiting."""
        return self.done

    def wait(self) -> None:
        """Waits until the read is done.

        Raises:
            Exception: The error of the read, if it failed (an `IOFailed` from a device).
        """
        if not self.done:
            arrived = threading.Lock()
            arrived.acquire()
            self.add_done_callback(lambda _: arrived.release())
            arrived.acquire()
        if self.error is not None:
            raise self.error


COMPLETED = Completion()
"""A shared completion that is done and succeeded: what a device returns when it had the data at hand."""
COMPLETED.done = True


def finish_all(completions: Sequence[Completion], calls: list[Callable[[], None]]) -> None:
    """Marks many as done and succeeded at once. Their callbacks are added to ``calls``, which the caller has to call.

    Until it has returned it may be called again with the same, after an interrupt.
    """
    with _transition:
        for completion in completions:
            completion.done = True
            if completion._callbacks:
                calls += [partial(callback, completion) for callback in completion._callbacks]
                completion._callbacks = None
