"""The handshake as a table: bytes in, bytes out; no sockets."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_nbd import answers, contexts, go, option, text

from dmsnap.block.contract import BadRequest
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd import wire
from dmsnap.block.nbd.wire import ExportFlag, Info, Option, OptionReply
from dmsnap.serve.nbd.export import Export, check_exports
from dmsnap.serve.nbd.handshake import MOST_OPTION_BYTES, MOST_OPTIONS, Handshake, Phase
from dmsnap.serve.nbd.violation import ProtocolViolation

DEVICE = MemoryDevice(1 << 20)
EXPORTS = (
    Export("disk", DEVICE, description="a disk", dirty_bitmap="snapshot", preferred_block_bytes=1 << 16),
    Export("plain", MemoryDevice(8192, logical_block_size_bytes=4096), read_only=True),
)
FLAGS = wire.CLIENT_FLAGS.pack(3)
ACK = OptionReply.ACK


def shaken(*options: bytes, tls: bool = False) -> Handshake:
    handshake = Handshake(EXPORTS, tls=tls)
    handshake.receive(FLAGS + b"".join(options))
    return handshake


def told(*options: bytes, tls: bool = False) -> list[tuple[OptionReply, bytes]]:
    handshake = Handshake(EXPORTS, tls=tls)
    return [(kind, body) for _, kind, body in answers(handshake.receive(FLAGS + b"".join(options)))]


def kinds(*options: bytes, tls: bool = False) -> list[OptionReply]:
    return [kind for kind, _ in told(*options, tls=tls)]


def test_list_names_every_export_with_its_description() -> None:
    assert told(option(Option.LIST)) == [
        (OptionReply.SERVER, text("disk") + b"a disk"),
        (OptionReply.SERVER, text("plain")),
        (ACK, b""),
    ]


@pytest.mark.parametrize("asked", [Option.INFO, Option.GO])
def test_info_and_go_tell_what_was_asked_for(asked: Option) -> None:
    infos = {body[:2]: body[2:] for kind, body in told(option(asked, go("disk", 1, 2, 3, 77))) if kind != ACK}
    assert infos[struct.pack(">H", Info.NAME)] == b"disk"
    assert infos[struct.pack(">H", Info.DESCRIPTION)] == b"a disk"
    assert struct.unpack(">LLL", infos[struct.pack(">H", Info.BLOCK_SIZE)]) == (512, 1 << 16, 32 << 20)
    size, flags = wire.EXPORT.unpack(infos[struct.pack(">H", Info.EXPORT)])
    assert size == 1 << 20
    assert flags & ExportFlag.CAN_MULTI_CONN
    assert not flags & (ExportFlag.READ_ONLY | ExportFlag.SEND_DF)


def test_the_least_block_is_the_devices_and_a_read_only_export_says_so() -> None:
    handshake = shaken(option(Option.GO, go("plain")))
    assert handshake.agreement is not None
    assert handshake.agreement.export.least_block_bytes == 4096
    assert handshake.agreement.flags & ExportFlag.READ_ONLY
    assert not handshake.agreement.flags & ExportFlag.SEND_TRIM


def test_no_name_is_the_first_export() -> None:
    handshake = shaken(option(Option.GO, go("")))
    assert handshake.agreement is not None
    assert handshake.agreement.export is EXPORTS[0]


def test_an_unknown_export_is_an_error_and_the_handshake_goes_on() -> None:
    assert kinds(option(Option.GO, go("nothing")), option(Option.INFO, go("plain"))) == [
        OptionReply.ERR_UNKNOWN, OptionReply.INFO, ACK,
    ]  # fmt: skip


@pytest.mark.parametrize("number", [0, 4, 12, 1 << 31, (1 << 32) - 1])
def test_an_unknown_option_is_an_error_and_the_handshake_goes_on(number: int) -> None:
    assert kinds(option(number, b"whatever"), option(Option.STRUCTURED_REPLY)) == [OptionReply.ERR_UNSUP, ACK]


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (Option.LIST, b"x"),
        (Option.STARTTLS, b"x"),
        (Option.STRUCTURED_REPLY, b"x"),
        (Option.EXTENDED_HEADERS, b"x"),
        (Option.GO, b""),
        (Option.GO, text("disk")),
        (Option.GO, struct.pack(">L", 99) + b"disk" + bytes(2)),
        (Option.GO, go("disk") + b"x"),
        (Option.GO, go("disk", 1)[:-1]),
        (Option.GO, text(b"\xff") + bytes(2)),
        (Option.GO, text(b"a\0b") + bytes(2)),
        (Option.GO, text("x" * 4097) + bytes(2)),
        (Option.LIST_META_CONTEXT, b""),
        (Option.LIST_META_CONTEXT, text("disk")),
        (Option.LIST_META_CONTEXT, text("disk") + struct.pack(">L", 1)),
        (Option.LIST_META_CONTEXT, text("disk") + struct.pack(">L", (1 << 32) - 1) + text("base:")),
        (Option.LIST_META_CONTEXT, contexts("disk", "base:") + b"x"),
    ],
)
def test_a_malformed_option_is_invalid_and_the_handshake_goes_on(number: int, data: bytes) -> None:
    assert kinds(option(number, data), option(Option.STRUCTURED_REPLY)) == [OptionReply.ERR_INVALID, ACK]


def test_a_long_option_is_passed_over() -> None:
    long = option(Option.GO, bytes(MOST_OPTION_BYTES + 1))
    assert kinds(long, option(Option.STRUCTURED_REPLY)) == [OptionReply.ERR_TOO_BIG, ACK]


@pytest.mark.parametrize(
    "data",
    [
        wire.CLIENT_FLAGS.pack(4),
        FLAGS + b"NOOPTION" + bytes(8),
        FLAGS + wire.OPTION.pack(wire.OPTION_MAGIC, Option.GO, (1 << 32) - 1),
        FLAGS + wire.OPTION.pack(wire.OPTION_MAGIC, Option.EXPORT_NAME, 4097),
        FLAGS + option(Option.EXPORT_NAME, b"nothing"),
        FLAGS + option(Option.EXPORT_NAME, b"\xff"),
        FLAGS + option(Option.EXTENDED_HEADERS) + option(Option.EXPORT_NAME, b"disk"),
        FLAGS + option(Option.STRUCTURED_REPLY) * (MOST_OPTIONS + 1),
    ],
)
def test_what_cannot_be_answered_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        Handshake(EXPORTS).receive(data)


def test_answers_have_a_limit_together() -> None:
    many = [Export("x" * 4000 + str(number), DEVICE) for number in range(200)]
    handshake = Handshake(many)
    handshake.receive(FLAGS)
    with pytest.raises(ProtocolViolation):
        handshake.receive(option(Option.LIST) * 10)


@pytest.mark.parametrize(("flags", "zeroes"), [(1, 124), (3, 0)])
def test_the_old_way_to_choose_an_export(flags: int, zeroes: int) -> None:
    handshake = Handshake(EXPORTS)
    handshake.receive(wire.CLIENT_FLAGS.pack(flags))
    answer = handshake.receive(option(Option.EXPORT_NAME, b"disk") + b"a request")
    assert wire.EXPORT.unpack_from(answer)[0] == 1 << 20
    assert answer[wire.EXPORT.size :] == bytes(zeroes)
    assert handshake.rest == b"a request"


def test_abort_is_acknowledged_and_what_follows_is_not_heard() -> None:
    handshake = shaken()
    assert [kind for _, kind, _ in answers(handshake.receive(option(Option.ABORT, b"bye") + b"garbage"))] == [ACK]
    assert handshake.phase is Phase.CLOSED
    assert handshake.receive(b"garbage") == b""


def test_extended_headers_stand_above_structured_replies() -> None:
    assert kinds(option(Option.EXTENDED_HEADERS), option(Option.STRUCTURED_REPLY)) == [
        ACK, OptionReply.ERR_EXT_HEADER_REQD,
    ]  # fmt: skip


# -- metadata contexts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "queries", "expected"),
    [
        ("disk", (), ["base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:snapshot"]),
        ("plain", (), ["base:allocation", "qemu:allocation-depth"]),
        ("disk", ("base:",), ["base:allocation"]),
        ("disk", ("qemu:",), ["qemu:allocation-depth", "qemu:dirty-bitmap:snapshot"]),
        ("disk", ("qemu:dirty-bitmap:",), ["qemu:dirty-bitmap:snapshot"]),
        ("disk", ("x-other:thing", "base:nothing", "nonsense"), []),
    ],
)
def test_contexts_are_listed_by_wildcards(name: str, queries: tuple[str, ...], expected: list[str]) -> None:
    got = told(option(Option.LIST_META_CONTEXT, contexts(name, *queries)))
    assert [body[4:].decode() for kind, body in got[:-1] if kind is OptionReply.META_CONTEXT] == expected
    assert got[-1] == (ACK, b"")


def test_contexts_are_selected_by_name_alone_and_have_numbers() -> None:
    queries = ("base:", "qemu:dirty-bitmap:snapshot", "base:allocation", "x-y:z")
    got = told(option(Option.STRUCTURED_REPLY), option(Option.SET_META_CONTEXT, contexts("disk", *queries)))[1:-1]
    numbers = [struct.unpack(">L", body[:4])[0] for _, body in got]
    assert [body[4:] for _, body in got] == [b"base:allocation", b"qemu:dirty-bitmap:snapshot"]
    assert len({*numbers}) == 2


def agreed_contexts(*options: bytes) -> list[str]:
    agreement = shaken(option(Option.STRUCTURED_REPLY), *options).agreement
    assert agreement is not None
    return [context.name for context in agreement.contexts]


def test_selected_contexts_are_of_one_export_and_the_last_selection_counts() -> None:
    select = option(Option.SET_META_CONTEXT, contexts("disk", "base:allocation"))
    other = option(Option.SET_META_CONTEXT, contexts("disk", "qemu:allocation-depth"))
    wrong = option(Option.SET_META_CONTEXT, contexts("nothing", "base:allocation"))
    disk, plain = option(Option.GO, go("disk")), option(Option.GO, go("plain"))
    assert agreed_contexts(select, disk) == ["base:allocation"]
    assert agreed_contexts(select, option(Option.GO, go(""))) == ["base:allocation"]
    assert agreed_contexts(select, other, disk) == ["qemu:allocation-depth"]
    assert agreed_contexts(select, wrong, disk) == []
    assert agreed_contexts(select, plain) == []
    assert agreed_contexts(select, option(Option.SET_META_CONTEXT, contexts("disk")), disk) == []


def test_contexts_need_structured_replies() -> None:
    select = option(Option.SET_META_CONTEXT, contexts("disk", "base:allocation"))
    assert kinds(select) == [OptionReply.ERR_INVALID]
    assert kinds(option(Option.EXTENDED_HEADERS), select) == [ACK, OptionReply.META_CONTEXT, ACK]


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_without_tls_in_the_server_starttls_is_refused() -> None:
    assert kinds(option(Option.STARTTLS)) == [OptionReply.ERR_POLICY]


@pytest.mark.parametrize("number", [Option.LIST, Option.INFO, Option.GO, Option.STRUCTURED_REPLY, 99])
def test_with_tls_nothing_is_told_before_it(number: int) -> None:
    assert kinds(option(number, go("disk")), tls=True) == [OptionReply.ERR_TLS_REQD]


def test_with_tls_the_old_way_and_old_clients_are_cut_off() -> None:
    for data in (FLAGS + option(Option.EXPORT_NAME, b"disk"), wire.CLIENT_FLAGS.pack(0)):
        with pytest.raises(ProtocolViolation):
            Handshake(EXPORTS, tls=True).receive(data)


def test_what_follows_starttls_in_the_clear_is_never_heard() -> None:
    smuggled = option(Option.STARTTLS) + option(Option.STRUCTURED_REPLY)
    with pytest.raises(ProtocolViolation):
        shaken(smuggled, tls=True)
    handshake = shaken(option(Option.STARTTLS), tls=True)
    assert handshake.phase is Phase.TLS
    with pytest.raises(ProtocolViolation):
        handshake.receive(b"x")


def test_under_tls_everything_begins_anew() -> None:
    handshake = shaken(option(Option.STARTTLS), tls=True)
    handshake.secured()
    got = answers(handshake.receive(option(Option.STARTTLS) + option(Option.GO, go("disk"))))
    assert [kind for _, kind, _ in got] == [OptionReply.ERR_INVALID, OptionReply.INFO, ACK]
    assert handshake.agreement is not None
    assert not handshake.agreement.structured


# -- any bytes, however they come --------------------------------------------------------------------------------------

SOME_OPTIONS = st.sampled_from(
    [
        option(Option.LIST),
        option(Option.STRUCTURED_REPLY),
        option(Option.EXTENDED_HEADERS),
        option(Option.INFO, go("disk", 3)),
        option(Option.GO, go("nothing")),
        option(Option.LIST_META_CONTEXT, contexts("disk")),
        option(Option.SET_META_CONTEXT, contexts("disk", "base:allocation")),
        option(Option.GO, bytes(MOST_OPTION_BYTES + 3)),
        option(99, b"data"),
        option(Option.STARTTLS),
        option(Option.ABORT),
        option(Option.GO, go("plain")),
        b"garbage",
    ]
)


def outcome(pieces: list[bytes], *, tls: bool) -> tuple[bytes, Phase | None, bytes]:
    handshake = Handshake(EXPORTS, tls=tls)
    out = b""
    try:
        for piece in pieces:
            out += handshake.receive(piece)
    except ProtocolViolation:
        return out, None, b""
    return out, handshake.phase, handshake.rest


@given(st.lists(SOME_OPTIONS, max_size=6), st.lists(st.integers(0, 1 << 17), max_size=8), st.booleans())
def test_any_split_of_the_bytes_has_the_same_outcome(options: list[bytes], cuts: list[int], tls: bool) -> None:
    data = FLAGS + b"".join(options)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[begin:end] for begin, end in pairwise(places)]
    whole, split = outcome([data], tls=tls), outcome(pieces, tls=tls)
    assert split[1:] == whole[1:]
    assert split[0] == whole[0] or whole[1] is None  # before a violation, more may have been answered


@given(st.binary(max_size=300), st.booleans())
def test_garbage_ends_in_nothing_but_a_violation(data: bytes, tls: bool) -> None:
    outcome([FLAGS, data], tls=tls)
    outcome([FLAGS, wire.OPTION_MAGIC + data], tls=tls)


@pytest.mark.parametrize(
    "exports",
    [
        [],
        [Export("a", DEVICE), Export("a", DEVICE)],
        [Export("a\0", DEVICE)],
        [Export("a" * 4097, DEVICE)],
        [Export("a", DEVICE, preferred_block_bytes=3000)],
    ],
)
def test_what_the_protocol_cannot_offer_is_refused_at_once(exports: list[Export]) -> None:
    with pytest.raises(BadRequest):
        check_exports(exports)
