"""Files and block devices of the operating system.

A started read first asks the page cache, without waiting (``preadv2`` with ``RWF_NOWAIT``, Linux 4.14); what is not
there goes into a ring (`ring_reads`). Where the system has none, or for reads with a priority of their own, it is
announced, so that all of it is with the medium at once, and collected by whoever waits for it, or by a few threads.
Some filesystems refuse that flag (tmpfs and others answer EOPNOTSUPP); there a read is made at once as long as reads
come back as fast as memory does, and is given to the threads when they do not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from time import perf_counter
from weakref import WeakSet

from dmsnap.block.announced import AnnouncedRead
from dmsnap.block.cached_file import CachedFile
from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BlockDevice, Extent, ExtentKind, IOFailed, OutOfRoom, ReadRequest, WriteRequest
from dmsnap.block.extents import joined
from dmsnap.block.medium import logical_block_size, medium_size, open_medium, printable
from dmsnap.block.positioned import preadv, punch_hole, pwrite, pwrite_durably, pwritev, start_reading, start_writeback
from dmsnap.block.priority import asked_io_priority
from dmsnap.block.readers import ReaderThreads, StartedRead
from dmsnap.block.ring_reads import RingReads

__all__ = ["FileDevice"]

READ_THREADS = 16
"""Reads with the operating system at once: enough to keep a network filesystem or an SSD busy with 4 KiB reads."""

WAITED_SECONDS = 100e-6
MEMORY_SECONDS_PER_BYTE = 1e-9
"""A read that took longer than these two together waited for a medium."""

FIRST_TO_THREADS = 16
MOST_TO_THREADS = 1024
MOST_IN_VAIN = 16
MOST_TOGETHER = 256
"""After a read that waited, so many go to the threads before one is tried in place again; doubled each time."""

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_NO_NOWAIT = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}  # by filesystem, by emulated kernel, by kernel before 4.6

_datasync = getattr(os, "fdatasync", os.fsync)

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_HINTS = {
    errno.ENOSPC: "make room on the filesystem that holds it",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the filesystem that holds it allows no larger file",
    errno.EIO: "the medium is failing; see the system log",
}


class FileDevice(BlockDevice):
    """A regular (also sparse) file or a block device.

    A regular file is cut to whole sectors of 512 bytes, as the loop driver does. The size is asked of the operating
    system by `size_bytes`, and when a request lies beyond the last known one; requests inside cost nothing for it.

    Args:
        path: Of the file or block device; symbolic links are followed, as those in ``/dev/mapper`` must be.
        writable: Also open for writing; otherwise the descriptor itself cannot write.
        exclusive: Keep other writers away while the device is open, by advisory locks that programs like this one and
            QEMU respect. Where a filesystem has no locks, nobody is noticed. What only reads is neither noticed nor
            kept away, except by QEMU's own rules.
        flushed_later: What is written once and flushed at the end: the system is asked to begin with each write at
            once, so that the flush finds little left to do.

    Attributes:
        path: As given.

    Raises:
        CannotOpen: Missing, not permitted, or neither a file nor a block device.
        InUse: To be exclusive, and another writer has it, or (a block device) the kernel: mounted, for instance.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        writable: bool = False,
        exclusive: bool = False,
        flushed_later: bool = False,
    ) -> None:
        self.path = os.fspath(path)
        self.name = printable(self.path)
        self.read_only = not writable
        self._flushed_later = flushed_later
        self._fd = open_medium(self.path, writable=writable, exclusive=exclusive)
        self.logical_block_size_bytes = logical_block_size(self._fd)
        self._file_bytes = 0
        self._lost_flushes = 0
        self._can_punch = writable
        self._nowait = _RWF_NOWAIT
        self._cached = CachedFile(self._fd)
        self._announced: WeakSet[AnnouncedRead] = WeakSet()
        self._in_vain = 0
        self._announced_to_threads = 0
        self._to_threads, self._next_to_threads = 0, FIRST_TO_THREADS
        self._ring = RingReads(self, self.name)
        self._readers = ReaderThreads(self._read_into, READ_THREADS, self.name)

    @property
    def file_bytes(self) -> int:
        """The exact size, with a last part that does not fill a sector (and that requests cannot reach)."""
        if not self.closed:
            try:
                self._file_bytes = max(self._file_bytes, medium_size(self._fd))
            except OSError as error:
                raise self._failed("find the end", 0, error) from error
        return self._file_bytes

    @property
    def size_bytes(self) -> int:
        return self.file_bytes & -self.logical_block_size_bytes

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_into(self, offset: int, view: memoryview) -> None:
        while True:
            try:
                got = preadv(self._fd, (view,), offset)
            except OSError as error:
                raise self._failed("read", offset, error) from error
            if got == len(view):
                return
            if not got:
                raise IOFailed(
                    f"{self.name}: ends at byte {offset}",
                    hint="it was cut short while it was open",
                    device=self.name,
                    offset_bytes=offset,
                )
            view = view[got:]
            offset += got

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        if not self._nowait:
            return self._start_by_speed(requests)
        completions: list[Completion] = []
        if self._ring.eager and asked_io_priority() is None:
            completions = self._ring.start(self._fd, requests)
            if len(completions) == len(requests):
                return completions
            requests = requests[len(completions) :]
        missed: list[ReadRequest] = []
        places: list[int] = []
        fd, flags = self._fd, self._nowait
        rest: Sequence[ReadRequest] = ()
        for place, (offset, view) in enumerate(requests):
            try:
                got = preadv(fd, (view,), offset, flags)
            except BlockingIOError:
                got = 0
            except OSError as error:
                if error.errno in _NO_NOWAIT:
                    self._nowait = 0
                    rest = requests[place:]
                    break
                got = 0  # a true error: who reads it again meets it, and reports it
            if got != len(view):
                places.append(len(completions))
                missed.append((offset + got, view[got:]))
            completions.append(COMPLETED)
        if missed:
            for at, completion in zip(places, self._start_missed(missed), strict=True):
                completions[at] = completion
            self._ring.eager = 2 * len(missed) > len(requests)
        elif not rest:
            self._cached.found(len(requests))
        return completions + self._start_by_speed(rest) if rest else completions

    def _start_missed(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        """Starts what is not in the page cache: in the ring, or announced to who waits, or to threads."""
        self._cached.missed()
        to_threads = asked_io_priority() is not None
        completions = [] if to_threads else self._ring.start(self._fd, requests)
        waiting: list[StartedRead] = []
        since = perf_counter()
        for offset, view in requests[len(completions) :]:
            start_reading(self._fd, offset, len(view))
            if self._announced_to_threads or to_threads:
                completion = Completion()
                waiting.append((completion, offset, view))
            else:
                completion = AnnouncedRead(self, offset, view, since)
                self._announced.add(completion)
            completions.append(completion)
        if waiting:
            self._announced_to_threads = max(0, self._announced_to_threads - len(waiting))
            self._readers.start(waiting)
        return completions

    def _as_memory(self, stop: int) -> memoryview | None:
        return self._cached.memory(stop)

    def _lent_in_vain(self, *, unreadable: bool) -> None:
        if unreadable:
            self._cached.failed()
        self._cached.missed()

    def collect(self, offset: int, view: memoryview) -> None:
        """Reads for an `AnnouncedRead`."""
        self._read_into(offset, view)

    def collect_at_once(self, offset: int, view: memoryview) -> int:
        """Reads what the page cache has, for an `AnnouncedRead`, and returns how many bytes that is."""
        try:
            return preadv(self._fd, (view,), offset, self._nowait) if self._nowait else 0
        except OSError:
            return 0

    def hand_over(self, read: Completion, offset: int, view: memoryview) -> None:
        """Has a thread read for an `AnnouncedRead`."""
        self._readers.start(((read, offset, view),))

    def announced_in_vain(self) -> None:
        """Counts; after too many, reads are not left to those who wait: one at a time would be with the medium."""
        self._in_vain += 1
        if self._in_vain == MOST_IN_VAIN:
            self._in_vain = 0
            self._announced_to_threads = MOST_TO_THREADS

    def _start_by_speed(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        """Starts reads where the page cache cannot be asked: in place while that is as fast as memory."""
        completions: list[Completion] = []
        waiting: list[StartedRead] = []
        for offset, view in requests:
            if self._to_threads:
                self._to_threads -= 1
                completion = Completion()
                waiting.append((completion, offset, view))
            else:
                started = perf_counter()
                completion = COMPLETED
                try:
                    self._read_into(offset, view)
                except IOFailed as error:
                    completion = Completion.failed(error)
                if perf_counter() - started > WAITED_SECONDS + len(view) * MEMORY_SECONDS_PER_BYTE:
                    self._to_threads = self._next_to_threads
                    self._next_to_threads = min(2 * self._next_to_threads, MOST_TO_THREADS)
                else:
                    self._next_to_threads = FIRST_TO_THREADS
            completions.append(completion)
        if waiting:
            self._readers.start(waiting)
        return completions

    def _prefetch(self, offset: int, length: int) -> None:
        start_reading(self._fd, offset, length)

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write_at(self, offset: int, view: memoryview) -> None:
        begin = offset
        while view:
            try:
                done = pwrite(self._fd, view, offset)
            except OSError as error:
                raise self._failed("write", offset, error) from error
            view = view[done:]
            offset += done
        if self._flushed_later:
            start_writeback(self._fd, begin, offset - begin)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        while view:
            try:
                done = pwrite_durably(self._fd, view, offset)
            except OSError as error:
                self._lost_flushes += 1
                raise self._failed("write", offset, error) from error
            if done is None:
                super()._write_durably(offset, view)
                return
            view = view[done:]
            offset += done

    def _write_many(self, requests: Sequence[WriteRequest]) -> None:
        if self._flushed_later:
            super()._write_many(requests)
            return
        begin = end = -1
        together: list[memoryview] = []  # what goes on where the last one ended is one call
        for offset, view in requests:
            if offset == end and len(together) < MOST_TOGETHER:
                together.append(view)
                end += len(view)
                continue
            if together:
                self._write_together(begin, end, together)
            begin, end, together = offset, offset + len(view), [view]
        if together:
            self._write_together(begin, end, together)

    def _write_together(self, offset: int, end: int, views: list[memoryview]) -> None:
        try:
            done = pwrite(self._fd, views[0], offset) if len(views) == 1 else pwritev(self._fd, views, offset)
        except OSError as error:
            raise self._failed("write", offset, error) from error
        if done == end - offset:
            return
        for view in views:  # what is left
            if done < len(view):
                self._write_at(offset + done, view[done:])
            offset += len(view)
            done = max(0, done - len(view))

    def _zero(self, offset: int, length: int) -> None:
        if not self._punch("zero", offset, length):
            super()._zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        self._punch("discard", offset, length)

    def _punch(self, verb: str, offset: int, length: int) -> bool:
        if self._can_punch:
            try:
                self._can_punch = punch_hole(self._fd, offset, length)
            except OSError as error:
                raise self._failed(verb, offset, error) from error
        return self._can_punch

    @property
    def zeroes_quickly(self) -> bool:
        return self._can_punch

    def _flush(self) -> None:
        if self.read_only:
            return
        try:
            _datasync(self._fd)
        except OSError as error:
            self._lost_flushes += 1
            raise self._failed("flush", 0, error) from error

    # -- the rest -----------------------------------------------------------------------------------------------------

    @property
    def failed_flushes(self) -> int:
        return self._lost_flushes

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        if not hasattr(os, "SEEK_DATA"):
            return super()._extents(offset, length)
        return joined(self._pieces(offset, offset + length))

    def _pieces(self, position: int, end: int) -> Iterator[Extent]:
        """Yields holes and data in turn; a sector with any data is data."""
        block = self.logical_block_size_bytes
        while position < end:
            data = min(end, self._seek(position, os.SEEK_DATA, end) & -block)
            data = max(position, data)
            yield Extent(position, data - position, ExtentKind.HOLE)
            if data == end:
                return
            hole = min(end, (self._seek(data, os.SEEK_HOLE, end) + block - 1) & -block)
            position = max(data + block, hole)  # also where the file changes between the two questions
            yield Extent(data, position - data, ExtentKind.DATA)

    def _seek(self, position: int, whence: int, end: int) -> int:
        """Returns where data or a hole begins at or after ``position``; no data at all is ``end``."""
        try:
            return os.lseek(self._fd, position, whence)
        except OSError as error:
            if error.errno == errno.EINVAL:  # this filesystem, or a block device, does not know: all data
                return position if whence == os.SEEK_DATA else end
            if error.errno == errno.ENXIO and medium_size(self._fd) >= end:
                return end
            raise self._failed("look for data", position, error) from error

    def _close(self) -> None:
        self._ring.close()
        for read in list(self._announced):
            with suppress(IOFailed):  # for whoever waits for it
                read.wait()
        self._readers.close()
        self._cached.close()
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _failed(self, verb: str, offset: int, error: OSError) -> IOFailed:
        kind = OutOfRoom if error.errno in _NO_ROOM else IOFailed
        failure = kind(
            f"{self.name}: cannot {verb} at byte {offset}: {(error.strerror or str(error)).lower()}",
            hint=_HINTS.get(error.errno or 0, ""),
            device=self.name,
            offset_bytes=offset,
        )
        failure.errno = error.errno
        return failure
