"""A server that lies, babbles or falls silent: an error in time, with memory in proportion, and never a hang."""

from __future__ import annotations

import struct
import threading
import time
import tracemalloc

import pytest

from dmsnap.block import CannotOpen, Extent, ExtentKind, IOFailed, OutOfRoom
from dmsnap.block.nbd import handshake
from dmsnap.block.nbd.device import NbdDevice
from dmsnap.block.nbd.failure import ConnectionLost, ProtocolViolation
from dmsnap.block.nbd.wire import (
    CHUNK,
    CHUNK_MAGIC,
    GREETING_MAGIC,
    OPTION_REPLY,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    ChunkType,
    CommandFlag,
    Info,
    Option,
    OptionReply,
)

STRUCTURED, SIMPLE = (Option.STRUCTURED_REPLY,), ()
DATA, ERROR = ChunkType.OFFSET_DATA, ChunkType.ERROR
SIZE = 1 << 20


def at(offset: int, data: bytes = b"") -> bytes:
    return struct.pack(">Q", offset) + data


# -- the handshake ----------------------------------------------------------------------------------------------------


def until_go(peer, answer) -> None:
    peer.greet()
    while True:
        option, _ = peer.option()
        if option == Option.GO:
            answer(option)
            peer.receive(1)  # until the client leaves
        peer.answer(option, OptionReply.ERR_UNSUP)


def info(peer, option: int, data: bytes) -> None:
    peer.answer(option, OptionReply.INFO, data)


HANDSHAKES = {
    "no server of NBD": lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "the old style": lambda peer: peer.send(b"NBDMAGIC", bytes.fromhex("0000420281861253"), bytes(140)),
    "hangs up at once": lambda peer: None,
    "hangs up in the middle": lambda peer: peer.send(GREETING_MAGIC[:7]),
    "an answer of 4 GiB": lambda peer: (
        peer.greet(),
        peer.option(),
        peer.send(OPTION_REPLY.pack(0x0003E889045565A9, Option.EXTENDED_HEADERS, OptionReply.INFO, 0xFFFFFFFF)),
        peer.receive(1),
    ),
    "an answer to another question": lambda peer: (
        peer.greet(),
        peer.option(),
        peer.answer(Option.LIST, OptionReply.ACK),
        peer.receive(1),
    ),
    "an answer with another magic": lambda peer: (peer.greet(), peer.option(), peer.send(bytes(20)), peer.receive(1)),
    "answers without an end": lambda peer: until_go(
        peer, lambda option: [info(peer, option, struct.pack(">HQH", Info.EXPORT, SIZE, 1)) for _ in range(1000)]
    ),
    "no size": lambda peer: until_go(peer, lambda option: peer.answer(option, OptionReply.ACK)),
    "a size of 2 ** 64 - 1": lambda peer: peer.agree(size=(1 << 64) - 1),
    "a short size": lambda peer: until_go(peer, lambda option: info(peer, option, struct.pack(">HQ", Info.EXPORT, 1))),
    "empty information": lambda peer: until_go(peer, lambda option: info(peer, option, b"")),
    "blocks of 3 bytes": lambda peer: peer.agree(blocks=(3, 4096, 1 << 20)),
    "blocks of no bytes": lambda peer: peer.agree(blocks=(0, 4096, 1 << 20)),
    "blocks of 1 MiB": lambda peer: peer.agree(blocks=(1 << 20, 1 << 20, 1 << 20)),
    "no largest block": lambda peer: peer.agree(blocks=(1, 512, 0)),
    "a context twice": lambda peer: peer.agree(contexts={1: "base:allocation", 2: "base:allocation"}),
    "a context nobody wanted": lambda peer: peer.agree(contexts={1: "base:other"}),
    "another kind of answer": lambda peer: until_go(peer, lambda option: peer.answer(option, 77)),
    "an error without a name": lambda peer: until_go(
        peer, lambda option: peer.answer(option, 0x800000FF, b"\n\0\xff" * 99)
    ),
}


