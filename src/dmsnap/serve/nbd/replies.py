"""The three forms of a reply: simple, structured and extended, as was agreed in the handshake."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence

from dmsnap.block.nbd import wire
from dmsnap.block.nbd.wire import ChunkFlag, ChunkType, NbdError
from dmsnap.serve.nbd.contexts import Status

__all__ = ["ExtendedReplies", "Replies", "SimpleReplies", "StructuredReplies"]

_DATA_CHUNK = struct.Struct(">LHHQLQ")  # a chunk of data up to its data: a structured one with its offset
_EXTENDED_DATA_CHUNK = struct.Struct(">LHHQQQQ")
_DONE = int(ChunkFlag.DONE)
_DATA = int(ChunkType.OFFSET_DATA)
_NONE = int(ChunkType.NONE)


class Replies(ABC):
    """How to say it.

    Attributes:
        data_head_bytes: What stands before the data of a read, in bytes.
    """

    data_head_bytes: int

    @abstractmethod
    def data_heads(self, requests: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """What stands before the data of reads (cookie, offset, length)."""

    @abstractmethod
    def done(self, cookie: int, offset: int) -> bytes:
        """Success, without data."""

    def empty(self, cookie: int, offset: int) -> bytes:
        """The answer to a read of nothing."""
        return self.done(cookie, offset)

    @abstractmethod
    def failed(self, cookie: int, offset: int, number: NbdError, reason: str) -> bytes:
        """An error, with a reason for people where the form has room for it."""

    @abstractmethod
    def status(self, cookie: int, offset: int, statuses: Sequence[tuple[int, Status]]) -> bytes:
        """What contexts, by their numbers, say of a range."""


class SimpleReplies(Replies):
    """Without structured replies: an error is a number, and there is no block status."""

    data_head_bytes = wire.SIMPLE_REPLY.size

    def data_heads(self, requests: Sequence[tuple[int, int, int]]) -> list[bytes]:
        pack, magic = wire.SIMPLE_REPLY.pack, wire.SIMPLE_REPLY_MAGIC
        return [pack(magic, 0, cookie) for cookie, _, _ in requests]

    def done(self, cookie: int, offset: int) -> bytes:  # noqa: ARG002
        return wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, 0, cookie)

    def failed(self, cookie: int, offset: int, number: NbdError, reason: str) -> bytes:  # noqa: ARG002
        return wire.SIMPLE_REPLY.pack(wire.SIMPLE_REPLY_MAGIC, number, cookie)

    def status(self, cookie: int, offset: int, statuses: Sequence[tuple[int, Status]]) -> bytes:  # noqa: ARG002
        return self.failed(cookie, offset, NbdError.EINVAL, "")


class StructuredReplies(SimpleReplies):
    """In chunks; success without data is a simple reply still, which the protocol allows and is the shortest."""

    data_head_bytes = _DATA_CHUNK.size

    def data_heads(self, requests: Sequence[tuple[int, int, int]]) -> list[bytes]:
        pack, magic = _DATA_CHUNK.pack, wire.CHUNK_MAGIC
        return [pack(magic, _DONE, _DATA, cookie, length + 8, offset) for cookie, offset, length in requests]

    def empty(self, cookie: int, offset: int) -> bytes:
        return self._chunk(_DONE, ChunkType.NONE, cookie, offset, b"")

    def failed(self, cookie: int, offset: int, number: NbdError, reason: str) -> bytes:
        text = reason.encode("utf-8", "replace")[: wire.MOST_NAME_BYTES]
        return self._chunk(_DONE, ChunkType.ERROR, cookie, offset, wire.CHUNK_ERROR.pack(number, len(text)) + text)

    def status(self, cookie: int, offset: int, statuses: Sequence[tuple[int, Status]]) -> bytes:
        chunks = []
        for left, (context, status) in zip(range(len(statuses) - 1, -1, -1), statuses, strict=True):
            flags = 0 if left else _DONE
            numbers = [number for entry in status for number in entry]
            chunks.append(self._status_chunk(flags, cookie, offset, context, numbers))
        return b"".join(chunks)

    def _status_chunk(self, flags: int, cookie: int, offset: int, context: int, numbers: list[int]) -> bytes:
        body = struct.pack(f">L{len(numbers)}L", context, *numbers)
        return self._chunk(flags, ChunkType.BLOCK_STATUS, cookie, offset, body)

    def _chunk(self, flags: int, kind: ChunkType, cookie: int, offset: int, body: bytes) -> bytes:  # noqa: ARG002
        return wire.CHUNK.pack(wire.CHUNK_MAGIC, flags, kind, cookie, len(body)) + body


class ExtendedReplies(StructuredReplies):
    """In chunks with 64-bit headers, and nothing else."""

    data_head_bytes = _EXTENDED_DATA_CHUNK.size

    def data_heads(self, requests: Sequence[tuple[int, int, int]]) -> list[bytes]:
        pack, magic = _EXTENDED_DATA_CHUNK.pack, wire.EXTENDED_CHUNK_MAGIC
        return [pack(magic, _DONE, _DATA, cookie, at, length + 8, at) for cookie, at, length in requests]

    def done(self, cookie: int, offset: int) -> bytes:
        return wire.EXTENDED_CHUNK.pack(wire.EXTENDED_CHUNK_MAGIC, _DONE, _NONE, cookie, offset, 0)

    def _status_chunk(self, flags: int, cookie: int, offset: int, context: int, numbers: list[int]) -> bytes:
        count = len(numbers)
        body = struct.pack(f">LL{count}Q", context, count // 2, *numbers)
        return self._chunk(flags, ChunkType.BLOCK_STATUS_EXT, cookie, offset, body)

    def _chunk(self, flags: int, kind: ChunkType, cookie: int, offset: int, body: bytes) -> bytes:
        return wire.EXTENDED_CHUNK.pack(wire.EXTENDED_CHUNK_MAGIC, flags, kind, cookie, offset, len(body)) + body
