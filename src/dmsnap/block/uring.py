"""A ring of reads with the kernel: io_uring(7), through the C library's ``syscall`` alone.

One system call hands any number of reads over, and the kernel puts them before the disk together: announced one by one
each would wake the disk (or a hypervisor) by itself. One call waits for any of them; what came is read from memory that
is shared with the kernel. A read that the page cache lacks costs so a third of one that is announced and collected.

The state of the ring is in that memory and nowhere else, so that an interrupt leaves none half changed: heads and tails
of the two queues count entries, modulo 2**32, and the tag of a read is its place in the queue of submissions.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache

__all__ = ["COUNT", "Ring", "open_ring"]

_SETUP, _ENTER = 425, 426  # the same numbers on every machine that Python runs on but Alpha
_ORDERED = platform.machine() in ("x86_64", "AMD64", "i686")
"""Memory is seen by others in the order in which it was written."""

# linux/io_uring.h
_PARAMS = struct.Struct("@10I8IQ8IQ")  # counts and flags, offsets in the submission ring, and in the completion ring
_SUBMISSION = struct.Struct("@BBHiQQIIQ")  # opcode, flags, priority, fd, offset, address, length, rw_flags, user_data
_SUBMISSION_BYTES = 64
_COMPLETION = struct.Struct("@QiI")  # user_data, result, flags
_RINGS_AT, _SUBMISSIONS_AT = 0, 0x10000000
_ENTER_GETEVENTS = 1 << 0
_SETUP_COOP_TASKRUN = 1 << 8  # since Linux 5.19: the thread that is computing is not interrupted for what arrives
_SETUP_TASKRUN_FLAG = 1 << 9
_SQ_TASKRUN = 1 << 2
_OP_READ = 22  # since Linux 5.6
_FEATURES = 1 << 0 | 1 << 1 | 1 << 9
"""What is relied on: one mapping for both rings, no completion dropped, and workers as threads of this process (Linux
5.12; before, the memory of rings was also limited by RLIMIT_MEMLOCK)."""

_MOST_BYTES = 1 << 30
"""Of one read: the kernel reads no more than 2 GiB at once, and a short one is continued."""

COUNT = (1 << 32) - 1
"""Heads, tails and tags are counts modulo one more than this."""


@cache
def _system_call() -> Callable[..., int]:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = [ctypes.c_long, *[ctypes.c_size_t] * 6]
    return call


def _called(number: int, *arguments: int) -> int:
    """Makes a system call.

    Raises:
        OSError: It failed.
    """
    result = _system_call()(number, *arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def open_ring(entries: int) -> Ring | None:
    """Returns a ring for so many reads at once, or None where the system has or allows none.

    Among the reasons: not Linux or before 5.12, ``kernel.io_uring_disabled``, a container's system call filter, no
    file descriptor or memory left.
    """
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return None
    for flags in (_SETUP_COOP_TASKRUN | _SETUP_TASKRUN_FLAG, 0):
        params = bytearray(_PARAMS.size)
        struct.pack_into("@I", params, 8, flags)
        try:
            fd = _called(_SETUP, entries, ctypes.addressof(ctypes.c_char.from_buffer(params)), 0, 0, 0, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                return None
        except (AttributeError, TypeError):  # a C library without it
            return None
        else:
            with suppress(OSError, ValueError, OverflowError):
                return Ring(fd, _PARAMS.unpack(params))
            os.close(fd)
            return None
    return None


class Ring:
    """The two queues that are shared with the kernel. The caller sees to it that one thread submits at a time, and that
    one takes; and that no more than `entries` reads are in flight.

    Args:
        fd: Of the ring, by io_uring_setup(2); `close` closes it.
        params: What that call filled in.

    Raises:
        OSError: It lacks a feature, or cannot be mapped; ``fd`` is open still.
    """

    def __init__(self, fd: int, params: tuple[int, ...]) -> None:
        entries, completions, features = params[0], params[1], params[5]
        if features & _FEATURES != _FEATURES:
            raise OSError(errno.ENOSYS, "this io_uring is too old")
        self.entries = entries
        self._fd = fd
        head, tail, mask, _, flags, _, array = params[10:17]
        completed_head, completed_tail, completed_mask, _, _, self._completions_at = params[19:25]
        size = max(array + 4 * entries, self._completions_at + completions * _COMPLETION.size)
        self._rings = mmap.mmap(fd, size & ~3, offset=_RINGS_AT)
        self._submissions = mmap.mmap(fd, entries * _SUBMISSION_BYTES, offset=_SUBMISSIONS_AT)
        words = self._words = memoryview(self._rings).cast("I")
        self._head, self._tail, self._flags = head // 4, tail // 4, flags // 4
        self._mask, self._completed_mask = words[mask // 4], words[completed_mask // 4]
        self._completed_head, self._completed_tail = completed_head // 4, completed_tail // 4
        for index in range(entries):
            words[array // 4 + index] = index
        self._fence_lock = threading.Lock()

    @property
    def end(self) -> int:
        """Where the queue of submissions ends, as the kernel sees it: the tag of the next read."""
        return self._words[self._tail]

    def fill(self, fd: int, reads: Sequence[tuple[int, memoryview]]) -> int:
        """Puts reads (byte offset, memory) into the queue, where the kernel does not see them yet.

        Returns:
            Where the queue ends with them, for `publish`.
        """
        memory, mask, place = self._submissions, self._mask, self._words[self._tail]
        pack, address, first = _SUBMISSION.pack_into, ctypes.addressof, ctypes.c_char.from_buffer
        for offset, view in reads:
            at = (place & mask) * _SUBMISSION_BYTES
            pack(memory, at, _OP_READ, 0, 0, fd, offset, address(first(view)), min(len(view), _MOST_BYTES), 0, place)
            place = place + 1 & COUNT
        self._fence()
        return place

    def publish(self, end: int) -> None:
        """Lets the kernel see the queue up to there: once it takes a read, it writes into the read's memory."""
        self._words[self._tail] = end

    def submit(self) -> None:
        """Hands the queue to the kernel, which has begun with all of it on return.

        Raises:
            OSError: It does not take all.
        """
        queued = self._words[self._tail] - self._words[self._head] & COUNT
        if _called(_ENTER, self._fd, queued, 0, 0, 0, 0) != queued:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def take_back(self) -> int:
        """Shortens the queue to what the kernel has taken of it, and returns by how many reads."""
        head, tail = self._words[self._head], self._words[self._tail]
        self._words[self._tail] = head
        return tail - head & COUNT

    @property
    def completed(self) -> int:
        """How many have ever arrived."""
        return self._words[self._completed_tail]

    @property
    def has_completions(self) -> bool:
        """Whether something has arrived."""
        return self._words[self._completed_head] != self._words[self._completed_tail]

    def look(self) -> bool:
        """Whether something has arrived, after what this thread has to do for it, and without waiting."""
        if not self.has_completions and self._words[self._flags] & _SQ_TASKRUN:
            with suppress(OSError):
                _called(_ENTER, self._fd, 0, 0, _ENTER_GETEVENTS, 0, 0)
        return self.has_completions

    def wait(self) -> None:
        """Waits until something has arrived, or a signal.

        Raises:
            OSError: The kernel does not let us wait.
        """
        try:
            _called(_ENTER, self._fd, 0, 1, _ENTER_GETEVENTS, 0, 0)
        except OSError as error:
            if error.errno != errno.EINTR:
                raise

    def completions(self) -> tuple[list[tuple[int, int, int]], int]:
        """Returns what has arrived, and where the queue ends, for `forget`; until then it is returned again.

        Each is a tag, a number of bytes or (negative) an error, and flags.
        """
        words, memory, base = self._words, self._rings, self._completions_at
        begin, tail = words[self._completed_head], words[self._completed_tail]
        self._fence()
        first = begin & self._completed_mask
        count = tail - begin & COUNT
        together = min(count, self._completed_mask + 1 - first)
        at = base + first * _COMPLETION.size
        arrived = list(_COMPLETION.iter_unpack(memory[at : at + together * _COMPLETION.size]))
        if together < count:  # from the front of the ring again
            arrived += _COMPLETION.iter_unpack(memory[base : base + (count - together) * _COMPLETION.size])
        return arrived, tail

    def forget(self, end: int) -> None:
        """Gives the queue of completions, up to there, back to the kernel."""
        self._fence()
        self._words[self._completed_head] = end

    def close(self) -> None:
        """Lets go of the ring, in which nothing may be in flight."""
        self._words.release()
        self._rings.close()
        self._submissions.close()
        os.close(self._fd)

    def _fence(self) -> None:
        """Orders what is read and written before it with what comes after: releasing a lock, then acquiring it, does
        on every machine where Python runs."""
        if not _ORDERED:
            for _ in range(2):
                with self._fence_lock:
                    pass
