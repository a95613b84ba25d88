"""Nothing that went wrong vanishes: a flush that failed, memory that was short, threads that could not be had."""

from __future__ import annotations

import threading

import pytest
from raw_nbd import RawClient

from dmsnap.block.contract import IOFailed
from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd.wire import Command, CommandFlag, NbdError
from dmsnap.block.wrap import Wrapper
from dmsnap.serve.nbd import Export, Server
from dmsnap.serve.nbd import outbox as outbox_module

pytestmark = pytest.mark.timeout(60)

SIZE = 1 << 20


class ForgetfulDevice(Wrapper):
    """Tells of a lost write once, as fsync(2) of a shared file may, whoever made it."""

    lost = False

    def _flush(self) -> None:
        lost, self.lost = self.lost, False
        if lost:
            raise IOFailed(f"{self.name}: lost what was written")
        super()._flush()


def test_a_failed_flush_is_told_to_every_client_that_may_rely_on_it(serve) -> None:
    device = ForgetfulDevice(MemoryDevice(SIZE))
    server = serve(Export("", device))
    first, second, third = (RawClient(server).enter() for _ in range(3))
    for client in (first, second, third):
        assert client.call(Command.WRITE, 0, data=b"w" * 4096).error == 0
    device.lost = True
    assert first.call(Command.FLUSH).error == NbdError.EIO
    assert second.call(Command.FLUSH).error == NbdError.EIO
    assert third.call(Command.WRITE_ZEROES, 0, 4096, flags=CommandFlag.FUA).error == NbdError.EIO
    for client in (first, second, third, RawClient(server).enter()):
        assert client.call(Command.FLUSH).error == 0


def test_without_threads_to_be_had_it_is_done_in_place(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = RawClient(serve(Export("", MemoryDevice(SIZE)))).enter()

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert client.call(Command.FLUSH).error == 0
    assert client.call(Command.FLUSH).error == 0


@pytest.mark.parametrize("flags", [0, CommandFlag.FUA])
def test_memory_the_system_does_not_have_is_not_held(serve, monkeypatch, flags: int) -> None:
    server = serve(Export("", MemoryDevice(4 * SIZE)))
    client = RawClient(server).enter()
    budget = server._rules.budget
    whole = budget._left

    class NoMemory(bytearray):
        def __init__(self, size: int = 0) -> None:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(outbox_module, "bytearray", NoMemory, raising=False)
        assert client.call(Command.READ, 0, 2 * SIZE).error == NbdError.ENOMEM
        assert client.call(Command.WRITE, 0, data=bytes(2 * SIZE), flags=flags).error == NbdError.ENOMEM
        assert client.call(Command.WRITE, 0, data=bytes(512), flags=CommandFlag.FUA).error == NbdError.ENOMEM
    assert client.call(Command.READ, 0, 2 * SIZE).error == 0
    assert client.call(Command.FLUSH).error == 0
    assert budget._left == whole


def test_after_a_mistake_of_the_servers_nothing_stays_behind(tmp_path) -> None:
    """A bug in a device ends the connection: its memory is given back, and its thread does not wait for ever."""
    entered, may_end = threading.Semaphore(0), threading.Event()

    class Buggy(Wrapper):
        def _flush(self) -> None:
            entered.release()
            may_end.wait(20)
            raise ZeroDivisionError

        def _start_reads(self, requests):
            raise ZeroDivisionError

    server = Server([Export("", Buggy(MemoryDevice(4 * SIZE)))])
    server.listen_unix(tmp_path / "s")
    server.start()
    budget = server._rules.budget
    whole = budget._left
    with RawClient(server).enter() as client:
        client.send(Command.READ, 0, 2 * SIZE)
        assert client.take(1) == b""
    with RawClient(server).enter() as client:
        for cookie in range(2):
            client.send(Command.FLUSH, cookie=cookie)
        for _ in range(2):
            assert entered.acquire(timeout=20)
        may_end.set()
        assert client.take(1) == b""
    assert server.wait_for_last_client(20)
    assert server.counters.crashes == 2
    assert budget._left == whole
    with pytest.raises(ZeroDivisionError):
        server.stop()
