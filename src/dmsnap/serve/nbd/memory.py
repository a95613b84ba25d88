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

    def give(self, size: int) -> None:
        """Gives back."""
        with self._changed:
            self._left += size
            self._changed.notify_all()
