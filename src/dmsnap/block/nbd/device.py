"""A disk behind an NBD server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import partial

from dmsnap.block.completion import Completion
from dmsnap.block.contract import SECTOR_BYTES, BlockDevice, Extent, IOFailed, ReadRequest, WriteRequest
from dmsnap.block.extents import joined
from dmsnap.block.nbd.block_status import Status, extents_of, whole_blocks
from dmsnap.block.nbd.connection import Connection
from dmsnap.block.nbd.failure import ProtocolViolation, cannot_open
from dmsnap.block.nbd.handshake import open_export
from dmsnap.block.nbd.request import Broken, Request
from dmsnap.block.nbd.uri import parse_nbd_uri
from dmsnap.block.nbd.wire import Command, CommandFlag, ExportFlag

__all__ = ["NbdDevice"]

UNBROKEN_BYTES = 64 << 10
"""Reads of up to this size are asked for in one piece (the least that a server which can must grant). QEMU, else, looks
up where holes are for each of them."""

LONGEST_RANGE_BYTES = 1 << 30
"""Of one request that carries no data (to discard, to zero)."""

LONGEST_STATUS_BYTES = (1 << 32) - (1 << 16)
"""Of one question for extents whose lengths have 32 bits."""


class NbdDevice(BlockDevice):
    """An export of an NBD server: qemu-nbd, nbdkit, nbd-server, or ``dmsnap serve``.

    Requests are pipelined: started reads are all with the server at once (up to 1024 requests or 64 MiB; what is more
    waits here), and finish in whatever order it answers.

    Nobody else can be kept away: NBD has no locks, and a server may have other clients.

    With ``reconnect_seconds`` a broken connection is made anew, and requests under way are sent again, as long as the
    export is still the same: its size and what it can do. Two things follow. Writes that were answered since the last
    flush may be lost if the server itself went down, so the next flush fails once, and `failed_flushes` says so. And a
    write that was under way when the connection broke can be made twice; a server that is still busy with the first
    while the second is answered could let it overwrite what was written since. QEMU takes the same risk.

    Args:
        uri: ``nbd://HOST:PORT/EXPORT``, ``nbd+unix:///EXPORT?socket=PATH``, ``nbds://…`` or ``nbds+unix://…``; see
            `dmsnap.block.nbd.uri.parse_nbd_uri`.
        writable: Also for writing.
        timeout_seconds: How long the server may take to answer a request (and a second for each MiB under way). After
            that the connection is given up, since nothing is known of it any more.
        reconnect_seconds: For how long to try again when the connection is lost; 0 for not at all: then every request,
            under way or to come, fails with `IOFailed`.

    Attributes:
        zeroes_quickly: Whether the server promises that zeroing is faster than writing zeros (NBD's ``FAST_ZERO``).

    Raises:
        CannotOpen: No such address, server or export, or it is read-only and ``writable``; within 10 seconds.
    """

    def __init__(
        self, uri: str, *, writable: bool = False, timeout_seconds: float = 30.0, reconnect_seconds: float = 0.0
    ) -> None:
        address = parse_nbd_uri(uri)
        self.name = address.uri
        self.read_only = not writable
        self._flags = ExportFlag(0)
        self._counting = threading.Lock()
        self._written = self._flushed = 0  # writes begun, and how many of them the last good flush was after
        self._lost = False
        self._connection = Connection(
            self.name,
            partial(open_export, address),
            timeout_seconds=timeout_seconds,
            reconnect_seconds=reconnect_seconds,
            on_reconnect=self._notice_loss,
        )
        terms = self._connection.terms
        self._flags = terms.flags
        if writable and self._can(ExportFlag.READ_ONLY):
            self.close()
            raise cannot_open(self.name, "the server has it read-only", "open it to look, or serve it writable", 30)
        self.logical_block_size_bytes = max(SECTOR_BYTES, terms.minimum_block_bytes)
        self._size = terms.size_bytes & -self.logical_block_size_bytes
        self._most = terms.maximum_block_bytes
        self._contexts = bool(terms.contexts)
        self._extended = terms.extended
        self._unbroken = UNBROKEN_BYTES if terms.structured and self._can(ExportFlag.SEND_DF) else 0
        self.zeroes_quickly = self._can(ExportFlag.SEND_WRITE_ZEROES) and self._can(ExportFlag.SEND_FAST_ZERO)

    @property
    def size_bytes(self) -> int:
        return self._size

    def _can(self, flag: ExportFlag) -> bool:
        return bool(self._flags & flag)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_into(self, offset: int, view: memoryview) -> None:
        self._start_reads(((offset, view),))[0].wait()

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        completions: list[Completion] = []
        started: list[Request] = []
        most, unbroken, read = self._most, self._unbroken, Command.READ
        for offset, view in requests:
            completion = Completion()
            completions.append(completion)
            length = len(view)
            if length <= most:
                flags = CommandFlag.DF if length <= unbroken else 0
                started.append(Request(read, offset, length, completion, view, flags))
            else:
                started += _pieces(read, offset, view, most, completion)
        self._connection.start(started)
        return completions

    def _prefetch(self, offset: int, length: int) -> None:
        if self._can(ExportFlag.SEND_CACHE):
            self._connection.start(
                [Request(Command.CACHE, at, size, _Ignored()) for at, size in _ranges(offset, length, self._most)]
            )

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._count_write()
        self._write(((offset, view),))

    def _write_durably(self, offset: int, view: memoryview) -> None:
        try:
            if self._can(ExportFlag.SEND_FUA):
                self._write(((offset, view),), CommandFlag.FUA)
            else:
                super()._write_durably(offset, view)
        except IOFailed:
            self._failed_flushes += 1
            raise

    def _write_many(self, requests: Sequence[WriteRequest]) -> None:
        """Where none overlaps another, all are under way at once: then, if one fails, later ones may be made too."""
        self._count_write()
        ends = 0
        for offset, view in sorted(requests, key=_offset):
            if offset < ends and view:
                super()._write_many(requests)
                return
            ends = offset + len(view)
        self._write(requests)

    def _write(self, requests: Sequence[WriteRequest], flags: int = 0) -> None:
        completion = Completion()
        pieces = [
            (at, view[at - offset : at - offset + size])
            for offset, view in requests
            for at, size in _ranges(offset, len(view), self._most)
        ]
        together = _Together(completion, len(pieces))
        if pieces:
            self._connection.start(
                [Request(Command.WRITE, at, len(piece), together, piece, flags) for at, piece in pieces]
            )
            completion.wait()

    def _zero(self, offset: int, length: int) -> None:
        self._count_write()
        if self._can(ExportFlag.SEND_WRITE_ZEROES):
            self._change(Command.WRITE_ZEROES, offset, length)
        else:
            super()._zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        if self._can(ExportFlag.SEND_TRIM):
            self._count_write()
            self._change(Command.TRIM, offset, length)

    def _change(self, command: Command, offset: int, length: int) -> None:
        ranges = list(_ranges(offset, length, LONGEST_RANGE_BYTES))
        completion = Completion()
        together = _Together(completion, len(ranges))
        self._connection.start([Request(command, at, size, together) for at, size in ranges])
        completion.wait()

    # -- durability ---------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        if self.read_only or not self._can(ExportFlag.SEND_FLUSH):
            return
        written = self._written
        completion = Completion()
        self._connection.start([Request(Command.FLUSH, 0, 0, completion)])
        completion.wait()
        with self._counting:
            lost, self._lost = self._lost, False
            self._flushed = written
        if lost:
            raise IOFailed(
                f"{self.name}: the server was away since the last flush, and may have lost what was written",
                hint="write it again",
                device=self.name,
            )

    def _count_write(self) -> None:
        with self._counting:
            self._written += 1

    def _notice_loss(self) -> None:
        """There is a new connection; what was answered over the old one may never become durable."""
        with self._counting:
            self._lost = self._lost or (self._written != self._flushed and self._can(ExportFlag.SEND_FLUSH))

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        if not self._contexts:
            return super()._extents(offset, length)
        return joined(whole_blocks(self._asked_extents(offset, length), self.logical_block_size_bytes))

    def _asked_extents(self, offset: int, length: int) -> Iterator[Extent]:
        try:
            yield from extents_of(offset, length, self._status)
        except Broken as error:
            raise ProtocolViolation(
                f"{self.name}: the server breaks the NBD protocol: it sent {error}",
                hint="see what runs there",
                device=self.name,
            ) from None

    def _status(self, offset: int, length: int) -> Status:
        if self.closed:
            self._refuse_closed()
        if not self._extended:
            length = min(length, LONGEST_STATUS_BYTES)
        completion = Completion()
        request = Request(Command.BLOCK_STATUS, offset, length, completion)
        self._connection.start([request])
        completion.wait()
        assert request.status is not None
        return request.status

    def _close(self) -> None:
        self._connection.close()


class _Together:
    """Finishes one completion when all of some requests are finished, with the first error."""

    def __init__(self, completion: Completion, count: int) -> None:
        self._completion = completion
        self._left = count
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def finish(self, error: Exception | None = None) -> None:
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            last = not self._left
        if last:
            self._completion.finish(self._error)


class _Ignored:
    """For a hint: nobody waits for it."""

    def finish(self, error: Exception | None = None) -> None:  # noqa: ARG002 - a hint that failed is no error
        return


def _ranges(offset: int, length: int, most: int) -> Iterator[tuple[int, int]]:
    """Cuts a range into ones of at most ``most`` bytes."""
    for start in range(0, length, most):
        yield offset + start, min(most, length - start)


def _pieces(command: Command, offset: int, view: memoryview, most: int, completion: Completion) -> list[Request]:
    ranges = list(_ranges(offset, len(view), most))
    together = _Together(completion, len(ranges))
    return [Request(command, at, size, together, view[at - offset :][:size]) for at, size in ranges]


def _offset(request: WriteRequest) -> int:
    return request[0]
