"""Memory that is lent for as long as a system call takes to copy from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

try:
    import resource
except ImportError:  # not a Unix: there are no loans either
    resource = None  # type: ignore[assignment]

__all__ = ["Loan"]


class InVain(Protocol):
    """What hears of memory that was not as it seemed."""

    def __call__(self, *, unreadable: bool) -> None: ...


class Loan:
    """Memory that holds ranges of a device; it may be a mapped file.

    **Only for system calls.** Where the medium fails, or the file was cut short, a system call answers EFAULT; a
    program that touches the memory itself is killed (SIGBUS). It is the device, not a copy: what is written to the
    device meanwhile may be seen, and who overwrites an origin waits for its snapshots' loans: let it be short.

    Args:
        views: For each range, the memory it lies in, piece by piece.
        in_vain: Called if a page had to be read from the medium meanwhile, or could not be.

    Attributes:
        views: As given.
        on_end: Called at the end.
    """

    __slots__ = ("_faults", "_in_vain", "on_end", "views")

    def __init__(self, views: Sequence[Sequence[memoryview]], in_vain: InVain) -> None:
        self.views = views
        self.on_end: Callable[[], None] | None = None
        self._in_vain = in_vain
        self._faults = _major_faults()

    def end(self, *, unreadable: bool = False) -> None:
        """Gives the memory back; by the thread that borrowed it, once.

        Args:
            unreadable: A system call said so.
        """
        self.views = ()
        if unreadable or _major_faults() != self._faults:
            self._in_vain(unreadable=unreadable)
        if self.on_end is not None:
            self.on_end()


def _major_faults() -> int:
    """How many pages this thread has waited for (``ru_majflt``, getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
