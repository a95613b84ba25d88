"""A client that says exactly what a test wants, also what no client should."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass

from dmsnap.block.nbd import wire
from dmsnap.block.nbd.wire import ChunkType, Command, CommandFlag, Option, OptionReply
from dmsnap.serve.nbd import Server

FORMS = ("simple", "structured", "extended")


def option(number: int, data: bytes = b"") -> bytes:
    """One option as it is sent."""
    return wire.OPTION.pack(wire.OPTION_MAGIC, number, len(data)) + data


def text(value: str | bytes) -> bytes:
    """A text behind its length."""
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">L", len(value)) + value


def go(name: str = "", *infos: int) -> bytes:
    """The data of GO and INFO."""
    return text(name) + struct.pack(f">H{len(infos)}H", len(infos), *infos)


def contexts(name: str, *queries: str) -> bytes:
    """The data of LIST_META_CONTEXT and SET_META_CONTEXT."""
    return text(name) + struct.pack(">L", len(queries)) + b"".join(map(text, queries))


def answers(data: bytes) -> list[tuple[int, OptionReply, bytes]]:
    """Answers to options: option, kind, data."""
    found = []
    while data:
        magic, number, kind, length = wire.OPTION_REPLY.unpack_from(data)
        assert magic == wire.OPTION_REPLY_MAGIC
        body = data[wire.OPTION_REPLY.size :][:length]
        found.append((number, OptionReply(kind), body))
        data = data[wire.OPTION_REPLY.size + length :]
    return found


@dataclass
class Reply:
    """An answer to a request, its chunks put together."""

    cookie: int
    error: int = 0
    data: bytes = b""
    statuses: dict[int, list[tuple[int, int]]] | None = None


class RawClient:
    """Connects to the first address of a server, as a unix socket or TCP."""

    def __init__(self, server: Server, form: str = "structured", *, greet: bool = True) -> None:
        self.sock = connect(server.addresses[0])
        self.form = form
        self.flags = 0
        self.size = 0
        if greet:
            assert self.take(18)[:16] == wire.GREETING_MAGIC
            self.sock.sendall(wire.CLIENT_FLAGS.pack(3))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def __del__(self) -> None:
        self.sock.close()

    def take(self, count: int) -> bytes:
        """Exactly so many bytes; fewer only at the end of the connection."""
        data = bytearray()
        while len(data) < count and (more := self.sock.recv(count - len(data))):
            data += more
        return bytes(data)

    def ask(self, number: int, data: bytes = b"") -> list[tuple[OptionReply, bytes]]:
        """Sends an option and takes what belongs to its answer."""
        self.sock.sendall(option(number, data))
        got = []
        while True:
            head = self.take(wire.OPTION_REPLY.size)
            _, echoed, kind, length = wire.OPTION_REPLY.unpack(head)
            assert echoed == number
            got.append((OptionReply(kind), self.take(length)))
            if kind == OptionReply.ACK or kind & 1 << 31:
                return got

    def enter(self, name: str = "", *queries: str) -> RawClient:
        """Agrees on the form, contexts and the export."""
        if self.form != "simple":
            number = Option.EXTENDED_HEADERS if self.form == "extended" else Option.STRUCTURED_REPLY
            assert self.ask(number) == [(OptionReply.ACK, b"")]
        if queries:
            assert self.ask(Option.SET_META_CONTEXT, contexts(name, *queries))[-1][0] is OptionReply.ACK
        got = self.ask(Option.GO, go(name))
        assert got[-1][0] is OptionReply.ACK, got
        self.size, self.flags = wire.EXPORT.unpack(got[0][1][2:])
        return self

    def send(
        self,
        kind: int,
        offset: int = 0,
        length: int = 0,
        data: bytes = b"",
        flags: int = 0,
        cookie: int = 7,
    ) -> None:
        """Sends one request."""
        self.sock.sendall(self.request(kind, offset, length, data, flags, cookie))

    def request(
        self, kind: int, offset: int = 0, length: int = 0, data: bytes = b"", flags: int = 0, cookie: int = 7
    ) -> bytes:
        """One request as it is sent; with ``data`` its length is that."""
        length = len(data) or length
        if self.form == "extended":
            flags |= CommandFlag.PAYLOAD_LEN if data else 0
            return wire.EXTENDED_REQUEST.pack(wire.EXTENDED_REQUEST_MAGIC, flags, kind, cookie, offset, length) + data
        return wire.REQUEST.pack(wire.REQUEST_MAGIC, flags, kind, cookie, offset, length) + data

    def reply(self, reading: int = 0) -> Reply:
        """Takes one whole reply; ``reading`` is how many bytes a simple reply to a read brings."""
        reply = None
        while True:
            (magic,) = struct.unpack(">L", self.take(4))
            if magic == wire.SIMPLE_REPLY_MAGIC:
                assert self.form != "extended"
                error, cookie = struct.unpack(">LQ", self.take(12))
                return Reply(cookie, error, b"" if error or not reading else self.take(reading))
            if magic == wire.CHUNK_MAGIC:
                flags, kind, cookie, length = struct.unpack(">HHQL", self.take(16))
                assert self.form == "structured"
            else:
                assert magic == wire.EXTENDED_CHUNK_MAGIC
                assert self.form == "extended"
                flags, kind, cookie, _, length = struct.unpack(">HHQQQ", self.take(28))
            reply = reply or Reply(cookie)
            assert reply.cookie == cookie
            self._chunk(reply, kind, self.take(length))
            if flags & 1:
                return reply

    def _chunk(self, reply: Reply, kind: int, body: bytes) -> None:
        if kind == ChunkType.OFFSET_DATA:
            reply.data += body[8:]
        elif kind & 0x8000:
            reply.error, length = wire.CHUNK_ERROR.unpack_from(body)
            assert len(body) == 6 + length
        elif kind == ChunkType.BLOCK_STATUS:
            reply.statuses = reply.statuses or {}
            reply.statuses[int.from_bytes(body[:4])] = list(wire.BLOCK_STATUS_ENTRY.iter_unpack(body[4:]))
        elif kind == ChunkType.BLOCK_STATUS_EXT:
            reply.statuses = reply.statuses or {}
            entries = list(wire.BLOCK_STATUS_ENTRY_64.iter_unpack(body[8:]))
            assert int.from_bytes(body[4:8]) == len(entries)
            reply.statuses[int.from_bytes(body[:4])] = entries
        else:
            assert kind == ChunkType.NONE
            assert not body

    def call(self, kind: int, offset: int = 0, length: int = 0, data: bytes = b"", flags: int = 0) -> Reply:
        """Sends one request and takes its reply."""
        self.send(kind, offset, length, data, flags)
        return self.reply(length if kind == Command.READ else 0)

    def ended(self) -> bool:
        """Whether the server has closed the connection, having said nothing more."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def connect(address: str) -> socket.socket:
    """A socket to a server's address, with a limit on time."""
    if "unix" in address:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        while True:
            try:
                sock.connect(address.partition("socket=")[2])
            except BlockingIOError:  # too many at once: with a limit on time, the kernel does not wait
                time.sleep(0.001)
            else:
                return sock
    host, _, port = address.rpartition("/")[2].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)
