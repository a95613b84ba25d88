"""Clients that mean harm: they get nowhere, and others are served meanwhile."""

from __future__ import annotations

import random
import resource
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from raw_nbd import RawClient, connect, go, option

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd import wire
from dmsnap.block.nbd.wire import Command, Option
from dmsnap.block.wrap import Wrapper
from dmsnap.serve.nbd import Export
from dmsnap.serve.nbd.descriptors import affordable_connections, raise_limit
from dmsnap.serve.nbd.outbox import MOST_HELD_BYTES
from dmsnap.serve.nbd.stream import UNIX_SEND_BYTES, PlainStream
from dmsnap.serve.nbd.working import THREADS

SIZE = 1 << 20


def disk(size: int = SIZE) -> Export:
    return Export("", MemoryDevice(size))


def works(server) -> bool:
    with RawClient(server).enter() as client:
        return client.call(Command.READ, 0, 512).data == bytes(512)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_is_cut_off_in_every_phase(serve, seed: int) -> None:
    server, rng = serve(disk()), random.Random(seed)
    garbage = rng.randbytes(rng.randrange(64, 5000))
    handshaking = RawClient(server, greet=False)
    assert handshaking.take(18)
    if seed % 2:
        handshaking.sock.sendall(wire.CLIENT_FLAGS.pack(3))
    serving = RawClient(server).enter()
    for client in (handshaking, serving):
        client.sock.sendall(garbage)
        assert client.ended()
    assert works(server)
    assert server.counters.violations == 2


def test_silence_in_the_handshake_has_a_limit(serve) -> None:
    server = serve(disk(), handshake_seconds=0.2)
    silent = RawClient(server)
    half = RawClient(server)
    half.sock.sendall(option(Option.GO, go())[:-1])
    assert silent.ended()
    assert half.ended()


def test_drops_of_a_handshake_do_not_make_its_time_longer(serve) -> None:
    server = serve(disk(), handshake_seconds=0.3)
    client = RawClient(server)
    begun = time.monotonic()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012
        for octet in option(Option.GO, bytes(60000)):
            client.sock.sendall(bytes([octet]))
            time.sleep(0.01)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("length", [512, 1 << 20])
def test_silence_in_a_request_has_a_limit_and_between_requests_has_none(serve, length: int) -> None:
    server = serve(disk(), request_seconds=0.2)
    idle = RawClient(server).enter()
    half = RawClient(server).enter()
    payload = RawClient(server).enter()
    half.sock.sendall(half.request(Command.READ, 0, 512)[:20])
    payload.sock.sendall(payload.request(Command.WRITE, 0, data=bytes(length))[:100])
    assert half.ended()
    if length == 512:
        assert payload.ended()
    assert idle.call(Command.READ, 0, 512).data == bytes(512)


def test_who_never_reads_is_cut_off_and_holds_up_nobody(serve) -> None:
    server = serve(disk(), send_seconds=0.3)
    greedy = RawClient(server).enter()
    packet = greedy.request(Command.READ, 0, SIZE) * 64
    with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012
        while True:
            greedy.sock.sendall(packet)
            assert works(server)
    assert server.counters.violations == 1


class Never(Wrapper):
    """Reads never finish until they are let go."""

    def __init__(self, device: MemoryDevice) -> None:
        super().__init__(device)
        self.pending: list = []
        self.bytes = 0

    def _start_reads(self, requests):
        from dmsnap.block.completion import Completion

        completions = [Completion() for _ in requests]
        self.pending += completions
        self.bytes += sum(len(view) for _, view in requests)
        return completions


def test_requests_in_flight_are_bounded(serve) -> None:
    device = Never(MemoryDevice(8 * SIZE))
    server = serve(Export("", device))
    greedy = RawClient(server).enter()
    count = 4 * MOST_HELD_BYTES // (8 * SIZE)
    sender = threading.Thread(target=greedy.sock.sendall, args=(greedy.request(Command.READ, 0, 8 * SIZE) * count,))
    sender.start()
    done = 0
    while done < count:
        while not device.pending:
            time.sleep(0.001)
        assert len(device.pending) * 8 * SIZE <= MOST_HELD_BYTES + 8 * SIZE
        device.pending.pop().finish()
        assert len(greedy.reply().data) == 8 * SIZE
        done += 1
    sender.join()


def test_memory_of_all_is_bounded(serve, monkeypatch) -> None:
    monkeypatch.setattr("dmsnap.serve.nbd.outbox.MEMORY_SECONDS", 0.05)
    server = serve(disk(4 * SIZE), memory_bytes=SIZE)
    client = RawClient(server).enter()
    assert client.call(Command.READ, 0, 3 * SIZE).error == wire.NbdError.ENOMEM
    assert client.call(Command.WRITE, 0, data=bytes(3 * SIZE)).error == wire.NbdError.ENOMEM
    assert client.call(Command.READ, 0, 4096).data == bytes(4096)
    assert client.call(Command.WRITE, 0, data=bytes(4096)).error == 0


def test_who_holds_all_memory_does_not_starve_the_others(serve) -> None:
    device = Never(MemoryDevice(8 * SIZE))
    server = serve(disk(4 * SIZE), Export("slow", device), memory_bytes=8 * SIZE + 4096)
    greedy = RawClient(server).enter("slow")
    greedy.sock.sendall(greedy.request(Command.READ, 0, 4 * SIZE) * 2)
    while len(device.pending) < 2:
        time.sleep(0.001)
    honest = RawClient(server).enter()
    assert honest.call(Command.READ, 0, 2 * SIZE).data == bytes(2 * SIZE)
    assert honest.call(Command.WRITE, 0, data=bytes(2 * SIZE), flags=wire.CommandFlag.FUA).error == 0
    for pending in device.pending:
        pending.finish()


