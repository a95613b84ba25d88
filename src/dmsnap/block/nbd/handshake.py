"""From a fresh connection to an export: the fixed newstyle handshake, as a client.

Everything the server says is bounded before it is stored, and the whole has one deadline.
"""

from __future__ import annotations

import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from dmsnap.block.medium import CannotOpen
from dmsnap.block.nbd.channel import Channel, PlainChannel, connect
from dmsnap.block.nbd.failure import cannot_open, printable_text
from dmsnap.block.nbd.tls import TlsChannel, tls_context
from dmsnap.block.nbd.uri import NbdAddress
from dmsnap.block.nbd.wire import (
    CLIENT_FLAGS,
    EXPORT,
    GREETING,
    GREETING_MAGIC,
    MOST_DATA_BYTES,
    OPTION,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    ClientFlag,
    ExportFlag,
    HandshakeFlag,
    Info,
    Option,
    OptionReply,
)

__all__ = ["ALLOCATION", "DEPTH", "Terms", "open_export"]

ALLOCATION = "base:allocation"
DEPTH = "qemu:allocation-depth"
CONTEXTS = (ALLOCATION, DEPTH)

MOST_OPTION_BYTES = 64 << 10
"""More than any answer to an option needs: names and messages have at most 4096 bytes."""

MOST_OPTION_REPLIES = 64
LARGEST_SIZE_BYTES = (1 << 63) - 1
_OLD_STYLE = bytes.fromhex("0000420281861253")
_BLOCK_SIZES = struct.Struct(">LLL")
_ERROR = 1 << 31

