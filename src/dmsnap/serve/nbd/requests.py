"""The requests of the transmission phase, without I/O: bytes in, events out.

What comes in the same packet and can be done together stays together: a run of plain reads is one event, a run of plain
writes another. Everything that is wrong with a request and can be told from its header is found here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dmsnap.block.nbd import wire
from dmsnap.block.nbd.wire import Command, CommandFlag, ExportFlag, NbdError
from dmsnap.serve.nbd.handshake import Agreement
from dmsnap.serve.nbd.violation import ProtocolViolation

__all__ = ["Ahead", "Disconnect", "Event", "Reads", "Refused", "Request", "RequestParser", "Writes"]


class Reads(NamedTuple):
    """Plain reads: cookie, offset and length of each."""

    requests: list[tuple[int, int, int]]


class Writes(NamedTuple):
    """Plain writes: cookie, offset and data of each; the data is a part of what was parsed."""

    requests: list[tuple[int, int, memoryview]]


class Request(NamedTuple):
    """Another request, checked.

    Attributes:
        kind: Not `Command.READ`, unless nothing is read; `Command.WRITE` only with FUA, or of nothing.
        flags: Those that mean something.
        cookie: The client's name for it.
        offset: In bytes.
        length: In bytes.
        data: Of a write; a part of what was parsed.
        contexts: The numbers of the contexts that block status is to tell of; None for all.
    """

    kind: int
    flags: int
    cookie: int
    offset: int
    length: int
    data: memoryview | None = None
    contexts: tuple[int, ...] | None = None


class Refused(NamedTuple):
    """A request that is answered by an error."""

    cookie: int
    offset: int
    number: NbdError
    reason: str


class Disconnect(NamedTuple):
    """The client's good-bye."""


Event = Reads | Writes | Request | Refused | Disconnect


class Ahead(NamedTuple):
    """A request whose data is still to come.

    Attributes:
        head_bytes: Of its header.
        data_bytes: What follows.
        fua: It is a write with FUA.
        cookie: The client's name for it.
        offset: In bytes.
        refused: It will be answered so: its data is of no use.
    """

    head_bytes: int
    data_bytes: int
    fua: bool
    cookie: int
    offset: int
    refused: Refused | None


_FUA, _PAYLOAD = int(CommandFlag.FUA), int(CommandFlag.PAYLOAD_LEN)
_READ, _WRITE = int(Command.READ), int(Command.WRITE)

_FLAGS: dict[int, int] = {
    Command.READ: CommandFlag.FUA | CommandFlag.DF,
    Command.WRITE: CommandFlag.FUA,
    Command.DISC: CommandFlag.FUA,
    Command.FLUSH: CommandFlag.FUA,
    Command.TRIM: CommandFlag.FUA,
    Command.CACHE: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
    Command.BLOCK_STATUS: CommandFlag.FUA | CommandFlag.REQ_ONE,
}
"""Every command, and the flags that may come with it: FUA with each, as the protocol demands."""

_CHANGES = {Command.WRITE, Command.TRIM, Command.WRITE_ZEROES}
_NO_ROOM = {Command.WRITE, Command.WRITE_ZEROES}


