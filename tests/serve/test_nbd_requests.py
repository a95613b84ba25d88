"""The requests of the transmission phase as a table: bytes in, events out; no sockets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd import wire
from dmsnap.block.nbd.wire import Command, CommandFlag, ExportFlag, NbdError
from dmsnap.serve.nbd.contexts import contexts_of
from dmsnap.serve.nbd.export import Export
from dmsnap.serve.nbd.handshake import Agreement
from dmsnap.serve.nbd.requests import Ahead, Disconnect, Event, Reads, Refused, Request, RequestParser, Writes
from dmsnap.serve.nbd.violation import ProtocolViolation

SIZE = 1 << 20
FUA, DF, PAYLOAD = CommandFlag.FUA, CommandFlag.DF, CommandFlag.PAYLOAD_LEN


def parser(*, extended: bool = False, structured: bool = True, read_only: bool = False, told: bool = True):  # type: ignore[no-untyped-def]
    export = Export("", MemoryDevice(SIZE), read_only=read_only, dirty_bitmap="d")
    flags = export.flags(chunked=structured) | (ExportFlag.BLOCK_STATUS_PAYLOAD if extended and told else 0)
    contexts = contexts_of(export) if structured and told else ()
    return RequestParser(Agreement(export, SIZE, flags, structured, extended, contexts))


def request(kind: int, offset: int = 0, length: int = 512, data: bytes = b"", flags: int = 0, cookie: int = 1) -> bytes:
    return wire.REQUEST.pack(wire.REQUEST_MAGIC, flags, kind, cookie, offset, len(data) or length) + data


def extended(kind: int, offset: int = 0, length: int = 512, data: bytes = b"", flags: int = 0) -> bytes:
    length = len(data) or length
    return wire.EXTENDED_REQUEST.pack(wire.EXTENDED_REQUEST_MAGIC, flags, kind, 1, offset, length) + data


def parsed(data: bytes, **terms: bool) -> list[Event]:
    events, used = parser(**terms).parse(memoryview(data), len(data))
    assert used == len(data)
    return events


def test_a_run_of_reads_is_one_event_and_so_is_one_of_writes() -> None:
    data = request(0, 0) + request(0, 512) + request(1, 0, data=b"x" * 512) + request(1, 512, data=b"y" * 512)
    reads, writes, last = parsed(data + request(0))
    assert reads == Reads([(1, 0, 512), (1, 512, 512)])
    assert isinstance(writes, Writes)
    assert [(offset, bytes(view[:1])) for _, offset, view in writes.requests] == [(0, b"x"), (512, b"y")]
    assert last == Reads([(1, 0, 512)])


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (Command.FLUSH, 0),
        (Command.FLUSH, FUA),
        (Command.TRIM, FUA),
        (Command.WRITE_ZEROES, FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO),
        (Command.CACHE, 0),
        (Command.BLOCK_STATUS, CommandFlag.REQ_ONE),
    ],
)
def test_commands_come_with_the_flags_that_they_have(kind: Command, flags: int) -> None:
    assert parsed(request(kind, flags=flags)) == [Request(kind, flags, 1, 0, 512)]


def test_reads_may_come_with_fua_and_df() -> None:
    assert parsed(request(0, flags=FUA) + request(0, flags=DF)) == [Reads([(1, 0, 512)] * 2)]


@pytest.mark.parametrize(
    ("kind", "offset", "length", "flags", "number"),
    [
        (0, SIZE, 512, 0, NbdError.EINVAL),
        (0, (1 << 64) - 512, 512, 0, NbdError.EINVAL),
        (0, 100, 512, 0, NbdError.EINVAL),
        (0, 0, 100, 0, NbdError.EINVAL),
        (0, 0, 512, CommandFlag.NO_HOLE, NbdError.EINVAL),
        (0, 0, 512, PAYLOAD, NbdError.EINVAL),
        (0, 0, 512, 1 << 15, NbdError.EINVAL),
        (Command.TRIM, SIZE - 512, 1024, 0, NbdError.EINVAL),
        (Command.WRITE_ZEROES, SIZE - 512, 1024, 0, NbdError.ENOSPC),
        (Command.CACHE, SIZE, 512, 0, NbdError.EINVAL),
        (Command.BLOCK_STATUS, SIZE, 512, 0, NbdError.EINVAL),
        (Command.BLOCK_STATUS, 0, 0, 0, NbdError.EINVAL),
        (8, 0, 512, 0, NbdError.EINVAL),
        (65535, 0, 512, 0, NbdError.EINVAL),
    ],
)
def test_a_wrong_request_is_refused_and_the_next_is_heard(
    kind: int, offset: int, length: int, flags: int, number: NbdError
) -> None:
    refused, following = parsed(request(kind, offset, length, flags=flags) + request(0))
    assert isinstance(refused, Refused)
    assert (refused.number, refused.offset) == (number, offset)
    assert following == Reads([(1, 0, 512)])


def test_a_refused_write_takes_its_data_along() -> None:
    for offset, number, terms in (
        (SIZE, NbdError.ENOSPC, {}),
        (3, NbdError.EINVAL, {}),
        (0, NbdError.EPERM, {"read_only": True}),
    ):
        refused, following = parsed(request(1, offset, data=b"x" * 512) + request(0), **terms)
        assert isinstance(refused, Refused)
        assert refused.number is number
        assert following == Reads([(1, 0, 512)])


def test_a_read_only_export_is_not_changed() -> None:
    for kind in (Command.TRIM, Command.WRITE_ZEROES):
        (refused,) = parsed(request(kind), read_only=True)
        assert isinstance(refused, Refused)
        assert refused.number is NbdError.EPERM


def test_simple_replies_have_neither_df_nor_block_status() -> None:
    for data in (request(0, flags=DF), request(Command.BLOCK_STATUS)):
        (refused,) = parsed(data, structured=False)
        assert isinstance(refused, Refused)
        assert refused.number is NbdError.EINVAL


def test_good_bye_is_the_last_event() -> None:
    data = request(0) + request(Command.DISC, flags=DF) + request(0)
    events, used = parser().parse(memoryview(data), len(data))
    assert events == [Reads([(1, 0, 512)]), Disconnect()]
    assert used == 2 * wire.REQUEST.size


def test_data_that_is_still_to_come_is_announced() -> None:
    it = parser()
    data = request(1, 512, data=b"x" * 1024, flags=FUA, cookie=5)
    for end in (0, 27, 28, 29, len(data) - 1):
        assert it.parse(memoryview(data), end) == ([], 0)
        assert it.ahead == (Ahead(28, 1024, True, 5, 512, None) if end >= 28 else None)


def test_too_much_data_and_no_request_end_the_connection() -> None:
    for data in (request(1, 0, (32 << 20) + 1), b"\0" * 28, extended(0)):
        with pytest.raises(ProtocolViolation):
            parser().parse(memoryview(data), len(data))


def test_extended_requests_have_64_bits() -> None:
    assert parsed(extended(0), extended=True) == [Reads([(1, 0, 512)])]
    (refused,) = parsed(extended(Command.TRIM, 0, 1 << 40), extended=True)
    assert isinstance(refused, Refused)


def test_extended_writes_say_that_data_follows() -> None:
    (writes,) = parsed(extended(1, data=b"x" * 512, flags=PAYLOAD), extended=True)
    assert isinstance(writes, Writes)
    refused, following = parsed(extended(1) + extended(0), extended=True)
    assert isinstance(refused, Refused)
    assert following == Reads([(1, 0, 512)])


def test_data_with_another_extended_command_is_passed_over() -> None:
    refused, following = parsed(extended(0, data=b"x" * 512, flags=PAYLOAD) + extended(0), extended=True)
    assert isinstance(refused, Refused)
    assert refused.number is NbdError.EINVAL
    assert following == Reads([(1, 0, 512)])


def status_of(*numbers: int, length: int = 512) -> bytes:
    return extended(Command.BLOCK_STATUS, data=struct.pack(f">Q{len(numbers)}L", length, *numbers), flags=PAYLOAD)


def test_block_status_may_name_contexts() -> None:
    assert parsed(status_of(3, 1), extended=True) == [Request(7, 0, 1, 0, 512, None, (3, 1))]


@pytest.mark.parametrize(
    "data",
    [
        status_of(),
        status_of(1, 1),
        status_of(9),
        status_of(1, 2, 3, 1),
        status_of(1, length=3),
        status_of(1, length=SIZE * 2),
        extended(Command.BLOCK_STATUS, data=b"x" * 11, flags=PAYLOAD),
        extended(Command.BLOCK_STATUS, data=b"x" * 4, flags=PAYLOAD),
    ],
)
def test_a_bad_list_of_contexts_is_refused(data: bytes) -> None:
    refused, following = parsed(data + extended(0), extended=True)
    assert isinstance(refused, Refused)
    assert refused.number is NbdError.EINVAL
    assert following == Reads([(1, 0, 512)])


SOME = st.one_of(
    st.builds(
        request,
        st.sampled_from([0, 0, 3, 4, 5, 6, 7, 8]),
        st.sampled_from([0, 512, 4096, SIZE - 512, SIZE, 7]),
        st.sampled_from([0, 512, 1024, 100]),
        flags=st.sampled_from([0, 0, 1, 2, 4, 8]),
    ),
    st.builds(
        lambda flags, n: request(1, 512 * n, data=bytes([n]) * 512 * n, flags=flags),
        st.sampled_from([0, 1]),
        st.integers(1, 5),
    ),
)


def flat(events: list[Event]) -> list[object]:
    """Every request by itself, its data copied."""
    singles: list[object] = []
    for event in events:
        if isinstance(event, Reads):
            singles += event.requests
        elif isinstance(event, Writes):
            singles += [(cookie, offset, bytes(view)) for cookie, offset, view in event.requests]
        elif isinstance(event, Request):
            singles.append(event._replace(data=None if event.data is None else bytes(event.data)))  # type: ignore[arg-type]
        else:
            singles.append(event)
    return singles


@given(st.lists(SOME, max_size=12), st.lists(st.integers(0, 1 << 14), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_requests(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    whole = flat(parser().parse(memoryview(data), len(data))[0])
    it, begin, got = parser(), 0, []
    for end in sorted({len(data), *(cut % (len(data) + 1) for cut in cuts)}):
        events, used = it.parse(memoryview(data)[begin:], end - begin)
        got += flat(events)
        begin += used
    assert got == whole
    assert begin == len(data)


@given(st.binary(max_size=200), st.booleans())
def test_garbage_gives_events_or_a_violation(data: bytes, is_extended: bool) -> None:
    magic = wire.EXTENDED_REQUEST_MAGIC if is_extended else wire.REQUEST_MAGIC
    for garbage in (data, struct.pack(">L", magic) + data):
        try:
            _, used = parser(extended=is_extended).parse(memoryview(garbage), len(garbage))
        except ProtocolViolation:
            continue
        assert used <= len(garbage)