@pytest.mark.parametrize("what", HANDSHAKES)
def test_a_wrong_handshake_is_one_line(scripted, what: str) -> None:
    with pytest.raises(CannotOpen) as caught:
        NbdDevice(scripted(HANDSHAKES[what]))
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("drips", [False, True])
def test_a_handshake_without_an_end_has_a_time_limit(scripted, monkeypatch: pytest.MonkeyPatch, drips: bool) -> None:
    monkeypatch.setattr("dmsnap.block.nbd.connection.CONNECT_SECONDS", 0.3)

    def answer(peer, option: int) -> None:
        while drips:
            info(peer, option, struct.pack(">HQH", Info.EXPORT, SIZE, 1))

    started = time.monotonic()
    monkeypatch.setattr(handshake, "MOST_OPTION_REPLIES", 1 << 40)
    with pytest.raises(CannotOpen, match="did not answer within"):
        NbdDevice(scripted(lambda peer: until_go(peer, lambda option: answer(peer, option))))
    assert time.monotonic() - started < 5


def test_an_old_server_is_asked_in_the_old_way(scripted) -> None:
    def script(peer, flags: int = 0) -> None:
        peer.greet(flags)
        option, name = peer.option()
        while option != Option.EXPORT_NAME:
            peer.answer(option, OptionReply.ERR_UNSUP)
            option, name = peer.option()
        assert name == b""
        peer.send(struct.pack(">QH", SIZE, 3), bytes(0 if flags & 2 else 124))
        _, _, cookie, _, length = peer.request()
        peer.send(SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie), b"x" * length)

    for flags in (0, 1, 3):
        with NbdDevice(scripted(lambda peer, flags=flags: script(peer, flags))) as device:
            assert device.size_bytes == SIZE
            assert device.read_at(512, 512) == b"x" * 512


# -- replies ----------------------------------------------------------------------------------------------------------

READS = {
    "nothing known": lambda peer, cookie: peer.send(bytes(64)),
    "an unknown cookie": lambda peer, cookie: peer.chunk(DATA, cookie + 1, at(4096, bytes(8192))),
    "a simple reply": lambda peer, cookie: peer.send(SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie), bytes(8192)),
    "data before the range": lambda peer, cookie: peer.chunk(DATA, cookie, at(3584, bytes(8192))),
    "data behind the range": lambda peer, cookie: peer.chunk(DATA, cookie, at(4608, bytes(8192))),
    "too much data": lambda peer, cookie: peer.chunk(DATA, cookie, at(4096, bytes(8193))),
    "4 GiB of data": lambda peer, cookie: peer.send(CHUNK.pack(CHUNK_MAGIC, 1, DATA, cookie, 0xFFFFFFFF)),
    "no data": lambda peer, cookie: peer.chunk(DATA, cookie, at(4096)),
    "less than an offset": lambda peer, cookie: peer.chunk(DATA, cookie, b"1234"),
    "a gap at the end": lambda peer, cookie: peer.chunk(DATA, cookie, at(4096, bytes(8191))),
    "a gap in the middle": lambda peer, cookie: (
        peer.chunk(DATA, cookie, at(4096, bytes(4095)), done=False),
        peer.chunk(DATA, cookie, at(8192, bytes(4096))),
    ),
    "nothing at all, and done": lambda peer, cookie: peer.chunk(ChunkType.NONE, cookie),
    "nothing, and not done": lambda peer, cookie: peer.chunk(ChunkType.NONE, cookie, done=False),
    "nothing, of 4 bytes": lambda peer, cookie: peer.chunk(ChunkType.NONE, cookie, bytes(4)),
    "the same twice": lambda peer, cookie: (
        peer.chunk(DATA, cookie, at(4096, bytes(4096)), done=False),
        peer.chunk(DATA, cookie, at(4096, bytes(4096))),
    ),
    "an overlap": lambda peer, cookie: (
        peer.chunk(DATA, cookie, at(8192, bytes(4096)), done=False),
        peer.chunk(DATA, cookie, at(4096, bytes(4097))),
    ),
    "an overlap with a hole": lambda peer, cookie: (
        peer.chunk(DATA, cookie, at(8192, bytes(4096)), done=False),
        peer.chunk(ChunkType.OFFSET_HOLE, cookie, struct.pack(">QL", 4096, 8192)),
    ),
    "a hole of 4 GiB": lambda peer, cookie: peer.chunk(
        ChunkType.OFFSET_HOLE, cookie, struct.pack(">QL", 4096, 0xFFFFFFFF)
    ),
    "an empty hole": lambda peer, cookie: peer.chunk(ChunkType.OFFSET_HOLE, cookie, struct.pack(">QL", 4096, 0)),
    "half a hole": lambda peer, cookie: peer.chunk(ChunkType.OFFSET_HOLE, cookie, bytes(11)),
    "extents": lambda peer, cookie: peer.chunk(ChunkType.BLOCK_STATUS, cookie, bytes(12)),
    "a piece of no kind": lambda peer, cookie: peer.chunk(99, cookie, bytes(8)),
    "an error too short": lambda peer, cookie: peer.chunk(ERROR, cookie, bytes(5)),
    "an error with more words than it has": lambda peer, cookie: peer.chunk(ERROR, cookie, struct.pack(">LH", 5, 9)),
    "an error of 4 GiB": lambda peer, cookie: peer.send(CHUNK.pack(CHUNK_MAGIC, 1, ERROR, cookie, 0xFFFFFFFF)),
    "an error elsewhere": lambda peer, cookie: peer.chunk(
        ChunkType.ERROR_OFFSET, cookie, struct.pack(">LHQ", 5, 0, 1 << 40)
    ),
}