def test_replies_of_block_status_are_memory_too(serve, monkeypatch) -> None:
    monkeypatch.setattr("dmsnap.serve.nbd.outbox.MEMORY_SECONDS", 0.05)
    monkeypatch.setattr("dmsnap.serve.nbd.outbox.ASSURED_BYTES", 0)
    server = serve(disk(), memory_bytes=8 * 16)
    client = RawClient(server).enter("", "base:allocation")
    assert client.call(Command.BLOCK_STATUS, 0, 512 * 9).error == wire.NbdError.ENOMEM
    for _ in range(3):
        assert client.call(Command.BLOCK_STATUS, 0, 512 * 8).statuses == {1: [(512 * 8, 3)]}
    assert client.call(Command.BLOCK_STATUS, 0, SIZE, flags=wire.CommandFlag.REQ_ONE).statuses == {1: [(SIZE, 3)]}


class Gated(Wrapper):
    """Says what a range holds only when it is let."""

    def __init__(self, device: MemoryDevice) -> None:
        super().__init__(device)
        self.gate = threading.Semaphore(0)
        self.asked = 0

    def _extents(self, offset, length):
        self.asked += 1
        self.gate.acquire()
        return super()._extents(offset, length)


def test_what_was_asked_for_by_who_is_gone_is_not_begun(serve) -> None:
    device, many = Gated(MemoryDevice(SIZE)), 1000
    server = serve(Export("", device))
    with RawClient(server).enter("", "base:allocation") as client:
        client.sock.sendall(client.request(Command.BLOCK_STATUS, 0, SIZE) * many)
    for _ in range(many // 2):
        device.gate.release()
        time.sleep(0.001)
    assert server.wait_for_last_client(20)


def test_a_stop_that_breaks_off_begins_nothing_more(serve) -> None:
    device = Gated(MemoryDevice(SIZE))
    server = serve(Export("", device))
    client = RawClient(server).enter("", "base:allocation")
    client.sock.sendall(client.request(Command.BLOCK_STATUS, 0, SIZE) * 100)
    while device.asked < THREADS:
        time.sleep(0.001)
    stopping = threading.Thread(target=server.stop, kwargs={"grace_seconds": 0.0})
    stopping.start()
    assert client.ended()
    device.gate.release(100)
    stopping.join()
    assert device.asked == THREADS


def test_who_shakes_hands_longest_gives_way_when_all_places_are_taken(serve) -> None:
    server = serve(disk(), max_connections=3)
    served = RawClient(server).enter()
    oldest, newer = RawClient(server), RawClient(server)
    assert works(server)
    assert oldest.ended()
    while server.counters.connections > 2:
        time.sleep(0.001)
    again = RawClient(server).enter()
    newer.enter()
    late = connect(server.addresses[0])
    assert late.recv(1) == b""  # all are served: no place for another
    late.close()
    assert all(client.call(Command.READ, 0, 512).data == bytes(512) for client in (served, again, newer))
    assert server.counters.turned_away == 2


def test_ten_thousand_connections(serve) -> None:
    server = serve(disk(), max_connections=64)
    served = RawClient(server).enter()
    opened: list[socket.socket] = []
    for number in range(10_000):
        opened.append(connect(server.addresses[0]))
        if len(opened) > 200:
            opened.pop(0).close()
        if number % 1000 == 0:
            assert served.call(Command.READ, 0, 512).data == bytes(512)
    assert works(server)
    assert server.counters.connections <= 64
    for sock in opened:
        sock.close()


def test_a_crowd_never_takes_the_last_descriptor(serve) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 150, before[1]))
    try:
        server = serve(disk(), max_connections=1000)
        crowd = [connect(server.addresses[0]) for _ in range(60)]
        assert works(server)
        assert server.counters.turned_away
        for sock in crowd:
            sock.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
    try:
        raise_limit(100)
        assert affordable_connections() >= 100
        raise_limit(10)
        assert affordable_connections() >= 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_machine_that_went_away_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            PlainStream(accepted, send_seconds=1)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_the_kernel_holds_a_bounded_amount_for_a_client_on_a_unix_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        PlainStream(ours, send_seconds=1)
        most = int(Path("/proc/sys/net/core/wmem_max").read_text())
        held = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert held == 2 * min(UNIX_SEND_BYTES, most), "as socket(7) says"


def test_lies_about_lengths_cost_nothing(serve) -> None:
    server = serve(disk())
    for lie in (
        wire.OPTION.pack(wire.OPTION_MAGIC, Option.GO, (1 << 32) - 1),
        wire.OPTION.pack(wire.OPTION_MAGIC, Option.EXPORT_NAME, 1 << 30),
    ):
        client = RawClient(server)
        client.sock.sendall(lie)
        assert client.ended()
    client = RawClient(server).enter()
    client.sock.sendall(struct.pack(">LHHQQL", wire.REQUEST_MAGIC, 0, Command.WRITE, 1, 0, (1 << 32) - 1))
    assert client.ended()
    assert works(server)


def test_gone_with_work_in_flight(serve) -> None:
    device = Never(MemoryDevice(SIZE))
    server = serve(Export("", device))
    with RawClient(server).enter() as client:
        client.send(Command.READ, 0, 4096)
        client.send(Command.WRITE_ZEROES, 0, SIZE)
        assert client.reply().error == 0
    while not device.pending:
        time.sleep(0.001)
    device.pending.pop().finish()
    assert server.wait_for_last_client(20)
