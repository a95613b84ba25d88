"""The handshake, without I/O: bytes in, bytes out, until an export is agreed on.

```
  CLIENT_FLAGS --> OPTION <--> OPTION_DATA      a step for each phase: how many bytes it needs, and what it does with
                     |   `-------> SKIPPING      them; what an option does is in `OPTIONS`
                     |--> TLS --(secured)--> OPTION
                     |--> AGREED                GO or EXPORT_NAME: transmission begins
                      --> CLOSED                ABORT: said good-bye
```
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmsnap.block.nbd import wire
from dmsnap.block.nbd.wire import ClientFlag, ExportFlag, HandshakeFlag, Info, Option, OptionReply
from dmsnap.serve.nbd.contexts import Context, contexts_of, listed, selected
from dmsnap.serve.nbd.export import Export, by_name
from dmsnap.serve.nbd.violation import ProtocolViolation

__all__ = ["GREETING", "Agreement", "Handshake", "Phase"]

MOST_OPTION_BYTES = 1 << 16
"""Of one option's data; longer ones are passed over and refused."""
MOST_SKIPPED_BYTES = 1 << 20
"""A still longer option ends the connection."""
MOST_OPTIONS = 512
"""A client that asked for so many will never decide."""
MOST_ANSWER_BYTES = 1 << 22
"""All answers together: nobody needs the list of exports over and over."""

GREETING = wire.GREETING.pack(wire.GREETING_MAGIC, HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)
"""What the server says first."""

_ZEROES = bytes(124)
_KNOWN_FLAGS = int(ClientFlag.FIXED_NEWSTYLE | ClientFlag.NO_ZEROES)


class Phase(enum.Enum):
    """Where a handshake stands; see the module."""

    CLIENT_FLAGS = enum.auto()
    OPTION = enum.auto()
    OPTION_DATA = enum.auto()
    SKIPPING = enum.auto()
    TLS = enum.auto()
    AGREED = enum.auto()
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Agreement:
    """What client and server agreed on.

    Attributes:
        export: What is served.
        size_bytes: Its size as the client was told.
        flags: What the client was told that can be done with it.
        structured: Replies to reads come in chunks.
        extended: So do all replies, and headers have 64 bits; ``structured`` is true too.
        contexts: What block status tells of.
    """

    export: Export
    size_bytes: int
    flags: ExportFlag
    structured: bool
    extended: bool
    contexts: tuple[Context, ...]


