"""The block device contract: what everything that stores bytes looks like.

A device is a row of bytes, `size_bytes` long, addressed in multiples of `logical_block_size_bytes`. The public methods
check their arguments, so that out of range, misaligned and read-only use is the same clear error on every device; the
hooks behind them (``_read_into`` …) may take that for granted. A device may be used by many threads at once.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple, NoReturn, Self

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.failures import BadRequest, DeviceClosed, IOFailed, OutOfRoom, ReadOnlyDevice
from dmsnap.block.loan import Loan
from dmsnap.errors import DmsnapError

__all__ = [
    "SECTOR_BYTES",
    "BadRequest",
    "BlockDevice",
    "DeviceClosed",
    "Extent",
    "ExtentKind",
    "IOFailed",
    "OutOfRoom",
    "ReadOnlyDevice",
    "ReadRequest",
    "WriteRequest",
]

ReadRequest = tuple[int, memoryview]
"""Where to read, in bytes, and the writable memory (C-contiguous, one byte an item) to fill."""

WriteRequest = tuple[int, memoryview]
"""Where to write, in bytes, and what (C-contiguous, one byte an item)."""

SECTOR_BYTES = 512
"""The unit of every device-mapper number, whatever the logical block size of a device is."""


class ExtentKind(enum.Enum):
    """What a range holds: `DATA` has storage, `HOLE` has none and reads as zeros."""

    DATA = "data"
    HOLE = "hole"


class Extent(NamedTuple):
    """A range of a device.

    Attributes:
        offset: First byte.
        length: Bytes, never 0.
        kind: Data or hole.
        depth: Which layer answers, as in NBD's ``qemu:allocation-depth``: 1 the device itself, 2 what lies behind it
            (the origin of a snapshot), and so on.
    """

    offset: int
    length: int
    kind: ExtentKind
    depth: int = 1


class BlockDevice(ABC):
    """A block device. See the module for the contract; `dmsnap.testing` has a suite that every device must pass.

    Attributes:
        name: What to call the device in messages (a path, for instance).
        logical_block_size_bytes: Every offset and length is a multiple of this.
        read_only: Whether writes are refused.
        closed: Whether `close` was called; the attributes above stay readable, requests raise `DeviceClosed`.
    """

    name: str = "device"
    logical_block_size_bytes: int = SECTOR_BYTES
    read_only: bool = False
    closed: bool = False
    _failed_flushes: int = 0
    _checked_size_bytes: int = (
        0  # what `size_bytes` last said; devices only grow, so requests inside it need not ask again
    )

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """The size now; a multiple of the logical block size.

        It may grow while the device is open and never shrinks; a medium that was cut short underneath fails the reads
        of what is gone with `IOFailed`. Asking may cost a system call.
        """

    # -- reading ------------------------------------------------------------------------------------------------------

    def read_into(self, offset: int, buffer: memoryview | bytearray) -> None:
        """Fills ``buffer`` from byte ``offset``: all of it or an error, never short.

        Raises:
            BadRequest: Out of range or misaligned.
            DeviceClosed: The device was closed.
            IOFailed: The medium failed.
        """
        view = _as_bytes(buffer)
        self._check(offset, view.nbytes)
        if view.nbytes:
            self._read_into(offset, view)

    def read_at(self, offset: int, length: int) -> bytearray:
        """Reads ``length`` bytes from byte ``offset`` into new memory. Errors as `read_into`."""
        self._check(offset, length)
        data = bytearray(length)
        if length:
            self._read_into(offset, memoryview(data))
        return data

    def start_read(self, offset: int, buffer: memoryview) -> Completion:
        """Starts one read; see `start_reads`."""
        return self.start_reads(((offset, buffer),))[0]

    def start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        """Starts many reads and returns without waiting for the medium; they may finish in any order.

        What is already at hand (page cache, memory) is copied at once and its completion is done on return.

        Raises:
            BadRequest: A request is out of range or misaligned, or its memory is not a row of bytes; then none was
                started.
            DeviceClosed: The device was closed.
        """
        if self.closed:
            self._refuse_closed()
        mask = self.logical_block_size_bytes - 1
        size = self._checked_size_bytes
        empty = False
        for offset, view in requests:
            length = view.nbytes
            if offset < 0 or offset + length > size or (offset | length) & mask:
                self._check(offset, length)
                size = self._checked_size_bytes
            if view.itemsize != 1 or view.ndim != 1:
                raise BadRequest(f"{self.name}: memory for a started read is not a row of bytes", hint="use cast('B')")
            empty = empty or not length
        if not empty:
            return self._start_reads(requests)
        started = iter(self._start_reads([request for request in requests if request[1]]))
        return [next(started) if view else COMPLETED for _, view in requests]

    def lend(self, ranges: Sequence[tuple[int, int]]) -> Loan | None:
        """Lends memory that holds some ranges (offset, length), so that a system call takes it from there uncopied.

        Returns:
            None where there is no such memory, or it would have to be waited for: then `start_reads` is the way.

        Raises:
            BadRequest: A range lies outside the device, or is misaligned.
            DeviceClosed: The device was closed.
        """
        if self.closed:
            self._refuse_closed()
        mask, size = self.logical_block_size_bytes - 1, self._checked_size_bytes
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > size or (offset | length) & mask:
                self._check(offset, length)
                size = self._checked_size_bytes
        return self._lend(ranges)

    def prefetch(self, offset: int, length: int) -> None:
        """Says that a range is to be read soon, in whatever order: a hint, which a device may ignore.

        A device behind a cache begins to read it, in its own order, into that cache; nothing waits for it, and what
        fails is for the read itself to say. Errors otherwise as `read_into`.
        """
        self._check(offset, length)
        if length:
            self._prefetch(offset, length)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write_at(self, offset: int, data: bytes | bytearray | memoryview, *, fua: bool = False) -> None:
        """Writes all of ``data`` at byte ``offset``.

        Args:
            offset: Of the first byte.
            data: C-contiguous memory; not held on to.
            fua: "Force unit access": ``data`` is durable on return. Of other writes it says nothing. Without it a write
                is durable only after `flush`.

        Raises:
            BadRequest, DeviceClosed, ReadOnlyDevice, IOFailed: As their names say.
            OutOfRoom: What lies beneath is full.
        """
        view = _as_bytes(data)
        self._check_write(offset, view.nbytes)
        if not view.nbytes:
            return
        if fua:
            self._write_durably(offset, view)
        else:
            self._write_at(offset, view)

    def write_many(self, requests: Sequence[WriteRequest]) -> None:
        """Writes many ranges, in their order: cheaper than as many calls of `write_at`.

        Where they overlap, the later one counts. Errors as `write_at`: a bad request is found before anything is
        written; where the medium fails, which of them are written is not known.
        """
        self._check_write(0, 0)
        mask = self.logical_block_size_bytes - 1
        size = self._checked_size_bytes
        for offset, view in requests:
            end = offset + view.nbytes
            if offset < 0 or end > size or (offset | end) & mask:
                self._check(offset, end - offset)
                size = self._checked_size_bytes
            if view.itemsize != 1 or view.ndim != 1:
                raise BadRequest(f"{self.name}: memory for one of many writes is not a row of bytes", hint="cast('B')")
        self._write_many(requests)

    def zero(self, offset: int, length: int) -> None:
        """Makes a range read as zeros, by the cheapest means the device has. Errors as `write_at`."""
        self._check_write(offset, length)
        if length:
            self._zero(offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Says that a range is not needed; what it reads as afterwards is undefined. Errors as `write_at`."""
        self._check_write(offset, length)
        if length:
            self._discard(offset, length)

    def flush(self) -> None:
        """Makes every write that returned before this call durable.

        Raises:
            DeviceClosed: The device was closed.
            IOFailed: The medium failed; writes since the last flush may be lost.
        """
        if self.closed:
            self._refuse_closed()
        try:
            self._flush()
        except IOFailed:
            self._failed_flushes += 1
            raise

    # -- the rest -----------------------------------------------------------------------------------------------------

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """Yields what a range holds: in order, without gaps, from ``offset`` to exactly ``offset + length``.

        Two extents in a row differ in kind or depth. A device that does not know says `DATA`.

        Raises:
            BadRequest: Out of range or misaligned (raised by the call, not by the first step).
            DeviceClosed: The device was closed (also raised by the call).
            IOFailed: The medium failed (raised by a step).
        """
        self._check(offset, length)
        return self._extents(offset, length) if length else iter(())

    @property
    def failed_flushes(self) -> int:
        """How many flushes failed, whoever asked for them: what was written before may be lost.

        It matters to who shares a device: a system may tell of a lost write only once (Linux, fsync(2)), so that a
        flush succeeds although what it was to make durable is lost, since another's flush has failed in between.
        """
        return self._failed_flushes

    @property
    def zeroes_quickly(self) -> bool:
        """Whether `zero` takes less time than writing zeros would: it takes the storage away, for instance."""
        return False

    def clock(self) -> float:
        """Seconds, since whenever: the time that requests take passes on this clock. A model of a disk has its own."""
        return perf_counter()

    def close(self) -> None:
        """Waits for started reads and lets go of the medium; a second call does nothing.

        Not to be called while another thread is inside a request that waits, nor from a completion's callback, which
        would wait for itself; started reads may be in flight. It does not flush.
        """
        if not self.closed:
            self.closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- hooks: arguments are checked and not empty -------------------------------------------------------------------

    @abstractmethod
    def _read_into(self, offset: int, view: memoryview) -> None: ...

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        completions = []
        for offset, view in requests:
            try:
                self._read_into(offset, view)
            except DmsnapError as error:
                completions.append(Completion.failed(error))
            else:
                completions.append(COMPLETED)
        return completions

    def _lend(self, ranges: Sequence[tuple[int, int]]) -> Loan | None:
        memory = self._as_memory(self._checked_size_bytes)
        if memory is None:
            return None
        return Loan([(memory[offset : offset + length],) for offset, length in ranges], self._lent_in_vain)

    def _as_memory(self, stop: int) -> memoryview | None:  # noqa: ARG002 - this one is not
        """The device as memory, at least up to byte ``stop``, if it is, and its pages are probably present."""
        return None

    def _lent_in_vain(self, *, unreadable: bool) -> None:  # noqa: B027 - for those that are
        """Hears that a page had to be waited for, or could not be read, after `_as_memory`."""

    def _prefetch(self, offset: int, length: int) -> None:  # noqa: ARG002 - a device may ignore it
        return

    @abstractmethod
    def _write_at(self, offset: int, view: memoryview) -> None: ...

    def _write_durably(self, offset: int, view: memoryview) -> None:
        before = self.failed_flushes
        self._write_at(offset, view)
        self._flush()
        if self.failed_flushes != before:
            raise IOFailed(f"{self.name}: another's flush failed meanwhile, and what was written may be lost")

    def _write_many(self, requests: Sequence[WriteRequest]) -> None:
        for offset, view in requests:
            if view:
                self._write_at(offset, view)

    def _zero(self, offset: int, length: int) -> None:
        zeros = memoryview(bytes(min(length, 1 << 20)))
        for start in range(0, length, len(zeros)):
            self._write_at(offset + start, zeros[: length - start])

    def _discard(self, offset: int, length: int) -> None:  # noqa: ARG002 - a device may ignore it
        return

    @abstractmethod
    def _flush(self) -> None: ...

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        yield Extent(offset, length, ExtentKind.DATA)

    def _close(self) -> None:
        return

    # -- checks -------------------------------------------------------------------------------------------------------

    def _check(self, offset: int, length: int) -> None:
        if self.closed:
            self._refuse_closed()
        if offset < 0 or length < 0 or offset + length > self._checked_size_bytes:
            size = self._checked_size_bytes = self.size_bytes
            if offset < 0 or length < 0 or offset + length > size:
                raise BadRequest(
                    f"{self.name}: {length} bytes at byte {offset} are outside the device of {size} bytes",
                    device=self.name,
                    offset_bytes=offset,
                    length_bytes=length,
                )
        if (offset | length) & (self.logical_block_size_bytes - 1):
            raise BadRequest(
                f"{self.name}: {length} bytes at byte {offset} are not in multiples of its logical block size",
                hint=f"use multiples of {self.logical_block_size_bytes} bytes",
                device=self.name,
                offset_bytes=offset,
                length_bytes=length,
            )

    def _check_write(self, offset: int, length: int) -> None:
        if self.read_only:
            raise ReadOnlyDevice(
                f"{self.name}: opened read-only", hint="open it for writing", device=self.name, offset_bytes=offset
            )
        self._check(offset, length)

    def _refuse_closed(self) -> NoReturn:
        raise DeviceClosed(f"{self.name}: is closed", device=self.name)


def _as_bytes(memory: bytes | bytearray | memoryview) -> memoryview:
    """A row of bytes over memory of any shape and item type; it must be contiguous."""
    view = memoryview(memory)
    return view if view.itemsize == 1 and view.ndim == 1 else view.cast("B")
