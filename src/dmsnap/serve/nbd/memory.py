"""How much memory the requests of all clients may hold."""

from __future__ import annotations

import threading
from time import monotonic

__all__ = ["Budget"]


class Budget:
    """Bytes to share. What every connection has anyway (its two buffers) is not counted.

    Args:
        limit_bytes: For all together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._left = limit_bytes
        self._changed = threading.Condition()

    def take(self, size: int, seconds: float) -> None:
        """Takes ``size`` bytes, once they are free.

        Raises:
            MemoryError: They are not after ``seconds``.
        """
        with self._changed:
            until = monotonic() + seconds
            while self._left < size:
                if not self._changed.wait(until - monotonic()) and self._left < size:
                    raise MemoryError("no memory for requests is left")
            self._left -= size

    def try_take(self, size: int, *, anyway: bool = False) -> bool:
        """Takes ``size`` bytes if they are free, or ``anyway``; returns whether it did."""
        with self._changed:
            if self._left < size and not anyway:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Gives back."""
        with self._changed:
            self._left += size
            self._changed.notify_all()
