"""Encryption: the server is known by its certificate, and the client where the server asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dmsnap.block import CannotOpen
from dmsnap.block.nbd.device import NbdDevice
from dmsnap.block.nbd.wire import Option, OptionReply
from dmsnap.testing.device_contract import in_threads

MIB = 1 << 20


@pytest.fixture
def secure(nbdkit, certificates: Path) -> Callable[..., str]:
    def start(*options: str, tcp: str = "") -> str:
        tls = ("--tls=require", f"--tls-certificates={certificates / 'server'}")
        address = str(nbdkit(*tls, *options, "memory", "16M", tcp=tcp))
        return address.replace("nbd", "nbds", 1) + ("?" if tcp else "&")

    return start


def check(device: NbdDevice) -> None:
    data = bytes(range(256)) * 4096
    device.write_at(0, data)
    device.flush()
    requests = [(offset, memoryview(bytearray(4096))) for offset in range(0, MIB, 4096)]
    for completion in device.start_reads(requests):
        completion.wait()
    assert b"".join(view for _, view in requests) == data
    assert device.read_at(0, 2 * MIB) == data + bytes(MIB)


@pytest.mark.parametrize("tcp", ["", "127.0.0.1"])
def test_an_encrypted_connection(secure, certificates: Path, tcp: str) -> None:
    with NbdDevice(secure(tcp=tcp) + f"tls-certificates={certificates / 'nobody'}", writable=True) as device:
        check(device)


def test_many_threads_read_and_write_encrypted(secure, certificates: Path) -> None:
    with NbdDevice(secure() + f"tls-certificates={certificates / 'nobody'}", writable=True) as device:

        def work(number: int) -> None:
            for turn in range(20):
                data = bytes([number, turn]) * (MIB // 2)
                device.write_at(number * MIB, data)
                assert device.read_at(number * MIB, MIB) == data

        in_threads(4, work)


def test_a_server_that_nobody_vouches_for_is_refused(secure) -> None:
    with pytest.raises(CannotOpen, match="cannot be trusted"):
        NbdDevice(secure() + "tls-type=x509")


def test_unless_asked_not_to_look(secure) -> None:
    with NbdDevice(secure() + "tls-verify-peer=0", writable=True) as device:
        check(device)


def test_a_certificate_for_another_name_is_refused_unless_named(secure, certificates: Path) -> None:
    address = secure(tcp="127.0.0.1") + f"tls-certificates={certificates / 'nobody'}"
    with pytest.raises(CannotOpen, match="cannot be trusted") as caught:
        NbdDevice(address + "&tls-hostname=example.com")
    assert "tls-hostname" in caught.value.hint
    NbdDevice(address + "&tls-hostname=localhost").close()


def test_a_server_that_wants_to_know_its_clients(secure, certificates: Path) -> None:
    address = secure("--tls-verify-peer")
    with NbdDevice(address + f"tls-certificates={certificates / 'client'}", writable=True) as device:
        check(device)
    with pytest.raises(CannotOpen):
        NbdDevice(address + f"tls-certificates={certificates / 'nobody'}")


def test_a_plain_connection_is_refused_where_encryption_is_wanted(secure) -> None:
    with pytest.raises(CannotOpen, match="encrypted") as caught:
        NbdDevice(secure().replace("nbds", "nbd", 1).rstrip("&"))
    assert "nbds" in caught.value.hint


def test_a_server_without_encryption_is_refused_where_it_is_asked_for(nbdkit) -> None:
    with pytest.raises(CannotOpen, match="no encryption"):
        NbdDevice(nbdkit("memory", "1M").replace("nbd", "nbds", 1))


def test_certificates_that_cannot_be_used(nbdkit, tmp_path: Path) -> None:
    address = nbdkit("--tls=on", "memory", "1M").replace("nbd", "nbds", 1)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "ca-cert.pem").write_text("no certificate")
    for folder in ("nowhere", "bad"):
        with pytest.raises(CannotOpen) as caught:
            NbdDevice(f"{address}&tls-certificates={tmp_path / folder}")
        assert "\n" not in str(caught.value)


def test_what_is_no_encryption_after_all(scripted) -> None:
    def script(peer) -> None:
        peer.greet()
        option, _ = peer.option()
        assert option == Option.STARTTLS
        peer.answer(option, OptionReply.ACK)
        peer.send(b"in the clear" * 100)

    with pytest.raises(CannotOpen):
        NbdDevice(scripted(script).replace("nbd", "nbds", 1))
