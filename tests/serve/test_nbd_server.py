"""A server's life: where it listens, and how it ends."""

from __future__ import annotations

import os
import socket
import stat
import threading

import pytest
from raw_nbd import RawClient

from dmsnap.block.contract import BadRequest
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd.wire import Command, Option, OptionReply
from dmsnap.block.wrap import DelayDevice
from dmsnap.serve.nbd import CannotListen, Export, Server

SIZE = 1 << 20


def disk() -> Export:
    return Export("", MemoryDevice(SIZE))


def works(server: Server) -> bool:
    with RawClient(server).enter() as client:
        return client.call(Command.READ, 0, 512).data == bytes(512)


def test_a_unix_socket_is_its_owners_alone_and_goes_at_the_end(tmp_path) -> None:
    path = tmp_path / "s"
    previous = os.umask(0)
    try:
        with Server([disk()]) as server:
            pass
        server = Server([disk()])
        server.listen_unix(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert server.addresses == [f"nbd+unix:///?socket={path}"]
    with server:
        assert works(server)
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = Server([disk()])
    server.listen_unix(path)
    with server:
        assert works(server)


def test_a_living_socket_and_a_file_are_not(tmp_path) -> None:
    path, file = tmp_path / "s", tmp_path / "f"
    file.write_text("precious")
    with Server([disk()]) as other, socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        for taken in (path, file, tmp_path / "missing" / "s", tmp_path / ("x" * 200)):
            with pytest.raises(CannotListen):
                other.listen_unix(taken)
    assert file.read_text() == "precious"
    assert path.exists()


def test_a_socket_that_another_put_there_is_left_alone(tmp_path) -> None:
    path = tmp_path / "s"
    server = Server([disk()])
    server.listen_unix(path)
    with server:
        path.unlink()
        path.write_text("of another")
    assert path.read_text() == "of another"


def test_tcp_on_any_port() -> None:
    server = Server([disk()])
    server.listen_tcp("127.0.0.1", 0)
    with server:
        assert works(server)
        port = int(server.addresses[0].rpartition(":")[2])
        with Server([disk()]) as other, pytest.raises(CannotListen):
            other.listen_tcp("127.0.0.1", port)


def test_a_given_socket(tmp_path) -> None:
    server = Server([disk()])
    server.listen_on(socket.create_server(("127.0.0.1", 0)))
    with server, socket.socket() as deaf:
        assert works(server)
        with pytest.raises(CannotListen):
            server.listen_on(deaf)


def test_nothing_to_serve_is_refused() -> None:
    with pytest.raises(BadRequest):
        Server([])


def test_several_exports_and_clients(serve) -> None:
    one, two = MemoryDevice(b"1" * 4096), MemoryDevice(b"2" * 8192)
    server = serve(Export("one", one), Export("two", two))
    first, second, default = RawClient(server).enter("one"), RawClient(server).enter("two"), RawClient(server).enter()
    assert [client.size for client in (first, second, default)] == [4096, 8192, 4096]
    assert second.call(Command.READ, 0, 512).data == b"2" * 512
    assert first.call(Command.READ, 0, 512).data == b"1" * 512


def test_the_last_client_is_one_that_was_served(serve) -> None:
    server = serve(disk())
    with RawClient(server) as looking:
        assert looking.ask(Option.LIST)[-1][0] is OptionReply.ACK
    assert not server.wait_for_last_client(0.05)
    client = RawClient(server).enter()
    assert not server.wait_for_last_client(0.05)
    client.sock.close()
    assert server.wait_for_last_client(20)


class Flushed(MemoryDevice):
    """Counts flushes."""

    flushes = 0

    def _flush(self) -> None:
        self.flushes += 1


@pytest.mark.parametrize("tcp", [False, True])
def test_what_was_asked_for_is_answered_and_flushed_when_the_server_stops(tmp_path, tcp: bool) -> None:
    device = Flushed(bytes(range(256)) * 4096)
    server = Server([Export("", DelayDevice(device, 0.2))])
    server.listen_tcp("127.0.0.1", 0) if tcp else server.listen_unix(tmp_path / "s")
    server.start()
    client = RawClient(server).enter()
    client.sock.sendall(b"".join(client.request(0, 4096 * n, 4096, cookie=n) for n in range(16)))
    client.send(Command.FLUSH, cookie=99)
    assert client.reply().cookie == 99  # so the reads before it have been received
    server.stop()
    assert device.flushes == 2
    assert sorted(client.reply().cookie for _ in range(16)) == list(range(16))
    assert client.ended()
    server.stop()


def test_stop_under_load(tmp_path) -> None:
    device = Flushed(SIZE)
    server = Server([Export("", device)])
    server.listen_unix(tmp_path / "s")
    server.start()
    begun, acknowledged = threading.Barrier(5), [0] * 4

    def load(number: int) -> None:
        client = RawClient(server).enter()
        begun.wait(20)
        try:
            for turn in range(1, 1 << 30):
                assert client.call(Command.WRITE, number * 512, data=turn.to_bytes(512)).error == 0
                acknowledged[number] = turn
        except (OSError, ValueError, IndexError):
            pass
        except Exception:  # noqa: BLE001 - the stream ended inside of a reply that was never sent
            return

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(20)
    while min(acknowledged) < 20:
        pass
    server.stop()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert int.from_bytes(device.read_at(number * 512, 512)) >= acknowledged[number]
    assert device.flushes == 1
    assert server.counters.crashes == 0


def test_a_mistake_of_the_server_closes_one_connection(tmp_path, caplog) -> None:
    class Broken(MemoryDevice):
        def _start_reads(self, requests):
            raise ZeroDivisionError

    server = Server([Export("good", MemoryDevice(SIZE)), Export("bad", Broken(SIZE))])
    server.listen_unix(tmp_path / "s")
    with server:
        bad = RawClient(server).enter("bad")
        bad.send(Command.READ, 0, 512)
        assert bad.ended()
        assert works(server)
    assert server.counters.crashes == 1
    assert "ZeroDivisionError" in caplog.text
