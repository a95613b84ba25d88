"""Every command on the wire, in every form of reply."""

from __future__ import annotations

import random
import threading

import pytest
from raw_nbd import FORMS, RawClient

from dmsnap.block.completion import Completion
from dmsnap.block.contract import Extent, ExtentKind, OutOfRoom, ReadRequest
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd.wire import Command, CommandFlag, NbdError
from dmsnap.block.wrap import FaultDevice, Wrapper
from dmsnap.block.wrap.fault import fail_range
from dmsnap.serve.nbd import Export

SIZE = 1 << 20
CHUNKED = FORMS[1:]


def content(size: int = SIZE) -> bytes:
    return random.Random(5).randbytes(size)


@pytest.mark.parametrize("form", FORMS)
def test_reads_bring_the_data(serve, form: str) -> None:
    data = content(4 * SIZE)
    client = RawClient(serve(Export("", MemoryDevice(data))), form).enter()
    for offset, length in ((0, 512), (4096, 8192), (SIZE - 512, 512), (512, 3 * SIZE), (0, 4 * SIZE)):
        assert client.call(Command.READ, offset, length).data == data[offset : offset + length]
    assert client.call(Command.READ, 0, 0).data == b""


@pytest.mark.parametrize("form", FORMS)
def test_many_requests_in_one_packet_are_all_answered(serve, form: str) -> None:
    data, rng = content(), random.Random(8)
    client = RawClient(serve(Export("", MemoryDevice(data))), form).enter()
    wanted = {cookie: (rng.randrange(1000) * 512, rng.randrange(1, 40) * 512) for cookie in range(300)}
    sender = threading.Thread(  # beside taking replies, as a client must
        target=client.sock.sendall,
        args=(b"".join(client.request(0, *place, cookie=cookie) for cookie, place in wanted.items()),),
    )
    sender.start()
    for cookie, (offset, length) in wanted.items():  # at hand, so that they are answered in their order
        reply = client.reply(length)
        assert (reply.cookie, reply.data) == (cookie, data[offset : offset + length])
    sender.join()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [512, 4096, 1 << 19, (1 << 20) + 512])
@pytest.mark.parametrize("flags", [0, CommandFlag.FUA])
def test_writes_of_every_size_arrive(serve, form: str, length: int, flags: int) -> None:
    device = MemoryDevice(2 * SIZE)
    client = RawClient(serve(Export("", device)), form).enter()
    data = content(length)
    assert client.call(Command.WRITE, 512, data=data, flags=flags).error == 0
    assert client.call(Command.READ, 512, 512).data == data[:512]
    assert client.call(Command.FLUSH).error == 0
    assert bytes(device.read_at(512, length)) == data


@pytest.mark.parametrize("form", FORMS)
def test_zeros_and_trims(serve, form: str) -> None:
    device = MemoryDevice(b"x" * SIZE)
    client = RawClient(serve(Export("", device)), form).enter()
    assert client.call(Command.WRITE_ZEROES, 0, 8192).error == 0
    assert client.call(Command.WRITE_ZEROES, 8192, 1 << 19, flags=CommandFlag.FUA).error == 0
    assert client.call(Command.TRIM, 1 << 19, 4096).error == 0
    assert client.call(Command.TRIM, 0, SIZE, flags=CommandFlag.FUA).error == 0
    assert device.read_at(0, 8192 + (1 << 19)) == bytes(8192 + (1 << 19))


