"""Memory that is lent for as long as a system call takes to copy from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

try:
    import resource
except ImportError:  # not a Unix: there are no loans either
    resource = None  # type: ignore[assignment]

__all__ = ["Loan"]


class Loan:
    """Memory that holds ranges of a device; it may be a mapped file.

    **Only for system calls.** Where the medium fails, or the file was cut short, a system call answers EFAULT; a
    program that touches the memory itself is killed (SIGBUS). It is the device, not a copy: what is written to the
    device meanwhile may be seen.

    Args:
        views: For each range, the memory it lies in, piece by piece.
        in_vain: Called at the end if a page had to be read from the medium meanwhile; or by the borrower, if the memory
            could not be read.

    Attributes:
        views: As given.
        in_vain: As given.
        on_end: Called at the end too.
    """

    __slots__ = ("_faults", "in_vain", "on_end", "views")

    def __init__(self, views: Sequence[Sequence[memoryview]], in_vain: Callable[[], None]) -> None:
        self.views = views
        self.on_end: Callable[[], None] | None = None
        self.in_vain = in_vain
        self._faults = _major_faults()

    def end(self) -> None:
        """Gives the memory back; by the thread that borrowed it, once."""
        self.views = ()
        if _major_faults() != self._faults:
            self.in_vain()
        if self.on_end is not None:
            self.on_end()


def _major_faults() -> int:
    """How many pages this thread has waited for (``ru_majflt``, getrusage(2))."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
