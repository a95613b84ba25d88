"""Whatever bytes a server sends, in whatever portions: requests are finished at most once, or the stream is refused."""

from __future__ import annotations

import random
import struct

import pytest

from dmsnap.block import Completion
from dmsnap.block.nbd.handshake import Terms
from dmsnap.block.nbd.replies import ReplyReader
from dmsnap.block.nbd.request import Broken, Request
from dmsnap.block.nbd.wire import (
    CHUNK,
    CHUNK_MAGIC,
    EXTENDED_CHUNK,
    EXTENDED_CHUNK_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    ChunkType,
    Command,
    ExportFlag,
)

SEEDS = range(150)
LENGTH = 4096


class Portions:
    """A channel that gives out bytes in portions, then ends."""

    def __init__(self, data: bytes, rng: random.Random) -> None:
        self._data = memoryview(data)
        self._rng = rng

    def receive_into(self, view: memoryview) -> int:
        count = min(len(view), len(self._data), self._rng.choice((1, 7, 100, 5000, 1 << 20)))
        view[:count], self._data = self._data[:count], self._data[count:]
        return count


def stream(rng: random.Random, terms: Terms, requests: dict[int, Request]) -> bytes:
    """Right answers to all requests, some in pieces."""
    out = []

    def chunk(cookie: int, kind: int, payload: bytes, *, done: bool = True) -> None:
        if terms.extended:
            head = EXTENDED_CHUNK.pack(EXTENDED_CHUNK_MAGIC, done, kind, cookie, requests[cookie].offset, len(payload))
        else:
            head = CHUNK.pack(CHUNK_MAGIC, done, kind, cookie, len(payload))
        out.append(head + payload)

    for cookie, request in rng.sample(list(requests.items()), len(requests)):
        at = request.offset
        if request.command is Command.BLOCK_STATUS:
            entry = struct.pack(">LLQQ", 5, 1, LENGTH, 3) if terms.extended else struct.pack(">LLL", 5, LENGTH, 3)
            chunk(cookie, ChunkType.BLOCK_STATUS_EXT if terms.extended else ChunkType.BLOCK_STATUS, entry)
        elif not terms.structured:
            out.append(SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie))
            out.append(b"d" * request.data_bytes if request.command is Command.READ else b"")
        elif request.command is not Command.READ:
            chunk(cookie, ChunkType.NONE, b"")
        elif rng.random() < 0.5:
            chunk(cookie, ChunkType.OFFSET_DATA, struct.pack(">Q", at) + b"d" * request.length)
        else:
            half = request.length // 2
            chunk(cookie, ChunkType.OFFSET_DATA, struct.pack(">Q", at + half) + b"d" * half, done=False)
            chunk(cookie, ChunkType.OFFSET_HOLE, struct.pack(">QL", at, half))
    return b"".join(out)


@pytest.mark.parametrize("mode", ["simple", "structured", "extended"])
@pytest.mark.parametrize("damaged", [False, True], ids=["right", "damaged"])
def test_replies_of_any_kind(mode: str, damaged: bool) -> None:
    for seed in SEEDS:
        rng = random.Random(seed)
        terms = Terms(1 << 30, ExportFlag(0), structured=mode != "simple", extended=mode == "extended")
        terms.contexts[5] = "base:allocation"
        requests = {}
        for cookie in range(1, rng.randrange(2, 12)):
            kinds = [Command.READ, Command.READ, Command.FLUSH] + [Command.BLOCK_STATUS] * terms.structured
            command = rng.choice(kinds)
            length = rng.choice((512, LENGTH, 300_000)) if command is Command.READ else 0
            view = memoryview(bytearray(length)) if command is Command.READ else None
            requests[cookie] = Request(command, cookie << 20, length, Completion(), view)
        data = bytearray(stream(rng, terms, requests))
        if damaged:
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
        pending = dict(requests)
        reader = ReplyReader("disk", Portions(bytes(data), rng), terms, pending, lambda: None)  # type: ignore[arg-type]
        try:
            while True:
                reader.receive()
        except EOFError:
            assert damaged or not pending, seed
        except Broken:
            assert damaged, seed
        for cookie, request in requests.items():
            assert request.done.done is (cookie not in pending), seed  # type: ignore[attr-defined]
            if not damaged and request.view is not None:
                assert set(request.view[request.length // 2 :]) == {ord("d")}, seed