@pytest.mark.parametrize("what", READS)
def test_a_wrong_reply_ends_the_connection(scripted, what: str) -> None:
    def script(peer) -> None:
        peer.agree()
        _, _, cookie, _, _ = peer.request()
        READS[what](peer, cookie)
        peer.receive(1)

    tracemalloc.start()
    try:
        with NbdDevice(scripted(script), timeout_seconds=20) as device:
            for _ in range(2):  # the request itself, and what comes after
                with pytest.raises(ProtocolViolation, match="breaks the NBD protocol"):
                    device.read_at(4096, 8192)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_pieces_in_any_order_are_put_together(scripted) -> None:
    def script(peer) -> None:
        peer.agree()
        _, _, cookie, _, _ = peer.request()
        peer.chunk(DATA, cookie, at(8192, b"c" * 4096), done=False)
        peer.chunk(ChunkType.OFFSET_HOLE, cookie, struct.pack(">QL", 4608, 3072), done=False)
        peer.chunk(DATA, cookie, at(4096, b"a" * 512), done=False)
        peer.chunk(DATA, cookie, at(7680, b"b" * 512), done=False)
        peer.chunk(ChunkType.NONE, cookie)

    with NbdDevice(scripted(script)) as device:
        assert device.read_at(4096, 8192) == b"a" * 512 + bytes(3072) + b"b" * 512 + b"c" * 4096


def test_pieces_without_an_end_are_bounded(scripted) -> None:
    def script(peer) -> None:
        peer.agree()
        _, _, cookie, _, length = peer.request()
        for offset in range(0, length, 2):
            peer.chunk(DATA, cookie, at(offset, b"x"), done=False)
        peer.receive(1)

    with NbdDevice(scripted(script)) as device, pytest.raises(ProtocolViolation, match="too many pieces"):
        device.read_at(0, SIZE)


