"""Reading what is on the medium, and not what the page cache has of it: for those who measure.

``O_DIRECT`` is put on the descriptor of a `FileDevice`. It wants offset, length and memory in multiples of the medium's
block, so each read goes through page-aligned memory of its thread. Where a filesystem has no such reads, the page cache
is told to forget each range before it is read, which is as good on a disk and no use on a filesystem in memory. What
lies below (a drive's cache, a controller's, a hypervisor's) is not bypassed by either.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import mmap
import os
import threading
from collections.abc import Sequence

from dmsnap.block.completion import Completion
from dmsnap.block.contract import IOFailed, ReadRequest
from dmsnap.block.file import FileDevice
from dmsnap.block.positioned import preadv
from dmsnap.block.readers import ReaderThreads, StartedRead

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

__all__ = ["CacheBypass", "DirectDevice"]

DIRECT_THREADS = 256
"""Reads with the operating system at once: what Linux queues for a disk before it makes callers wait (nr_requests)."""

MOST_AT_ONCE_BYTES = 1 << 20
ALIGNMENTS_BYTES = (512, 4096)
"""What a filesystem may want of direct reads: its disk's logical block size."""


class CacheBypass(enum.Enum):
    """How reads are kept from being answered by the page cache."""

    DIRECT = "direct"
    """They go past it (``O_DIRECT``)."""

    DROPPED = "dropped"
    """Each range is dropped from it first (``posix_fadvise``)."""

    NONE = "none"
    """They are not: this system has neither."""


class DirectDevice(FileDevice):
    """A file or block device that is only read, and past the page cache. Every started read goes to a thread.

    Args:
        path: As of `FileDevice`.

    Attributes:
        bypass: How that is done.

    Raises:
        CannotOpen: As `FileDevice`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._readers = ReaderThreads(self._read_into, DIRECT_THREADS, self.name)
        self._memory = threading.local()
        self._alignment_bytes = self._begin_direct_reads()
        self.bypass = CacheBypass.DIRECT if self._alignment_bytes else self._begin_dropping()

    def _begin_direct_reads(self) -> int:
        """Makes the descriptor's reads direct and returns what they must be aligned to; 0 where there are none."""
        flag = getattr(os, "O_DIRECT", 0)
        if fcntl is None or not flag:
            return 0
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags | flag)
        except OSError:  # as tmpfs before Linux 6.6
            return 0
        for alignment in ALIGNMENTS_BYTES:
            if alignment % self.logical_block_size_bytes == 0 and self._can_read(alignment):
                return alignment
        fcntl.fcntl(self._fd, fcntl.F_SETFL, flags)
        return 0

    def _can_read(self, alignment: int) -> bool:
        try:
            preadv(self._fd, (self._aligned(alignment),), 0)
        except OSError as error:
            return error.errno != errno.EINVAL  # of another failure the first real read tells
        return True

    def _begin_dropping(self) -> CacheBypass:
        if not hasattr(os, "posix_fadvise"):
            return CacheBypass.NONE
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead beside what is asked for
        return CacheBypass.DROPPED

    def _aligned(self, length: int) -> memoryview:
        """Page-aligned memory of this thread's own."""
        memory: memoryview | None = getattr(self._memory, "view", None)
        if memory is None or len(memory) < length:
            memory = self._memory.view = memoryview(mmap.mmap(-1, length))
        return memory[:length]

    def _read_into(self, offset: int, view: memoryview) -> None:
        if self.bypass is not CacheBypass.DIRECT:
            if self.bypass is CacheBypass.DROPPED:
                with contextlib.suppress(OSError):
                    os.posix_fadvise(self._fd, offset, len(view), os.POSIX_FADV_DONTNEED)
            super()._read_into(offset, view)
            return
        alignment = self._alignment_bytes
        while view:
            begin = offset & -alignment
            end = (offset + len(view) + alignment - 1) & -alignment
            memory = self._aligned(min(end - begin, MOST_AT_ONCE_BYTES))
            try:
                got = preadv(self._fd, (memory,), begin)
            except OSError as error:
                raise self._failed("read", offset, error) from error
            part = memory[offset - begin : got][: len(view)]
            if not part:
                raise IOFailed(
                    f"{self.name}: ends at byte {offset}",
                    hint="it was cut short while it was open",
                    device=self.name,
                    offset_bytes=offset,
                )
            view[: len(part)] = part
            view = view[len(part) :]
            offset += len(part)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        reads: list[StartedRead] = [(Completion(), offset, view) for offset, view in requests]
        self._readers.start(reads)
        return [completion for completion, _, _ in reads]

    def _prefetch(self, offset: int, length: int) -> None:
        """Nothing: it would be a read into the page cache."""
