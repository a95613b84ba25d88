"""Replies sent from the page cache itself: the same bytes, and no harm where the file is cut short under the server."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_nbd import FORMS, RawClient

from dmsnap.block import FileDevice
from dmsnap.block import cached_file as cached_file_module
from dmsnap.block.loan import Loan
from dmsnap.block.nbd.wire import Command, NbdError
from dmsnap.serve.nbd import Export, borrowing
from dmsnap.testing import need

SIZE = 4 << 20
PAGE = 4096


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A device in the page cache, which lends; how often is counted."""
    monkeypatch.setattr(cached_file_module, "PRICE_OF_A_MISS", 1)
    path = tmp_path / "file"
    path.write_bytes(random.Random(8).randbytes(SIZE))
    with FileDevice(path, writable=True) as device:
        device.start_reads([(0, memoryview(bytearray(512)))])
        need(device.lend([(0, 512)]) is not None, "the filesystem of the temporary folder is none that is lent from")
        yield device, path


def ask(client: RawClient, places: list[tuple[int, int]]) -> list[tuple[int, bytes]]:
    """Reads together; error and data of each."""
    requests = [client.request(Command.READ, at, length, cookie=cookie) for cookie, (at, length) in enumerate(places)]
    client.sock.sendall(b"".join(requests))
    answers = []
    for cookie, (_, length) in enumerate(places):
        reply = client.reply(length)
        assert reply.cookie == cookie
        answers.append((reply.error, reply.data))
    return answers


@pytest.mark.parametrize("form", FORMS)
def test_many_reads_and_large_ones_bring_what_is_there(file, serve, form: str, monkeypatch) -> None:
    device, path = file
    lent = []
    lend = type(device).lend
    monkeypatch.setattr(FileDevice, "lend", lambda self, ranges: lent.append(len(ranges)) or lend(self, ranges))
    content = path.read_bytes()
    with RawClient(serve(Export("", device)), form) as client:
        client.enter()
        rng = random.Random(9)
        for count, length in ((8, 4096), (300, 512), (1, 1 << 20), (3, 1 << 20), (1, SIZE)):
            places = [(rng.randrange(0, SIZE - length + 1, 512), length) for _ in range(count)]
            got = ask(client, places)
            assert got == [(0, content[at : at + length]) for at, length in places]
    assert sum(lent) >= 313
    assert client.size == SIZE


def test_a_client_that_takes_its_replies_slowly_gets_them_whole(file, serve) -> None:
    device, path = file
    content = path.read_bytes()
    with RawClient(serve(Export("", device)), "simple") as client:
        client.enter()
        for _ in range(3):
            assert ask(client, [(0, SIZE), (512, SIZE - 512)]) == [(0, content), (0, content[512:])]


def test_where_the_file_was_cut_short_reads_fail_and_the_server_goes_on(file, serve) -> None:
    device, path = file
    content = path.read_bytes()
    server = serve(Export("", device))
    os.truncate(path, PAGE)
    with RawClient(server, "simple") as client:
        client.enter()
        places = [(SIZE // 2 + number * PAGE, PAGE) for number in range(8)]
        assert ask(client, places) == [(NbdError.EIO, b"")] * 8
        assert ask(client, [(0, PAGE)]) == [(0, content[:PAGE])]


def test_where_part_of_a_reply_is_gone_already_the_client_is_cut_off_and_others_are_served(file, serve) -> None:
    device, path = file
    content = path.read_bytes()
    server = serve(Export("", device))
    os.truncate(path, 2 << 20)
    with RawClient(server, "simple") as client, RawClient(server, "simple") as other:
        client.enter()
        other.enter()
        client.send(Command.READ, 0, SIZE)  # the first 2 MiB can be sent, with a header that promises 4
        taken = 0
        while data := client.sock.recv(1 << 16):
            taken += len(data)
        assert taken < SIZE
        other.send(Command.READ, 0, SIZE)
        assert other.reply(SIZE).error == NbdError.EIO
        assert ask(other, [(0, PAGE)] * 5) == [(0, content[:PAGE])] * 5


def test_only_so_much_is_lent_at_once(file, serve, monkeypatch) -> None:
    device, path = file
    monkeypatch.setattr(borrowing, "TOGETHER_BYTES", 64 << 10)
    lent: list[int] = []
    lend = FileDevice.lend
    monkeypatch.setattr(
        FileDevice, "lend", lambda self, ranges: lent.append(sum(size for _, size in ranges)) or lend(self, ranges)
    )
    content = path.read_bytes()
    with RawClient(serve(Export("", device)), "simple") as client:
        client.enter()
        places = [(at, length) for at, length in ((0, 1 << 20), *[(PAGE * n, 5 * PAGE) for n in range(20)])]
        assert ask(client, places) == [(0, content[at : at + length]) for at, length in places]
    assert max(lent) <= 64 << 10
    assert len(lent) > 16 + 6


@pytest.mark.parametrize("form", FORMS)
def test_what_the_socket_does_not_take_is_borrowed_again_and_nothing_meanwhile(file, serve, form, monkeypatch) -> None:
    device, path = file
    content = path.read_bytes()
    loans: list[Loan] = []
    lend = FileDevice.lend
    monkeypatch.setattr(FileDevice, "lend", lambda self, ranges: kept(loans, lend(self, ranges)))
    with RawClient(serve(Export("", device)), form) as client:
        client.enter()
        places = [(1536, SIZE - 2048), *[(n * 7680, 7680) for n in range(200)]]
        requests = [client.request(Command.READ, at, size, cookie=n) for n, (at, size) in enumerate(places)]
        client.sock.sendall(b"".join(requests))
        until = time.monotonic() + 0.3
        while time.monotonic() < until:  # the server fills the socket and waits
            time.sleep(0.01)
        assert loans
        assert not any(loan.views for loan in loans)
        for at, size in places:
            assert client.reply(size).data == content[at : at + size]


def kept(loans: list[Loan], loan: Loan | None) -> Loan | None:
    if loan is not None:
        loans.append(loan)
    return loan


def test_a_device_that_was_closed_under_the_server_answers_by_errors(file, serve) -> None:
    device, _ = file
    with RawClient(serve(Export("", device)), "simple") as client:
        client.enter()
        device.close()
        assert ask(client, [(0, PAGE)] * 8) == [(NbdError.ESHUTDOWN, b"")] * 8


def test_a_loan_ends_also_where_its_reply_cannot_be_made(file, serve, monkeypatch) -> None:
    device, path = file
    ended: list[Loan] = []

    class TooMuch(list):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[memoryview]:
            raise MemoryError

    def lend(self: FileDevice, ranges: list[tuple[int, int]]) -> Loan:
        loan = Loan([TooMuch() for _ in ranges], lambda **_: None)
        loan.on_end = lambda: ended.append(loan)
        return loan

    monkeypatch.setattr(FileDevice, "lend", lend)
    with RawClient(serve(Export("", device)), "simple") as client:
        client.enter()
        content = path.read_bytes()
        assert ask(client, [(0, PAGE)] * 8) == [(0, content[:PAGE])] * 8
    assert len(ended) == 1