def test_a_second_reply_is_no_reply(scripted) -> None:
    def script(peer) -> None:
        peer.agree()
        cookies = [peer.request()[2] for _ in range(2)]
        for _ in range(2):
            peer.chunk(DATA, cookies[0], at(0, bytes(512)))
        peer.receive(1)

    with NbdDevice(scripted(script)) as device:
        first, second = device.start_reads([(0, memoryview(bytearray(512))), (512, memoryview(bytearray(512)))])
        first.wait()
        with pytest.raises(ProtocolViolation):
            second.wait()


def test_the_words_of_a_server_are_made_harmless(scripted) -> None:
    def script(peer) -> None:
        peer.agree()
        _, _, cookie, _, _ = peer.request()
        words = b"disk\n\x1b[31m full \xff" + b"x" * 60000
        peer.chunk(ChunkType.ERROR_OFFSET, cookie, struct.pack(">LH", 28, len(words)) + words + at(1024))
        _, _, cookie, _, _ = peer.request()
        peer.chunk(ERROR, cookie, struct.pack(">LH", 0x12345678, 0))

    with NbdDevice(scripted(script)) as device:
        with pytest.raises(OutOfRoom, match="at byte 1024: disk") as caught:
            device.read_at(0, 4096)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
        with pytest.raises(IOFailed, match="error 305419896 of the server"):
            device.read_at(0, 4096)


def test_a_server_that_drips_has_a_time_limit(scripted) -> None:
    def script(peer) -> None:
        peer.agree(accept=SIMPLE)
        _, _, cookie, _, _ = peer.request()
        peer.send(SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie))
        while True:
            peer.send(b"x")
            time.sleep(0.01)

    started = time.monotonic()
    with NbdDevice(scripted(script), timeout_seconds=0.3) as device, pytest.raises(ConnectionLost):
        device.read_at(0, SIZE)
    assert time.monotonic() - started < 5


def test_a_server_that_takes_nothing_has_a_time_limit(scripted) -> None:
    over = threading.Event()

    def script(peer) -> None:
        peer.agree(flags=0x01)
        over.wait(20)

    started = time.monotonic()
    with NbdDevice(scripted(script), writable=True, timeout_seconds=0.3) as device, pytest.raises(ConnectionLost):
        device.write_at(0, bytes(SIZE))
    over.set()
    assert time.monotonic() - started < 6


def test_reads_are_asked_for_in_one_piece_where_that_is_offered(scripted) -> None:
    flags = []

    def script(peer) -> None:
        peer.agree(flags=0x83)
        for _ in range(2):
            flag, _, cookie, offset, length = peer.request()
            flags.append(flag)
            peer.chunk(DATA, cookie, at(offset, bytes(length)))

    with NbdDevice(scripted(script)) as device:
        device.read_at(0, 65536)
        device.read_at(0, 65536 + 512)
    assert flags == [CommandFlag.DF, 0]


# -- extents ----------------------------------------------------------------------------------------------------------

BOTH = {7: "base:allocation", 9: "qemu:allocation-depth"}


def entries(context: int, *pairs: tuple[int, int]) -> bytes:
    return struct.pack(">L", context) + b"".join(struct.pack(">LL", *pair) for pair in pairs)


EXTENTS = {
    "an empty extent": [entries(7, (0, 0)), entries(9, (512, 1))],
    "no extent": [entries(7), entries(9, (512, 1))],
    "half an extent": [entries(7, (512, 0))[:-1], entries(9, (512, 1))],
    "a context twice": [entries(7, (512, 0)), entries(7, (512, 0))],
    "another context": [entries(8, (512, 0)), entries(9, (512, 0))],
    "a context missing": [entries(7, (512, 0))],
    "extents beyond the range": [entries(7, (SIZE, 0), (512, 3)), entries(9, (SIZE, 1))],
    "an absurd depth": [entries(7, (SIZE, 0)), entries(9, (SIZE, 0xFFFFFFFF))],
}


