"""Replies: from bytes as they come to finished requests.

Small replies are taken from a buffer that one receive fills with many; the data of large ones is received straight into
the memory that the reader gave. Nothing is stored whose length was not checked against the request first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from time import monotonic

from dmsnap.block.nbd.channel import Channel
from dmsnap.block.nbd.failure import printable_text, refused_request
from dmsnap.block.nbd.handshake import Terms
from dmsnap.block.nbd.request import Broken, Request
from dmsnap.block.nbd.wire import (
    BLOCK_STATUS_ENTRY,
    BLOCK_STATUS_ENTRY_64,
    CHUNK,
    CHUNK_ERROR,
    CHUNK_HOLE,
    CHUNK_MAGIC,
    CHUNK_OFFSET,
    EXTENDED_CHUNK,
    EXTENDED_CHUNK_MAGIC,
    EXTENDED_STATUS_HEAD,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    ChunkFlag,
    ChunkType,
    Command,
    NbdError,
)

__all__ = ["ReplyReader"]

BUFFER_BYTES = 1 << 20
SMALL_BYTES = 128 << 10
"""Payloads up to this size are taken from the buffer; larger than any error (64 KiB and a little)."""

MOST_STATUS_ENTRIES = 1 << 20
"""Extents in one reply."""

_DATA = struct.Struct(">LHHQLQ")
_EXTENDED_DATA = struct.Struct(">LHHQ8xQQ")
"""A chunk's header and the offset of its data: what nearly every reply to a small read begins with."""

_ERROR = 1 << 15