class RequestParser:
    """Splits what a client sends into events.

    Args:
        agreement: What was agreed on in the handshake.

    Attributes:
        ahead: After `parse`: the request that it stopped at, if that is one whose header is complete.
    """

    def __init__(self, agreement: Agreement) -> None:
        self.ahead: Ahead | None = None
        self._size = agreement.size_bytes
        self._mask = agreement.export.least_block_bytes - 1
        self._writable = not agreement.flags & ExportFlag.READ_ONLY
        self._extended = agreement.extended
        self._head = wire.EXTENDED_REQUEST if agreement.extended else wire.REQUEST
        self._magic = wire.EXTENDED_REQUEST_MAGIC if agreement.extended else wire.REQUEST_MAGIC
        self._flags = dict(_FLAGS)
        if not agreement.structured:
            self._flags[Command.READ] = int(CommandFlag.FUA)
        self._status_payload = bool(agreement.flags & ExportFlag.BLOCK_STATUS_PAYLOAD)
        self._too_long = NbdError.EOVERFLOW if agreement.structured else NbdError.EINVAL
        self._contexts = {context.number for context in agreement.contexts}

    def parse(self, data: memoryview, end: int) -> tuple[list[Event], int]:
        """Takes every complete request from the front of ``data[:end]``.

        Returns:
            What to do, in the order in which it came, and how many bytes that was. After a `Disconnect` there is none.

        Raises:
            ProtocolViolation: What comes is no request, or brings more data than a request may.
        """
        events: list[Event] = []
        reads: list[tuple[int, int, int]] | None = None
        writes: list[tuple[int, int, memoryview]] | None = None
        unpack, step, expected = self._head.unpack_from, self._head.size, self._magic
        size, mask, plain_write = self._size, self._mask, _PAYLOAD if self._extended else 0
        position, last = 0, end - step
        self.ahead = None
        while position <= last:
            magic, flags, kind, cookie, offset, length = unpack(data, position)
            if magic != expected:
                raise ProtocolViolation("no request where one was due")
            if kind == _READ and not flags and 0 < length <= wire.MOST_DATA_BYTES:
                if not (offset | length) & mask and offset + length <= size:
                    if reads is None:
                        reads, writes = [], None
                        events.append(Reads(reads))
                    reads.append((cookie, offset, length))
                    position += step
                    continue
            elif kind == _WRITE and flags == plain_write and 0 < length <= last - position:
                begin = position + step
                if self._writable and not (offset | length) & mask and offset + length <= size:
                    if writes is None:
                        writes, reads = [], None
                        events.append(Writes(writes))
                    position = begin + length
                    writes.append((cookie, offset, data[begin:position]))
                    continue
            reads = writes = None
            used = self._other(data, position, end, events, (flags, kind, cookie, offset, length))
            if not used:
                break
            position += used
            if events and isinstance(events[-1], Disconnect):
                break
        return events, position

    def _other(
        self, data: memoryview, position: int, end: int, events: list[Event], header: tuple[int, int, int, int, int]
    ) -> int:
        """Takes a request that is not plain; returns how many bytes it is, 0 where some are still to come."""
        flags, kind, cookie, offset, length = header
        step = self._head.size
        carries = bool(flags & _PAYLOAD) if self._extended else kind == _WRITE
        following = length if carries else 0
        if following > wire.MOST_DATA_BYTES:
            raise ProtocolViolation("a request with too much data")
        trouble = self._trouble(flags, kind, offset, length)
        refused = Refused(cookie, offset, *trouble) if trouble else None
        if position + step + following > end:
            self.ahead = Ahead(step, following, bool(flags & _FUA), cookie, offset, refused)
            return 0
        body = data[position + step : position + step + following]
        if refused is not None:
            events.append(refused)
        elif kind == Command.DISC:
            events.append(Disconnect())
        elif kind == Command.BLOCK_STATUS:
            events.append(self._status(flags, cookie, offset, length, body if carries else None))
        elif kind == _READ and length:
            run = events[-1] if events else None
            if isinstance(run, Reads):
                run.requests.append((cookie, offset, length))
            else:
                events.append(Reads([(cookie, offset, length)]))
        else:
            events.append(Request(kind, flags & ~_PAYLOAD, cookie, offset, length, body if carries else None))
        return step + following

    def _trouble(self, flags: int, kind: int, offset: int, length: int) -> tuple[NbdError, str] | None:
        """What is wrong with a request; None for nothing."""
        if kind not in self._flags:
            return NbdError.EINVAL, "unknown command"
        carries = bool(flags & _PAYLOAD) and self._extended
        allowed = self._flags[kind]
        if self._extended and kind == Command.WRITE:
            if not carries:
                return NbdError.EINVAL, "a write without data"
            allowed |= _PAYLOAD
        if kind == Command.BLOCK_STATUS:
            if not self._contexts:
                return NbdError.EINVAL, "no metadata contexts were selected"
            if carries and self._status_payload:
                # Its effect length comes with the payload, and is looked at there.
                most = 8 + 4 * len(self._contexts)
                fits = not flags & ~(allowed | _PAYLOAD) and 8 <= length <= most and length % 4 == 0
                return None if fits else (NbdError.EINVAL, "bad list of metadata contexts")
        if kind == Command.DISC:
            return None  # whatever comes with it, the client wants to go
        if flags & ~allowed:
            return NbdError.EINVAL, "a flag that this command does not have"
        if kind == Command.FLUSH:
            return None
        if kind in _CHANGES and not self._writable:
            return NbdError.EPERM, "the export is read-only"
        return self._out_of_place(kind, offset, length)

    def _out_of_place(self, kind: int, offset: int, length: int) -> tuple[NbdError, str] | None:
        if (offset | length) & self._mask:
            return NbdError.EINVAL, f"not in multiples of {self._mask + 1} bytes"
        if offset + length > self._size:
            return NbdError.ENOSPC if kind in _NO_ROOM else NbdError.EINVAL, "beyond the end of the export"
        if kind == Command.READ and length > wire.MOST_DATA_BYTES:
            return self._too_long, f"more than {wire.MOST_DATA_BYTES} bytes in one read"
        if kind == Command.BLOCK_STATUS and not length:
            return NbdError.EINVAL, "block status of nothing"
        return None

    def _status(self, flags: int, cookie: int, offset: int, length: int, body: memoryview | None) -> Event:
        contexts = None
        if body is not None:
            length, *numbers = struct.unpack(f">Q{(len(body) - 8) // 4}L", body)
            contexts = tuple(numbers)
            if len({*contexts}) < len(contexts) or not self._contexts.issuperset(contexts) or not contexts:
                return Refused(cookie, offset, NbdError.EINVAL, "bad list of metadata contexts")
            if trouble := self._out_of_place(Command.BLOCK_STATUS, offset, length):
                return Refused(cookie, offset, *trouble)
        return Request(Command.BLOCK_STATUS, flags & ~_PAYLOAD, cookie, offset, length, None, contexts)