@pytest.mark.parametrize("what", EXTENTS)
def test_wrong_extents_are_an_error(scripted, what: str) -> None:
    def script(peer) -> None:
        peer.agree(contexts=BOTH)
        _, _, cookie, _, _ = peer.request()
        for number, payload in enumerate(EXTENTS[what], 1):
            peer.chunk(ChunkType.BLOCK_STATUS, cookie, payload, done=number == len(EXTENTS[what]))
        peer.receive(1)

    with NbdDevice(scripted(script)) as device, pytest.raises(ProtocolViolation):
        list(device.extents(0, SIZE))


def test_extents_are_asked_for_until_all_is_told_and_only_as_far_as_wanted(scripted) -> None:
    asked = []

    def script(peer) -> None:
        peer.agree(contexts=BOTH)
        while True:
            _, _, cookie, offset, length = peer.request()
            asked.append((offset, length))
            if length < 512:  # the end of a second question
                peer.chunk(ChunkType.BLOCK_STATUS, cookie, entries(7, (length, 0)), done=False)
                peer.chunk(ChunkType.BLOCK_STATUS, cookie, entries(9, (1 << 20, 1)))
            else:
                peer.chunk(ChunkType.BLOCK_STATUS, cookie, entries(7, (4096, 0), (4096, 3), (1000, 0)), done=False)
                peer.chunk(ChunkType.BLOCK_STATUS, cookie, entries(9, (8192, 1), (1 << 30, 2)))

    with NbdDevice(scripted(script)) as device:
        extents = device.extents(0, SIZE)
        assert next(extents) == Extent(0, 4096, ExtentKind.DATA, 1)
        assert next(extents) == Extent(4096, 4096, ExtentKind.HOLE, 1)
        extents.close()
        assert asked == [(0, SIZE), (9192, SIZE - 9192)][: len(asked)]
        assert list(device.extents(0, 9216))[2:] == [
            Extent(8192, 512, ExtentKind.DATA, 2),
            Extent(8704, 512, ExtentKind.DATA, 1),  # a sector that two layers share is of the nearer one
        ]


# -- extended headers -------------------------------------------------------------------------------------------------


def test_extended_headers_where_they_are_offered(scripted) -> None:
    def script(peer) -> None:
        peer.agree(accept=(Option.EXTENDED_HEADERS,), contexts={1: "base:allocation"}, flags=0x01, size=1 << 40)
        reply = struct.Struct(">LHHQQQ")

        def request() -> tuple[int, int, int, int, int]:
            magic, *fields = struct.unpack(">LHHQQQ", peer.receive(32))
            assert magic == 0x21E41C71
            return tuple(fields)

        flags, command, cookie, offset, length = request()
        assert (flags, command, offset, length) == (0, 0, 1 << 39, 4096)
        peer.send(reply.pack(0x6E8A278C, 1, DATA, cookie, offset, 8 + length), at(offset, b"r" * length))
        flags, command, cookie, offset, length = request()
        assert (flags, command) == (CommandFlag.PAYLOAD_LEN, 1)
        assert peer.receive(length) == b"w" * 512
        peer.send(reply.pack(0x6E8A278C, 1, ChunkType.NONE, cookie, offset, 0))
        flags, command, cookie, offset, length = request()
        assert (command, offset, length) == (7, 0, 1 << 40)
        status = struct.pack(">LLQQQQ", 1, 2, 1 << 39, 3, 1 << 50, 0)
        peer.send(reply.pack(0x6E8A278C, 1, ChunkType.BLOCK_STATUS_EXT, cookie, offset, len(status)), status)

    with NbdDevice(scripted(script), writable=True) as device:
        assert device.read_at(1 << 39, 4096) == b"r" * 4096
        device.write_at(0, b"w" * 512)
        assert list(device.extents(0, 1 << 40)) == [
            Extent(0, 1 << 39, ExtentKind.HOLE),
            Extent(1 << 39, 1 << 39, ExtentKind.DATA),
        ]
