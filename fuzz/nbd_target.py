"""Any bytes from an NBD client: answered, or cut off by a violation; however they are split, the same comes of them."""

from __future__ import annotations

import engine

with engine.instrumented(include=["dmsnap.serve", "dmsnap.block.nbd"]):
    from dmsnap.block.memory import MemoryDevice
    from dmsnap.block.nbd import wire
    from dmsnap.serve.nbd.export import Export
    from dmsnap.serve.nbd.handshake import Handshake, Phase
    from dmsnap.serve.nbd.requests import Disconnect, Reads, Refused, RequestParser, Writes
    from dmsnap.serve.nbd.violation import ProtocolViolation

SIZE = 1 << 20
EXPORTS = (
    Export("disk", MemoryDevice(SIZE), description="a disk", dirty_bitmap="snapshot"),
    Export("plain", MemoryDevice(SIZE, logical_block_size_bytes=4096), read_only=True),
)


def test_one(data: bytes) -> None:
    """The first byte says how: with TLS, where to split; the rest is what the client sends."""
    if not data:
        return
    how, data = data[0], data[1:]
    tls, split = bool(how & 1), (how >> 1) * len(data) // 127
    whole = _outcome([data], tls=tls)
    parts = _outcome([data[:split], data[split:]], tls=tls)
    assert whole[1:] == parts[1:], "another outcome when split"
    assert whole[0] == parts[0] or whole[1] is None


def _outcome(pieces: list[bytes], *, tls: bool) -> tuple[bytes, Phase | None, list[object]]:
    handshake, parser, rest = Handshake(EXPORTS, tls=tls), None, b""
    answers, events = b"", []
    try:
        for piece in pieces:
            if parser is None:
                answers += handshake.receive(piece)
                piece = b""
            if handshake.phase is Phase.AGREED and parser is None:
                assert handshake.agreement is not None
                parser, piece = RequestParser(handshake.agreement), handshake.rest
            if parser is not None:
                rest += piece
                found, used = parser.parse(memoryview(rest), len(rest))
                for event in found:
                    events += _checked(event)
                    if isinstance(event, Disconnect):
                        return answers, handshake.phase, events
                rest = rest[used:]
                assert parser.ahead is None or parser.ahead.data_bytes <= wire.MOST_DATA_BYTES
    except ProtocolViolation:
        return answers, None, []
    return answers, handshake.phase, events


def _checked(event: object) -> list[object]:
    """What reaches a device lies within it."""
    if isinstance(event, Reads):
        places = [(offset, length) for _, offset, length in event.requests]
    elif isinstance(event, Writes):
        places = [(offset, len(data)) for _, offset, data in event.requests]
    else:
        places = [] if isinstance(event, Refused | Disconnect) or event.kind == 3 else [(event.offset, event.length)]
    assert all(offset % 512 == length % 512 == 0 and offset + length <= SIZE for offset, length in places)
    if isinstance(event, Reads | Writes):
        return [
            (cookie, offset, bytes(what) if isinstance(event, Writes) else what) for cookie, offset, what in event[0]
        ]
    return [repr(event._replace(data=bytes(event.data)) if getattr(event, "data", None) is not None else event)]


if __name__ == "__main__":
    engine.fuzz(test_one, of_stores=False)