def test_zeros_without_holes_are_written(serve) -> None:
    device = MemoryDevice(b"x" * SIZE)
    client = RawClient(serve(Export("", device))).enter()
    assert client.call(Command.WRITE_ZEROES, 0, SIZE // 2, flags=CommandFlag.NO_HOLE).error == 0
    assert [extent.kind for extent in device.extents(0, SIZE)] == [ExtentKind.DATA]
    assert device.read_at(0, SIZE) == bytes(SIZE // 2) + b"x" * (SIZE // 2)


@pytest.mark.parametrize(("quick", "error"), [(False, NbdError.ENOTSUP), (True, 0)])
def test_fast_zeros_are_promised_by_the_device_alone(serve, monkeypatch, quick: bool, error: int) -> None:
    monkeypatch.setattr(MemoryDevice, "zeroes_quickly", quick)
    device = MemoryDevice(b"x" * SIZE)
    client = RawClient(serve(Export("", device))).enter()
    assert client.call(Command.WRITE_ZEROES, 0, 4096, flags=CommandFlag.FAST_ZERO).error == error
    assert device.read_at(0, 4096) == (bytes(4096) if quick else b"x" * 4096)


class Layered(MemoryDevice):
    """Data of its own, data behind it, a hole of its own, a hole behind it."""

    def _extents(self, offset, length):
        kinds = [(ExtentKind.DATA, 1), (ExtentKind.DATA, 2), (ExtentKind.HOLE, 1), (ExtentKind.HOLE, 2)]
        for number, (kind, depth) in enumerate(kinds):
            begin, end = max(offset, number * 4096), min(offset + length, number * 4096 + 4096)
            if begin < end:
                yield Extent(begin, end - begin, kind, depth)


ALL = ("base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:s")


@pytest.mark.parametrize("form", CHUNKED)
def test_block_status_tells_holes_depth_and_changes(serve, form: str) -> None:
    client = RawClient(serve(Export("", Layered(16384), dirty_bitmap="s")), form).enter("", *ALL)
    assert client.call(Command.BLOCK_STATUS, 0, 16384).statuses == {
        1: [(8192, 0), (8192, 3)],
        2: [(4096, 1), (4096, 2), (4096, 1), (4096, 0)],
        3: [(4096, 1), (4096, 0), (4096, 1), (4096, 0)],
    }
    assert client.call(Command.BLOCK_STATUS, 512, 4096).statuses == {
        1: [(4096, 0)], 2: [(3584, 1), (512, 2)], 3: [(3584, 1), (512, 0)],
    }  # fmt: skip
    one = client.call(Command.BLOCK_STATUS, 0, 16384, flags=CommandFlag.REQ_ONE).statuses
    assert one == {1: [(8192, 0)], 2: [(4096, 1)], 3: [(4096, 1)]}


def test_block_status_of_some_contexts(serve) -> None:
    client = RawClient(serve(Export("", Layered(16384), dirty_bitmap="s")), "extended").enter("", *ALL)
    payload = (4096).to_bytes(8) + (3).to_bytes(4)
    assert client.call(Command.BLOCK_STATUS, 4096, data=payload).statuses == {3: [(4096, 0)]}


def test_without_layers_what_is_stored_has_depth_1(serve) -> None:
    device = MemoryDevice(8192)
    device.write_at(0, b"x" * 4096)
    client = RawClient(serve(Export("", device))).enter("", "qemu:allocation-depth")
    assert client.call(Command.BLOCK_STATUS, 0, 8192).statuses == {2: [(4096, 1), (4096, 0)]}


def test_a_long_answer_is_cut_and_goes_on(serve, monkeypatch) -> None:
    monkeypatch.setattr("dmsnap.serve.nbd.contexts.MOST_EXTENTS", 2)
    client = RawClient(serve(Export("", Layered(16384), dirty_bitmap="s"))).enter("", "qemu:allocation-depth")
    assert client.call(Command.BLOCK_STATUS, 0, 16384).statuses == {2: [(4096, 1), (4096, 2)]}


@pytest.mark.parametrize("form", FORMS)
def test_errors_come_by_their_numbers_and_the_connection_goes_on(serve, form: str) -> None:
    broken = FaultDevice(MemoryDevice(content()), fail_range(4096, 512))
    server = serve(Export("", broken), Export("ro", MemoryDevice(SIZE), read_only=True))
    client = RawClient(server, form).enter()
    client.sock.sendall(b"".join(client.request(0, at, 512, cookie=at) for at in (0, 4096, 8192)))
    assert [client.reply(512 if at != 4096 else 0).error for at in (0, 4096, 8192)] == [0, NbdError.EIO, 0]
    writes = b"".join(client.request(1, at, data=b"x" * 512, cookie=at) for at in (0, 4096, 8192))
    client.sock.sendall(writes)
    assert [client.reply().error for _ in range(3)] == [0, NbdError.EIO, 0]
    assert client.call(Command.WRITE, SIZE, data=b"x" * 512).error == NbdError.ENOSPC
    assert client.call(Command.READ, SIZE, 512).error == NbdError.EINVAL
    client = RawClient(server, form).enter("ro")
    assert client.call(Command.WRITE, 0, data=b"x" * 512).error == NbdError.EPERM
    assert client.call(Command.WRITE, 0, data=b"x" * SIZE).error == NbdError.EPERM
    assert client.call(Command.READ, 0, 512).data == bytes(512)


def test_no_room_is_told(serve) -> None:
    class Full(MemoryDevice):
        def _write_at(self, offset, view):
            raise OutOfRoom("full")

    client = RawClient(serve(Export("", Full(SIZE)))).enter()
    for flags in (0, CommandFlag.FUA):
        assert client.call(Command.WRITE, 0, data=b"x" * 512, flags=flags).error == NbdError.ENOSPC


class Slow(Wrapper):
    """Reads of the first block, and flushes, wait until they are let go; other reads are at hand."""

    def __init__(self, device: MemoryDevice) -> None:
        super().__init__(device)
        self.started: list[tuple[Completion, ReadRequest]] = []
        self.flushing, self.may_flush = threading.Event(), threading.Event()
        self.may_flush.set()

    def _start_reads(self, requests):
        completions = self.device.start_reads(requests)
        for number, request in enumerate(requests):
            if request[0] == 0:
                completions[number] = Completion()
                self.started.append((completions[number], request))
        return completions

    def let_go(self, error: Exception | None = None) -> None:
        completion, (_, view) = self.started.pop()
        view[:4] = b"late"
        completion.finish(error)

    def _flush(self) -> None:
        self.flushing.set()
        assert self.may_flush.wait(20)


@pytest.mark.parametrize("form", FORMS)
def test_a_read_that_waits_does_not_hold_up_others(serve, form: str) -> None:
    data = content()
    device = Slow(MemoryDevice(data))
    client = RawClient(serve(Export("", device)), form).enter()
    packet = b"".join(client.request(0, at, 1024, cookie=at) for at in (512, 0, 1024))
    client.sock.sendall(packet)
    for at in (512, 1024):
        reply = client.reply(1024)
        assert (reply.cookie, reply.data) == (at, data[at : at + 1024])
    for at in (2048, 4096):  # with one on its way, others use other memory
        client.send(0, at, 1024)
        assert client.reply(1024).data == data[at : at + 1024]
    device.let_go()
    assert client.reply(1024).data == b"late" + data[4:1024]
    client.send(0, 0, 1024)
    client.send(0, 512, 1024)
    assert client.reply(1024).data == data[512:1536]
    device.let_go(OutOfRoom("gone"))
    assert client.reply().error == NbdError.ENOSPC


def test_a_flush_does_not_hold_up_reads(serve) -> None:
    device = Slow(MemoryDevice(content()))
    device.may_flush.clear()
    client = RawClient(serve(Export("", device))).enter()
    client.send(Command.FLUSH, cookie=9)
    assert device.flushing.wait(20)
    assert client.call(Command.READ, 512, 512).cookie == 7
    device.may_flush.set()
    assert client.reply().cookie == 9


def test_good_bye_comes_after_the_answers(serve) -> None:
    device = Slow(MemoryDevice(content()))
    client = RawClient(serve(Export("", device))).enter()
    client.sock.sendall(
        client.request(0, 0, 512) + client.request(0, 512, 512, cookie=8) + client.request(Command.DISC)
    )
    assert client.reply().cookie == 8
    device.let_go()
    assert client.reply().data[:4] == b"late"
    assert client.ended()


def test_counters_add_up(serve) -> None:
    server = serve(Export("", MemoryDevice(SIZE)))
    with RawClient(server).enter() as client:
        client.call(Command.READ, 0, 4096)
        client.call(Command.WRITE, 0, data=b"x" * 512)
        client.call(Command.WRITE_ZEROES, 0, 1024)
        client.call(Command.FLUSH)
        client.call(Command.READ, SIZE, 512)
        assert server.counters.clients == 1
        client.send(Command.DISC)
        assert client.ended()
    assert server.wait_for_last_client(20)
    now = server.counters
    assert (now.reads, now.bytes_read, now.writes, now.bytes_written) == (1, 4096, 1, 512)
    assert (now.zeroes, now.bytes_zeroed, now.flushes, now.errors) == (1, 1024, 1, 1)
    assert (now.clients, now.clients_ever, now.connections_ever, now.violations) == (0, 1, 1, 0)
