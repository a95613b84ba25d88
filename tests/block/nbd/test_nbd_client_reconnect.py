"""A connection that breaks: an error for everything under way, or a new one and the same requests again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from dmsnap.block import IOFailed
from dmsnap.block.nbd.device import NbdDevice
from dmsnap.block.nbd.failure import ConnectionLost, ProtocolViolation
from dmsnap.block.nbd.wire import ChunkType, Command

BLOCKS = 64
READ_ONLY, WRITABLE = 0x03, 0x05  # the latter with flushes


def serve(peer, *, size: int = 1 << 20, flags: int = READ_ONLY, until: int = 1 << 30, seen: list | None = None) -> None:
    """Answers requests, then hangs up instead of answering number ``until``."""
    peer.agree(size=size, flags=flags)
    for _ in range(until):
        _, command, cookie, offset, length = peer.request()
        if seen is not None:
            seen.append((command, offset, length))
        if command == Command.READ:
            peer.chunk(ChunkType.OFFSET_DATA, cookie, offset.to_bytes(8) + offset.to_bytes(8) * (length // 8))
        else:
            peer.chunk(ChunkType.NONE, cookie)
    peer.request()


def test_a_broken_connection_fails_what_is_under_way_and_what_comes_after(scripted) -> None:
    with NbdDevice(scripted(lambda peer: serve(peer, until=0))) as device:
        requests = [(number * 512, memoryview(bytearray(512))) for number in range(2000)]
        for completion in device.start_reads(requests):
            with pytest.raises(ConnectionLost, match="lost the server"):
                completion.wait()
        with pytest.raises(ConnectionLost):
            device.read_at(0, 512)


def test_reads_are_sent_again_over_a_new_connection(scripted) -> None:
    address = scripted(lambda peer: serve(peer, until=3), lambda peer: serve(peer, until=5), serve)
    with NbdDevice(address, reconnect_seconds=10) as device:
        requests = [(number * 512, memoryview(bytearray(512))) for number in range(2000)]
        for completion in device.start_reads(requests):
            completion.wait()
        assert all(view[:8] == view[-8:] == offset.to_bytes(8) for offset, view in requests)


def test_without_a_server_it_is_tried_for_as_long_as_asked(scripted) -> None:
    started = time.monotonic()
    address = scripted(lambda peer: serve(peer, until=1))
    with NbdDevice(address, reconnect_seconds=0.5, timeout_seconds=1) as device:
        device.read_at(0, 512)
        with pytest.raises(ConnectionLost):
            device.read_at(0, 512)
    assert 0.4 < time.monotonic() - started < 8


def test_a_server_that_always_leaves_is_given_up(scripted) -> None:
    started = time.monotonic()
    address = scripted(*[lambda peer: serve(peer, until=0)] * 100)
    with NbdDevice(address, reconnect_seconds=0.5) as device, pytest.raises(ConnectionLost):
        device.read_at(0, 512)
    assert time.monotonic() - started < 8


@pytest.mark.parametrize("changed", [{"size": 1 << 21}, {"flags": WRITABLE}])
def test_another_export_is_not_taken_for_the_same(scripted, changed: dict[str, int]) -> None:
    seen: list = []
    address = scripted(lambda peer: serve(peer, until=0), lambda peer: serve(peer, seen=seen, **changed))
    with NbdDevice(address, reconnect_seconds=5) as device, pytest.raises(ConnectionLost):
        device.read_at(0, 512)
    assert seen == []


def test_a_server_that_breaks_the_protocol_is_not_asked_again(scripted) -> None:
    def liar(peer) -> None:
        peer.agree()
        peer.send(bytes(64))
        peer.receive(1)

    with NbdDevice(scripted(liar, serve), reconnect_seconds=5) as device, pytest.raises(ProtocolViolation):
        device.read_at(0, 512)


def test_writes_that_were_answered_and_not_flushed_fail_the_next_flush_once(scripted) -> None:
    first = [(Command.WRITE, 0, 512), (Command.FLUSH, 0, 0), (Command.WRITE, 512, 512)]
    seen: list = []
    address = scripted(
        lambda peer: serve(peer, flags=WRITABLE, until=len(first), seen=seen),
        lambda peer: serve(peer, flags=WRITABLE, seen=seen),
    )
    with NbdDevice(address, writable=True, reconnect_seconds=10) as device:
        device.write_at(0, bytes(512))
        device.flush()
        device.write_at(512, bytes(512))
        with pytest.raises(IOFailed, match="may have lost"):
            device.flush()
        assert device.failed_flushes == 1
        device.flush()
        device.write_at(0, bytes(512))
        device.flush()
        assert device.failed_flushes == 1
    assert seen[: len(first)] == first


def test_nothing_is_lost_where_all_was_flushed(scripted) -> None:
    address = scripted(lambda peer: serve(peer, flags=WRITABLE, until=2), lambda peer: serve(peer, flags=WRITABLE))
    with NbdDevice(address, writable=True, reconnect_seconds=10) as device:
        device.write_at(0, bytes(512))
        device.flush()
        device.flush()
        assert device.failed_flushes == 0


def test_a_write_under_way_is_made_again(scripted) -> None:
    seen: list = []
    over = threading.Event()

    def serve_to_the_end(peer) -> None:
        try:
            serve(peer, flags=WRITABLE, seen=seen)
        finally:
            over.set()

    address = scripted(lambda peer: serve(peer, flags=WRITABLE, until=0), serve_to_the_end)
    with NbdDevice(address, writable=True, reconnect_seconds=10) as device:
        device.write_at(4096, bytes(8192))
    assert over.wait(60)
    assert seen[:-1] == [(Command.WRITE, 4096, 8192)]
    assert seen[-1][0] == Command.DISC


def test_a_server_is_killed_again_and_again_and_nothing_that_was_flushed_is_lost(restarted, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(BLOCKS * 4096))
    address, kill_and_start = restarted("--threads=8", "--filter=delay", "file", path, "rdelay=1ms", "wdelay=1ms")
    content: dict[int, bytes] = {}
    rounds, failed = 150, 0
    with NbdDevice(address, writable=True, reconnect_seconds=20) as device:
        for turn in range(rounds):
            block = turn * 7 % BLOCKS
            content[block] = bytes([turn]) * 4096
            views = [memoryview(bytearray(4096)) for _ in range(32)]
            reads = device.start_reads([(number * 4096, view) for number, view in enumerate(views)])
            if turn % 30 == 29:
                kill_and_start()
            device.write_at(block * 4096, content[block])
            for number, completion in enumerate(reads):
                completion.wait()
                if number != block:
                    assert views[number] == content.get(number, bytes(4096))
            try:
                device.flush()
            except IOFailed:
                failed += 1
                device.write_at(block * 4096, content[block])
                device.flush()
        assert device.failed_flushes == failed <= rounds // 30
    assert all(path.read_bytes()[block * 4096 :][:4096] == data for block, data in content.items())


def test_close_in_the_middle_of_reconnecting_comes_back(scripted) -> None:
    address = scripted(lambda peer: serve(peer, until=0))
    device = NbdDevice(address, reconnect_seconds=60)
    completion = device.start_read(0, memoryview(bytearray(512)))
    closing = threading.Thread(target=device.close)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    assert completion.done
    with pytest.raises(ConnectionLost):
        completion.wait()
