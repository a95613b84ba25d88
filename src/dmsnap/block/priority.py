"""The I/O priority of reads: which of many waiting ones the operating system's scheduler takes first.

On Linux a priority belongs to the thread that asks (ioprio_set(2), since 2.6.13), so it is set for the length of a
`with` and put back after. Only some I/O schedulers (BFQ, mq-deadline) look at it. Where it cannot be set, on another
system or without the right to, reads go on with the priority they had: it is a wish, never a condition.
"""

from __future__ import annotations

import ctypes
import enum
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from dmsnap.block.contract import BadRequest

__all__ = [
    "IOClass",
    "IOPriority",
    "asked_io_priority",
    "inherit_io_priority",
    "io_priority",
    "own_io_priority",
    "thread_io_priority",
]

_LEVELS = 8
_CLASS_SHIFT = 13  # linux/ioprio.h
_LEVEL_MASK = (1 << 3) - 1
_THIS_THREAD = 1, 0  # IOPRIO_WHO_PROCESS, the calling thread

_NUMBERS = {
    "x86_64": (251, 252),
    "aarch64": (30, 31),
    "riscv64": (30, 31),
    "loongarch64": (30, 31),
    "ppc64le": (273, 274),
    "s390x": (282, 283),
}
"""Numbers of the system calls ioprio_set and ioprio_get by machine; the C library has no names for them."""


class IOClass(enum.IntEnum):
    """The class of a priority, as the kernel numbers them."""

    NONE = 0
    REALTIME = 1
    BEST_EFFORT = 2
    IDLE = 3


class IOPriority(NamedTuple):
    """A priority.

    Attributes:
        kind: `IOClass.REALTIME` goes first and needs a right (CAP_SYS_ADMIN or CAP_SYS_NICE), `IOClass.IDLE` last.
        level: Within the class, from 0 (first) to 7; without meaning in `IOClass.IDLE` and `IOClass.NONE`.
    """

    kind: IOClass
    level: int = 4


class _Asked(threading.local):
    """What this thread asks for with `io_priority`, for whoever reads on its behalf."""

    priority: IOPriority | None = None
    outside: int | None = None


_asked = _Asked()


def asked_io_priority() -> IOPriority | None:
    """Returns the priority that this thread's innermost `io_priority` asks for, or None outside of one.

    For devices that hand reads to threads of their own.
    """
    return _asked.priority


@contextmanager
def io_priority(priority: IOPriority | None) -> Iterator[None]:
    """Gives the reads of this thread a priority: those that wait, and those that are started and finish later.

    Args:
        priority: None changes nothing.

    Raises:
        BadRequest: A level outside 0-7.
    """
    if priority is None:
        yield
        return
    if not 0 <= priority.level < _LEVELS:
        raise BadRequest(f"no I/O priority has level {priority.level}", hint=f"use 0 (first) to {_LEVELS - 1}")
    outer, before = _asked.priority, _get()
    if outer is None:
        _asked.outside = before
    _asked.priority = priority
    _set(priority.kind << _CLASS_SHIFT | priority.level)
    try:
        yield
    finally:
        _asked.priority = outer
        _set(before)


def own_io_priority() -> int | None:
    """Returns this thread's priority outside of every `io_priority`, for `inherit_io_priority`."""
    return _get() if _asked.priority is None else _asked.outside


def inherit_io_priority(own: int | None) -> None:
    """Gives this thread the priority that its maker has of its own: a new thread begins with what is asked for now."""
    _set(own)


def thread_io_priority() -> IOPriority | None:
    """Returns the priority that the operating system has for this thread; None where it does not say."""
    value = _get()
    return None if value is None else IOPriority(IOClass(value >> _CLASS_SHIFT & 3), value & _LEVEL_MASK)


@cache
def _system_calls() -> tuple[ctypes._NamedFuncPointer, int, int] | None:
    if sys.platform != "linux" or platform.machine() not in _NUMBERS or sys.maxsize < 1 << 32:
        return None
    try:
        return (ctypes.CDLL(None, use_errno=True).syscall, *_NUMBERS[platform.machine()])
    except (OSError, AttributeError):
        return None


def _get() -> int | None:
    if (calls := _system_calls()) is None:
        return None
    value = calls[0](ctypes.c_long(calls[2]), *_THIS_THREAD)
    return None if value < 0 else int(value)


def _set(value: int | None) -> None:
    if value is not None and (calls := _system_calls()) is not None:
        # Of no class there is no level to be set, though older kernels tell one.
        calls[0](ctypes.c_long(calls[1]), *_THIS_THREAD, value if value >> _CLASS_SHIFT else 0)