class _Refused(Exception):
    """An option that is answered by an error."""

    def __init__(self, kind: OptionReply, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Handshake:
    """One client's handshake. Give it what arrives, send what it returns, and look at its phase.

    Args:
        exports: What there is; the first is the default.
        tls: Whether TLS is offered, and then demanded before anything else is told.

    Attributes:
        phase: Where it stands.
        agreement: Set in `Phase.AGREED`.
        rest: What the client had sent behind, in `Phase.AGREED`: the first of its requests.
    """

    def __init__(self, exports: Sequence[Export], *, tls: bool = False) -> None:
        self.phase = Phase.CLIENT_FLAGS
        self.agreement: Agreement | None = None
        self.rest = b""
        self._exports = exports
        self._tls_missing = self._tls = tls
        self._buffer = bytearray()
        self._needed = wire.CLIENT_FLAGS.size
        self._option = 0
        self._options = self._answered = 0
        self._no_zeroes = False
        self._structured = self._extended = False
        self._contexts_for: Export | None = None
        self._contexts: tuple[Context, ...] = ()

    def receive(self, data: bytes | memoryview) -> bytes:
        """Takes what arrived; returns what to send.

        Raises:
            ProtocolViolation: The connection is to be closed at once.
        """
        if self.phase is Phase.CLOSED:
            return b""  # nothing that comes after the good-bye matters
        self._buffer += data
        answers: list[bytes] = []
        while len(self._buffer) >= self._needed and (step := _STEPS.get(self.phase)):
            taken = bytes(self._buffer[: self._needed])
            del self._buffer[: self._needed]
            answers.append(step(self, taken))
        if self.phase is Phase.SKIPPING:
            self._needed -= len(self._buffer)
            self._buffer.clear()
        elif self.phase is Phase.TLS and self._buffer:
            # What was sent in the clear must never count as said under TLS.
            raise ProtocolViolation("data between STARTTLS and its answer")
        elif self.phase is Phase.AGREED:
            self.rest += bytes(self._buffer)
            self._buffer.clear()
        return b"".join(answers)

    def secured(self) -> None:
        """TLS was established: all that was agreed on before is forgotten, as it may have come from anybody."""
        self._tls_missing = False
        self._structured = self._extended = False
        self._contexts_for, self._contexts = None, ()
        self._expect(Phase.OPTION, wire.OPTION.size)

    def _expect(self, phase: Phase, needed: int) -> None:
        self.phase, self._needed = phase, needed

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _client_flags(self, data: bytes) -> bytes:
        (flags,) = wire.CLIENT_FLAGS.unpack(data)
        if flags & ~_KNOWN_FLAGS:
            raise ProtocolViolation("unknown client flags")
        if self._tls and not flags & ClientFlag.FIXED_NEWSTYLE:
            raise ProtocolViolation("a client that cannot do TLS")
        self._no_zeroes = bool(flags & ClientFlag.NO_ZEROES)
        self._expect(Phase.OPTION, wire.OPTION.size)
        return b""

    def _option_header(self, data: bytes) -> bytes:
        magic, self._option, length = wire.OPTION.unpack(data)
        self._options += 1
        if magic != wire.OPTION_MAGIC:
            raise ProtocolViolation("no option where one was due")
        if self._options > MOST_OPTIONS:
            raise ProtocolViolation("too many options")
        if length > MOST_SKIPPED_BYTES or (self._option == Option.EXPORT_NAME and length > wire.MOST_NAME_BYTES):
            raise ProtocolViolation("an option of too many bytes")
        self._expect(Phase.OPTION_DATA if length <= MOST_OPTION_BYTES else Phase.SKIPPING, length)
        return b""

    def _skipped(self, data: bytes) -> bytes:  # noqa: ARG002
        self._expect(Phase.OPTION, wire.OPTION.size)
        return self._answer(OptionReply.ERR_TOO_BIG, b"too many bytes")

    def _option_data(self, data: bytes) -> bytes:
        self._expect(Phase.OPTION, wire.OPTION.size)
        if self._option == Option.EXPORT_NAME:
            return self._export_name(data)
        try:
            if self._tls_missing and self._option not in (Option.STARTTLS, Option.ABORT):
                raise _Refused(OptionReply.ERR_TLS_REQD, "begin with TLS")
            handler = OPTIONS.get(self._option)
            if handler is None:
                raise _Refused(OptionReply.ERR_UNSUP, "unknown option")
            return handler(self, data)
        except _Refused as refused:
            return self._answer(refused.kind, str(refused).encode())

    def _answer(self, kind: OptionReply, data: bytes = b"") -> bytes:
        answer = wire.OPTION_REPLY.pack(wire.OPTION_REPLY_MAGIC, self._option, kind, len(data)) + data
        self._answered += len(answer)
        if self._answered > MOST_ANSWER_BYTES:
            raise ProtocolViolation("asked for too much")
        return answer

    # -- options -------------------------------------------------------------------------------------------------------

    def _abort(self, data: bytes) -> bytes:  # noqa: ARG002
        self._expect(Phase.CLOSED, 0)
        return self._answer(OptionReply.ACK)

    def _list(self, data: bytes) -> bytes:
        _without_data(data)
        answers = []
        for export in self._exports:
            name = export.name.encode()
            body = struct.pack(">L", len(name)) + name + export.description.encode()
            answers.append(self._answer(OptionReply.SERVER, body))
        return b"".join([*answers, self._answer(OptionReply.ACK)])

    def _start_tls(self, data: bytes) -> bytes:
        _without_data(data)
        if not self._tls:
            raise _Refused(OptionReply.ERR_POLICY, "this server has no TLS")
        if not self._tls_missing:
            raise _Refused(OptionReply.ERR_INVALID, "TLS is there already")
        self._expect(Phase.TLS, 0)
        return self._answer(OptionReply.ACK)

    def _structured_reply(self, data: bytes) -> bytes:
        _without_data(data)
        if self._extended:
            raise _Refused(OptionReply.ERR_EXT_HEADER_REQD, "extended headers were agreed on")
        self._structured = True
        return self._answer(OptionReply.ACK)

    def _extended_headers(self, data: bytes) -> bytes:
        _without_data(data)
        self._structured = self._extended = True
        return self._answer(OptionReply.ACK)

    def _info(self, data: bytes) -> bytes:
        return self._tell(data)[0]

    def _go(self, data: bytes) -> bytes:
        answer, export, size, flags = self._tell(data)
        self._agree(export, size, flags)
        return answer

    def _tell(self, data: bytes) -> tuple[bytes, Export, int, ExportFlag]:
        name, position = _string(data, 0)
        if len(data) < position + 2:
            raise _Refused(OptionReply.ERR_INVALID, "the option is cut short")
        (count,) = struct.unpack_from(">H", data, position)
        if len(data) != position + 2 + 2 * count:
            raise _Refused(OptionReply.ERR_INVALID, "the option has another length than it says")
        wanted = set(struct.unpack_from(f">{count}H", data, position + 2))
        export = self._find(name)
        size, flags = export.device.size_bytes, self._flags(export)
        infos = [struct.pack(">H", Info.EXPORT) + wire.EXPORT.pack(size, flags)]
        if Info.NAME in wanted:
            infos.append(struct.pack(">H", Info.NAME) + export.name.encode())
        if Info.DESCRIPTION in wanted and export.description:
            infos.append(struct.pack(">H", Info.DESCRIPTION) + export.description.encode())
        if Info.BLOCK_SIZE in wanted:
            least = export.least_block_bytes
            preferred = min(max(export.preferred_block_bytes, least, 512), wire.MOST_DATA_BYTES)
            infos.append(struct.pack(">HLLL", Info.BLOCK_SIZE, least, preferred, wire.MOST_DATA_BYTES))
        answers = [self._answer(OptionReply.INFO, info) for info in infos]
        return b"".join([*answers, self._answer(OptionReply.ACK)]), export, size, flags

    def _export_name(self, data: bytes) -> bytes:
        """The old way to choose: no error can be told."""
        try:
            if self._tls_missing or self._extended:
                raise ProtocolViolation("EXPORT_NAME where it must not be")
            export = self._find(_text(data))
        except _Refused as refused:
            raise ProtocolViolation(str(refused)) from None
        size, flags = export.device.size_bytes, self._flags(export)
        self._agree(export, size, flags)
        return wire.EXPORT.pack(size, flags) + (b"" if self._no_zeroes else _ZEROES)

    def _flags(self, export: Export) -> ExportFlag:
        flags = export.flags(chunked=self._structured)
        if self._extended and self._contexts and self._contexts_for is export:
            flags |= ExportFlag.BLOCK_STATUS_PAYLOAD
        return flags

    def _agree(self, export: Export, size: int, flags: ExportFlag) -> None:
        contexts = self._contexts if self._contexts_for is export else ()
        self.agreement = Agreement(export, size, flags, self._structured, self._extended, contexts)
        self._expect(Phase.AGREED, 0)

    def _list_contexts(self, data: bytes) -> bytes:
        export, queries = self._queries(data)
        return self._contexts_told(listed(contexts_of(export), queries), numbered=False)

    def _set_contexts(self, data: bytes) -> bytes:
        self._contexts_for, self._contexts = None, ()
        if not self._structured:
            raise _Refused(OptionReply.ERR_INVALID, "needs structured replies")
        export, queries = self._queries(data)
        self._contexts_for, self._contexts = export, tuple(selected(contexts_of(export), queries))
        return self._contexts_told(self._contexts, numbered=True)

    def _queries(self, data: bytes) -> tuple[Export, list[str]]:
        name, position = _string(data, 0)
        if len(data) < position + 4:
            raise _Refused(OptionReply.ERR_INVALID, "the option is cut short")
        (count,) = struct.unpack_from(">L", data, position)
        position += 4
        queries = []
        for _ in range(min(count, len(data))):
            query, position = _string(data, position)
            queries.append(query)
        if position != len(data) or len(queries) != count:
            raise _Refused(OptionReply.ERR_INVALID, "the option has another length than it says")
        return self._find(name), queries

    def _contexts_told(self, contexts: Sequence[Context], *, numbered: bool) -> bytes:
        bodies = [struct.pack(">L", context.number * numbered) + context.name.encode() for context in contexts]
        answers = [self._answer(OptionReply.META_CONTEXT, body) for body in bodies]
        return b"".join([*answers, self._answer(OptionReply.ACK)])

    def _find(self, name: str) -> Export:
        export = by_name(self._exports, name)
        if export is None:
            raise _Refused(OptionReply.ERR_UNKNOWN, "no such export")
        return export


def _without_data(data: bytes) -> None:
    if data:
        raise _Refused(OptionReply.ERR_INVALID, "takes no data")


def _text(data: bytes) -> str:
    if len(data) > wire.MOST_NAME_BYTES or b"\0" in data:
        raise _Refused(OptionReply.ERR_INVALID, "a text is too long or holds NUL")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _Refused(OptionReply.ERR_INVALID, "a text is not UTF-8") from None


def _string(data: bytes, position: int) -> tuple[str, int]:
    """A text behind its length; returns where it ends, too."""
    if len(data) < position + 4:
        raise _Refused(OptionReply.ERR_INVALID, "the option is cut short")
    (length,) = struct.unpack_from(">L", data, position)
    begin = position + 4
    if length > len(data) - begin:
        raise _Refused(OptionReply.ERR_INVALID, "the option is cut short")
    return _text(data[begin : begin + length]), begin + length


_STEPS: dict[Phase, Callable[[Handshake, bytes], bytes]] = {
    Phase.CLIENT_FLAGS: Handshake._client_flags,
    Phase.OPTION: Handshake._option_header,
    Phase.OPTION_DATA: Handshake._option_data,
    Phase.SKIPPING: Handshake._skipped,
}

OPTIONS: dict[int, Callable[[Handshake, bytes], bytes]] = {
    Option.ABORT: Handshake._abort,
    Option.LIST: Handshake._list,
    Option.STARTTLS: Handshake._start_tls,
    Option.INFO: Handshake._info,
    Option.GO: Handshake._go,
    Option.STRUCTURED_REPLY: Handshake._structured_reply,
    Option.LIST_META_CONTEXT: Handshake._list_contexts,
    Option.SET_META_CONTEXT: Handshake._set_contexts,
    Option.EXTENDED_HEADERS: Handshake._extended_headers,
}
"""What each option does; one that is not here is answered as unknown. `Option.EXPORT_NAME` has answers of its own."""
