"""Waiting until it is time to stop: for a signal, or for another thread to say so."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Self

__all__ = ["StopSignals"]


class StopSignals:
    """While its ``with`` block runs, SIGTERM, SIGINT and SIGHUP end a wait; from `hold` on they interrupt nothing.

    A SIGHUP that was ignored before (under ``nohup``) stays ignored. Outside the main thread signals are not its
    concern, and only `stop` ends a wait.
    """

    def __enter__(self) -> Self:
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._before: dict[int, object] = {}
        self._held = False
        with contextlib.suppress(ValueError):  # not the main thread
            self._wakeup_before = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
            for name in ("SIGTERM", "SIGINT", "SIGHUP"):
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def hold(self) -> None:
        """From now on what runs is not interrupted, only a wait ends; before it is, as by Ctrl-C."""
        self._held = True

    def stop(self) -> None:
        """Ends the wait; from any thread."""
        with contextlib.suppress(OSError):  # full: it has been said often enough; closed: it is over
            self._waker.send(b"\0")

    def wait(self, seconds: float | None = None) -> bool:
        """Waits; returns whether it is time to stop, which is not forgotten."""
        ready, _, _ = select.select([self._woken], [], [], seconds)
        return bool(ready)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._before:
            signal.set_wakeup_fd(self._wakeup_before)
        self._woken.close()
        self._waker.close()

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        """The signal's number is written to the wake-up descriptor by then."""
        if not self._held:
            raise KeyboardInterrupt