class ReplyReader:
    """Reads the replies of one connection. One thread uses it.

    Args:
        name: Of the device, for errors.
        channel: Where replies come from.
        terms: What was agreed on.
        pending: The requests under way, by cookie; finished ones are taken out.
        awake: Called now and then while waiting; raises when that has been for too long.

    Attributes:
        finished_bytes: Data of all requests that were finished.
        answered: Whether any request was.
    """

    def __init__(
        self, name: str, channel: Channel, terms: Terms, pending: dict[int, Request], awake: Callable[[], None]
    ) -> None:
        self._name = name
        self._receive_into = channel.receive_into
        self._terms = terms
        self._pending = pending
        self._awake = awake
        self._next_awake = 0.0
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._begin = self._end = 0
        self.finished_bytes = 0
        self.answered = False
        self._header = EXTENDED_CHUNK if terms.extended else CHUNK
        self._chunk_magic = EXTENDED_CHUNK_MAGIC if terms.extended else CHUNK_MAGIC

    def receive(self) -> None:
        """Waits until something came, and finishes the requests that are answered by it.

        Raises:
            Broken: The server does not keep to the protocol.
            EOFError: It hung up.
            OSError: The connection failed; or what ``awake`` raises.
        """
        if self._begin == self._end:
            self._begin = self._end = 0
        elif BUFFER_BYTES - self._end < 2 * SMALL_BYTES:
            left = self._end - self._begin
            self._buffer[:left] = bytes(self._buffer[self._begin : self._end])
            self._begin, self._end = 0, left
        self._end += self._receive_some(self._buffer[self._end :])
        more = True
        while more:
            if self._terms.structured:
                self._take_small_reads()
            more = self._take_one()

    def _receive_some(self, view: memoryview) -> int:
        while True:
            try:
                got = self._receive_into(view)
            except (BlockingIOError, TimeoutError):
                self._awake()
                continue
            if not got:
                raise EOFError
            now = monotonic()
            if now >= self._next_awake:
                self._next_awake = now + 0.1
                self._awake()
            return got

    # -- the usual case -----------------------------------------------------------------------------------------------

    def _take_small_reads(self) -> None:
        """Takes whole reads that came in one chunk, as long as they follow one another in the buffer."""
        buffer, pending, begin, end = self._buffer, self._pending, self._begin, self._end
        layout = _EXTENDED_DATA if self._terms.extended else _DATA
        unpack, size, expected = layout.unpack_from, layout.size, self._chunk_magic
        while end - begin >= size:
            magic, flags, kind, cookie, length, offset = unpack(buffer, begin)
            stop = begin + size - 8 + length
            if magic != expected or kind != 1 or flags != 1 or stop > end:
                break
            request = pending.get(cookie)
            if (
                request is None
                or request.command is not Command.READ
                or request.length != length - 8
                or request.offset != offset
                or not request.untouched
            ):
                break
            view = request.view
            assert view is not None
            view[:] = buffer[begin + size : stop]
            begin = stop
            del pending[cookie]
            self.finished_bytes += length - 8
            request.done.finish()
        if begin != self._begin:
            self._begin, self.answered = begin, True

    # -- every case ---------------------------------------------------------------------------------------------------

    def _take_one(self) -> bool:
        """Takes a reply or chunk from the buffer; False where it is not all there."""
        have = self._end - self._begin
        if have < SIMPLE_REPLY.size:
            return False
        magic = int.from_bytes(self._buffer[self._begin : self._begin + 4])
        if magic == SIMPLE_REPLY_MAGIC and not self._terms.extended:
            return self._take_simple()
        if magic != self._chunk_magic or not self._terms.structured:
            raise Broken(f"a reply that begins with {magic:#010x}")
        if have < self._header.size:
            return False
        return self._take_chunk()

    def _take_simple(self) -> bool:
        _, error, cookie = SIMPLE_REPLY.unpack_from(self._buffer, self._begin)
        request = self._asked(cookie)
        body = self._begin + SIMPLE_REPLY.size
        if error:
            self._note_error(request, error, request.offset, "")
        elif request.command is Command.BLOCK_STATUS or (request.command is Command.READ and self._terms.structured):
            raise Broken("a simple reply where only a structured one is allowed")
        elif request.command is Command.READ:
            if request.length <= SMALL_BYTES and self._end - body < request.length:
                return False
            self._begin = body
            self._take_into(request.place(request.offset, request.length))
            body = self._begin
        elif not request.untouched:
            raise Broken("a simple reply after pieces of a structured one")
        self._begin = body
        self._finish(cookie, request)
        return True

    def _take_chunk(self) -> bool:
        if self._terms.extended:
            _, flags, kind, cookie, offset, length = EXTENDED_CHUNK.unpack_from(self._buffer, self._begin)
        else:
            _, flags, kind, cookie, length = CHUNK.unpack_from(self._buffer, self._begin)
            offset = None
        request = self._asked(cookie)
        if offset is not None and offset != request.offset:
            raise Broken(f"a reply for byte {offset}, asked for was {request.offset}")
        body = self._begin + self._header.size
        have = self._end - body
        if kind == ChunkType.OFFSET_DATA:
            if length <= CHUNK_OFFSET.size or length - CHUNK_OFFSET.size > request.length:
                raise Broken(f"{length} bytes of data, asked for were {request.length}")
            if have < min(length, SMALL_BYTES):
                return False
            (at,) = CHUNK_OFFSET.unpack_from(self._buffer, body)
            self._begin = body + CHUNK_OFFSET.size
            self._take_into(request.place(at, length - CHUNK_OFFSET.size))
        elif kind in (ChunkType.BLOCK_STATUS, ChunkType.BLOCK_STATUS_EXT):
            entry = self._entry(kind, request, length)
            if have < min(length, SMALL_BYTES):
                return False
            payload = memoryview(bytearray(length))
            self._begin = body
            self._take_into(payload)
            self._note_status(request, entry, payload)
        else:
            if length > SMALL_BYTES:
                raise Broken(f"a reply of {length} bytes")
            if have < length:
                return False
            self._begin = body + length
            self._take_other(request, kind, self._buffer[body : body + length])
        if flags & ChunkFlag.DONE:
            self._finish(cookie, request)
        elif kind == ChunkType.NONE:
            raise Broken("an empty reply that is not the last")
        return True

    def _take_other(self, request: Request, kind: int, payload: memoryview) -> None:
        length = len(payload)
        if kind == ChunkType.OFFSET_HOLE:
            if length != CHUNK_HOLE.size:
                raise Broken(f"a hole of {length} bytes")
            offset, count = CHUNK_HOLE.unpack(payload)
            view = request.place(offset, count)
            view[:] = bytes(count)
        elif kind & _ERROR:
            if length < CHUNK_ERROR.size:
                raise Broken(f"an error of {length} bytes")
            number, words = CHUNK_ERROR.unpack_from(payload)
            tail = payload[CHUNK_ERROR.size + words :]
            if CHUNK_ERROR.size + words > length or (kind == ChunkType.ERROR_OFFSET and len(tail) != CHUNK_OFFSET.size):
                raise Broken(f"an error whose {length} bytes do not hold what they should")
            offset = CHUNK_OFFSET.unpack(tail)[0] if kind == ChunkType.ERROR_OFFSET else request.offset
            if not request.offset <= offset <= request.offset + request.length:
                raise Broken(f"an error at byte {offset}, outside what was asked for")
            self._note_error(request, number, offset, printable_text(payload[CHUNK_ERROR.size :][:words]))
        elif kind != ChunkType.NONE or length:
            raise Broken(f"a piece of kind {kind} with {length} bytes")

    def _asked(self, cookie: int) -> Request:
        try:
            return self._pending[cookie]
        except KeyError:
            raise Broken("a reply to what was not asked") from None

    def _take_into(self, view: memoryview) -> None:
        """Fills ``view``: from the buffer what is there, the rest without a detour."""
        have = min(self._end - self._begin, len(view))
        view[:have] = self._buffer[self._begin : self._begin + have]
        self._begin += have
        while have < len(view):
            have += self._receive_some(view[have:])

    # -- block status -------------------------------------------------------------------------------------------------

    def _entry(self, kind: int, request: Request, length: int) -> struct.Struct:
        """The layout of the extents that follow, after checking that they may."""
        if request.command is not Command.BLOCK_STATUS:
            raise Broken("extents for a request that did not ask for them")
        if (kind == ChunkType.BLOCK_STATUS_EXT) is not self._terms.extended:
            raise Broken("extents of the other header size")
        entry, head = (
            (BLOCK_STATUS_ENTRY_64, EXTENDED_STATUS_HEAD.size) if self._terms.extended else (BLOCK_STATUS_ENTRY, 4)
        )
        count, rest = divmod(length - head, entry.size)
        if rest or not 0 < count <= MOST_STATUS_ENTRIES:
            raise Broken(f"{length} bytes of extents")
        return entry

    def _note_status(self, request: Request, entry: struct.Struct, payload: memoryview) -> None:
        name = self._terms.contexts.get(int.from_bytes(payload[:4]))
        if request.status is None:
            request.status = {}
        if name is None or name in request.status:
            raise Broken("extents of a context twice, or of one that was not asked for")
        head = 4
        if self._terms.extended:
            head = EXTENDED_STATUS_HEAD.size
            if EXTENDED_STATUS_HEAD.unpack_from(payload)[1] != (len(payload) - head) // entry.size:
                raise Broken("extents that are not as many as it says")
        request.status[name] = entry, bytes(payload[head:])

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _note_error(self, request: Request, number: int, offset: int, words: str) -> None:
        if request.error is None:
            request.error = number or NbdError.EIO, offset, words

    def _finish(self, cookie: int, request: Request) -> None:
        error: Exception | None = None
        if request.error is not None:
            number, offset, words = request.error
            error = refused_request(self._name, request.command, offset, number, words)
        elif request.command is Command.READ and not request.whole():
            raise Broken("the end of a reply whose data has gaps")
        elif request.command is Command.BLOCK_STATUS and len(request.status or ()) != len(self._terms.contexts):
            raise Broken("the end of a reply that lacks a context")
        del self._pending[cookie]
        self.answered = True
        self.finished_bytes += request.data_bytes
        request.done.finish(error)