_REFUSALS = {
    OptionReply.ERR_UNKNOWN: ("the server has no such export", "nbdinfo --list names those it has"),
    OptionReply.ERR_POLICY: ("the server does not allow it", "ask who runs the server"),
    OptionReply.ERR_TLS_REQD: ("the server wants an encrypted connection", "use nbds:// or nbds+unix://"),
    OptionReply.ERR_SHUTDOWN: ("the server is shutting down", "start it again"),
    OptionReply.ERR_BLOCK_SIZE_REQD: ("the server wants block sizes kept that it did not tell", ""),
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed on.

    Attributes:
        size_bytes: Of the export.
        flags: What it can do.
        minimum_block_bytes: Requests are multiples of it; a power of two.
        maximum_block_bytes: The largest data of a request.
        structured: Replies come in chunks.
        extended: Headers have 64-bit lengths; implies ``structured``.
        contexts: Names of what block status tells of, by their numbers in this connection.
    """

    size_bytes: int
    flags: ExportFlag
    minimum_block_bytes: int = 1
    maximum_block_bytes: int = MOST_DATA_BYTES
    structured: bool = False
    extended: bool = False
    contexts: dict[int, str] = field(default_factory=dict, compare=False)

    def same_export(self, other: Terms) -> bool:
        """Tells whether requests made for one connection mean the same on the other."""
        return self == other and sorted(self.contexts.values()) == sorted(other.contexts.values())


def open_export(address: NbdAddress, seconds: float) -> tuple[Channel, Terms]:
    """Connects and chooses the export.

    Args:
        address: Of the export.
        seconds: For all of it.

    Raises:
        CannotOpen: Whatever the reason, in one line.
    """
    deadline = time.monotonic() + seconds
    try:
        plain = connect(address, seconds)
        try:
            handshake = _Handshake(address, plain, deadline)
            terms = handshake.agree()
        except BaseException:
            plain.close()
            raise
    except CannotOpen:
        raise
    except OSError as error:
        raise _unreachable(address, error, seconds) from error
    return handshake.channel, terms


def _unreachable(address: NbdAddress, error: OSError, seconds: float) -> CannotOpen:
    hint = "check the address, and that the server runs"
    if isinstance(error, TimeoutError):
        what = f"the server did not answer within {seconds:g} s"
    elif isinstance(error, ssl.SSLCertVerificationError):
        what = f"the server cannot be trusted: {printable_text(error.verify_message.encode())}"
        hint = (
            "tls-certificates=FOLDER names who can be (ca-cert.pem); tls-hostname=NAME is whom the certificate is for"
        )
    elif isinstance(error, ssl.SSLError):
        what = f"no encryption was agreed on: {(error.reason or str(error)).lower().replace('_', ' ')}"
        hint = "the server may want client-cert.pem and client-key.pem in tls-certificates=FOLDER"
    else:
        what = (error.strerror or str(error)).lower()
    return cannot_open(address.uri, what, hint, error.errno)


class _Handshake:
    def __init__(self, address: NbdAddress, channel: PlainChannel, deadline: float) -> None:
        self.address = address
        self.channel: Channel = channel
        self._plain = channel
        self._deadline = deadline

    def agree(self) -> Terms:
        magic, flags = GREETING.unpack(self._receive(GREETING.size))
        if magic != GREETING_MAGIC:
            if magic[8:] == _OLD_STYLE:
                raise self._failed("the server speaks NBD of the old style", "it needs one of 2011 or later")
            raise self._failed("what answers there is no NBD server", "check the address")
        fixed = bool(flags & HandshakeFlag.FIXED_NEWSTYLE)
        no_zeroes = bool(flags & HandshakeFlag.NO_ZEROES)
        ours = (ClientFlag.FIXED_NEWSTYLE if fixed else 0) | (ClientFlag.NO_ZEROES if no_zeroes else 0)
        self._send(CLIENT_FLAGS.pack(ours))
        if self.address.tls:
            self._encrypt(fixed)
        if not fixed:  # such a server knows one option only
            return self._export_name(no_zeroes, structured=False, extended=False, contexts={})
        extended = self._accepts(Option.EXTENDED_HEADERS)
        structured = extended or self._accepts(Option.STRUCTURED_REPLY)
        contexts = self._choose_contexts() if structured else {}
        terms = self._go(structured=structured, extended=extended, contexts=contexts)
        return terms or self._export_name(no_zeroes, structured=structured, extended=extended, contexts=contexts)

    # -- options ------------------------------------------------------------------------------------------------------

    def _encrypt(self, fixed: bool) -> None:
        if not fixed or not self._accepts(Option.STARTTLS):
            raise self._failed("the server offers no encryption", "use nbd:// or nbd+unix:// where that is fit")
        context = tls_context(self.address)
        hostname = self.address.tls_hostname or self.address.host or "localhost"
        tls = TlsChannel(self._plain, context, hostname)
        tls.shake_hands(self._deadline)
        self.channel = tls

    def _accepts(self, option: Option) -> bool:
        kind, _ = next(self._ask(option))
        if kind == OptionReply.ERR_TLS_REQD:
            raise self._failed(*_REFUSALS[OptionReply.ERR_TLS_REQD])
        return kind == OptionReply.ACK

    def _choose_contexts(self) -> dict[int, str]:
        export = self.address.export
        query = struct.pack(">L", len(export)) + export + struct.pack(">L", len(CONTEXTS))
        for name in CONTEXTS:
            query += struct.pack(">L", len(name)) + name.encode()
        contexts: dict[int, str] = {}
        for kind, data in self._ask(Option.SET_META_CONTEXT, query):
            if kind == OptionReply.META_CONTEXT:
                name = bytes(data[4:]).decode("utf-8", "replace")
                number = int.from_bytes(data[:4])
                if len(data) < 5 or name not in CONTEXTS or number in contexts or name in contexts.values():
                    raise self._broken("contexts that were not asked for")
                contexts[number] = name
            elif kind != OptionReply.ACK:  # an unknown export too: the next question gets the clear answer
                return {}
        return contexts

    def _go(self, *, structured: bool, extended: bool, contexts: dict[int, str]) -> Terms | None:
        """Asks for the export; None where the server does not know that way of asking."""
        export = self.address.export
        question = struct.pack(">L", len(export)) + export + struct.pack(">HH", 1, Info.BLOCK_SIZE)
        found: tuple[int, int] | None = None
        minimum, maximum = 1, MOST_DATA_BYTES
        for kind, data in self._ask(Option.GO, question):
            if kind == OptionReply.INFO:
                what = int.from_bytes(data[:2])
                if what == Info.EXPORT and len(data) == 2 + EXPORT.size:
                    found = EXPORT.unpack(data[2:])
                elif what == Info.BLOCK_SIZE and len(data) == 2 + _BLOCK_SIZES.size:
                    minimum, maximum = self._block_sizes(*_BLOCK_SIZES.unpack(data[2:]))
                elif len(data) < 2 or what in (Info.EXPORT, Info.BLOCK_SIZE):
                    raise self._broken("information of a wrong length")
            elif kind == OptionReply.ERR_UNSUP:
                return None
            elif kind != OptionReply.ACK:
                self._refused(kind, data)
        if found is None:
            raise self._broken("no size of the export")
        return self._terms(
            found, minimum=minimum, maximum=maximum, structured=structured, extended=extended, contexts=contexts
        )

    def _export_name(self, no_zeroes: bool, *, structured: bool, extended: bool, contexts: dict[int, str]) -> Terms:
        """The old way: the server cannot say no, it only hangs up."""
        export = self.address.export
        self._send(OPTION.pack(OPTION_MAGIC, Option.EXPORT_NAME, len(export)) + export)
        try:
            found = EXPORT.unpack(self._receive(EXPORT.size))
        except ConnectionError as error:
            raise self._failed("the server hung up: it may have no such export", "check the export's name") from error
        if not no_zeroes:
            self._receive(124)
        return self._terms(found, structured=structured, extended=extended, contexts=contexts)

    def _terms(
        self,
        found: tuple[int, int],
        *,
        structured: bool,
        extended: bool,
        contexts: dict[int, str],
        minimum: int = 1,
        maximum: int = MOST_DATA_BYTES,
    ) -> Terms:
        size, flags = found
        if size > LARGEST_SIZE_BYTES:
            raise self._broken(f"a size of {size} bytes")
        known = ExportFlag(flags & sum(ExportFlag)) if flags & ExportFlag.HAS_FLAGS else ExportFlag(0)
        return Terms(size, known, minimum, maximum, structured, extended, contexts)

    def _block_sizes(self, minimum: int, preferred: int, maximum: int) -> tuple[int, int]:
        def power_of_two(number: int) -> bool:
            return number > 0 and not number & (number - 1)

        largest = min(maximum, MOST_DATA_BYTES) // max(512, minimum or 1) * max(512, minimum or 1)
        if not (power_of_two(minimum) and power_of_two(preferred) and minimum <= 65536 and minimum <= preferred):
            raise self._broken(f"block sizes of {minimum}, {preferred} and {maximum} bytes")
        if not largest:
            raise self._broken(f"a largest request of {maximum} bytes")
        return minimum, largest

    # -- bytes --------------------------------------------------------------------------------------------------------

    def _ask(self, option: Option, data: bytes = b"") -> Iterator[tuple[int, bytes]]:
        """Sends an option and yields the replies as (kind, data); the last is `OptionReply.ACK` or an error."""
        self._send(OPTION.pack(OPTION_MAGIC, option, len(data)) + data)
        for _ in range(MOST_OPTION_REPLIES):
            magic, answered, kind, length = OPTION_REPLY.unpack(self._receive(OPTION_REPLY.size))
            if magic != OPTION_REPLY_MAGIC or answered != option:
                raise self._broken("an answer to what was not asked")
            if length > MOST_OPTION_BYTES:
                raise self._broken(f"an answer of {length} bytes")
            yield kind, self._receive(length)
            if kind == OptionReply.ACK or kind & _ERROR:
                return
        raise self._broken("answers without an end")

    def _receive(self, count: int) -> bytes:
        """Exactly ``count`` bytes, and nothing beyond: what follows may be encrypted."""
        data = bytearray(count)
        view = memoryview(data)
        while view:
            self._limit()
            got = self.channel.receive_into(view)
            if not got:
                raise ConnectionResetError("the server hung up")
            view = view[got:]
        return bytes(data)

    def _send(self, data: bytes) -> None:
        self._limit()
        self.channel.send([data])

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.channel.limit(left)

    # -- failing ------------------------------------------------------------------------------------------------------

    def _refused(self, kind: int, data: bytes) -> None:
        known = {int(reply): texts for reply, texts in _REFUSALS.items()}
        what, hint = known.get(kind, (f"the server refuses (error {kind - _ERROR})", "see its log"))
        words = printable_text(data)
        raise self._failed(f"{what}: {words}" if words else what, hint)

    def _broken(self, what: str) -> CannotOpen:
        return self._failed(f"the server breaks the NBD protocol: it sent {what}", "see what runs there")

    def _failed(self, what: str, hint: str) -> CannotOpen:
        return cannot_open(self.address.uri, what, hint)
