"""TLS: certificates, who is refused, and that real clients agree."""

from __future__ import annotations

import random
import ssl
import subprocess
from pathlib import Path

import pytest
from raw_nbd import RawClient

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.nbd.wire import Command, Option, OptionReply
from dmsnap.serve.nbd import BadCertificate, Export, Server, TlsServer
from dmsnap.testing.tools import need_tool

SIZE = 4 << 20


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Path:
    """The folder that libnbd and QEMU expect: ca-cert, server-cert, server-key, client-cert, client-key."""
    openssl, folder = need_tool("openssl"), tmp_path_factory.mktemp("pki")
    new = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]

    def run(*arguments: str) -> None:
        subprocess.run([*new, *arguments], cwd=folder, check=True, capture_output=True)

    run("-subj", "/CN=test ca", "-keyout", "ca-key.pem", "-out", "ca-cert.pem", "-addext", "keyUsage=keyCertSign")
    for who, use in (("server", "serverAuth"), ("client", "clientAuth")):
        run(
            *("-subj", f"/CN={who}", "-keyout", f"{who}-key.pem", "-out", f"{who}-cert.pem"),
            *("-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-addext", "basicConstraints=critical,CA:FALSE"),
            *("-addext", f"extendedKeyUsage={use}", "-addext", "keyUsage=digitalSignature"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        )
    return folder


def server_of(pki: Path, device: MemoryDevice, *, client_ca: bool = False, **options: float) -> Server:
    tls = TlsServer(pki / "server-cert.pem", pki / "server-key.pem", pki / "ca-cert.pem" if client_ca else None)
    server = Server([Export("", device)], tls=tls, **options)  # type: ignore[arg-type]
    server.listen_tcp("127.0.0.1", 0)
    return server


def secured(server: Server, pki: Path, *, certificate: bool = False) -> RawClient:
    client = RawClient(server)
    assert client.ask(Option.STARTTLS) == [(OptionReply.ACK, b"")]
    context = ssl.create_default_context(cafile=str(pki / "ca-cert.pem"))
    if certificate:
        context.load_cert_chain(pki / "client-cert.pem", pki / "client-key.pem")
    client.sock = context.wrap_socket(client.sock, server_hostname="localhost")
    return client


@pytest.mark.parametrize("form", ["simple", "extended"])
def test_requests_under_tls(pki: Path, form: str) -> None:
    data = random.Random(2).randbytes(SIZE)
    with server_of(pki, MemoryDevice(data)) as server:
        client = secured(server, pki)
        client.form = form
        client.enter()
        assert client.call(Command.READ, 0, SIZE).data == data
        packet = b"".join(client.request(0, 4096 * n, 4096, cookie=n) for n in range(100))
        client.sock.sendall(packet + client.request(Command.FLUSH, cookie=100))
        for _ in range(100):
            reply = client.reply(4096)
            assert reply.data == data[4096 * reply.cookie :][:4096]
        assert client.reply().cookie == 100
        assert client.call(Command.WRITE, 0, data=data[::-1]).error == 0
        assert client.call(Command.READ, 0, SIZE).data == data[::-1]
        client.send(Command.DISC)
        assert client.sock.recv(1) == b""


def test_in_the_clear_nothing_is_served(pki: Path) -> None:
    with server_of(pki, MemoryDevice(SIZE)) as server:
        client = RawClient(server)
        assert client.ask(Option.LIST)[0][0] is OptionReply.ERR_TLS_REQD
        assert client.ask(Option.GO, bytes(6))[0][0] is OptionReply.ERR_TLS_REQD


def test_who_has_no_certificate_is_refused_where_one_is_asked_for(pki: Path) -> None:
    with server_of(pki, MemoryDevice(SIZE), client_ca=True) as server:
        assert secured(server, pki, certificate=True).enter().call(Command.READ, 0, 512).data == bytes(512)
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            secured(server, pki).enter()
        assert server.counters.clients_ever == 1


def test_garbage_and_silence_instead_of_tls_are_cut_off(pki: Path) -> None:
    with server_of(pki, MemoryDevice(SIZE), handshake_seconds=0.5) as server:
        garbage, silence = RawClient(server), RawClient(server)
        for client in (garbage, silence):
            assert client.ask(Option.STARTTLS)[0][0] is OptionReply.ACK
        garbage.sock.sendall(b"GET / HTTP/1.0\r\n\r\n" * 20)
        garbage.sock.settimeout(20)
        while garbage.sock.recv(100):  # an alert, then the end
            pass
        assert silence.ended()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(pki: Path) -> None:
    with server_of(pki, MemoryDevice(SIZE)) as server:
        client = RawClient(server)
        client.ask(Option.STARTTLS)
        context = ssl.create_default_context(cafile=str(pki / "ca-cert.pem"))
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
        with pytest.raises((ssl.SSLError, ConnectionError)):
            client.sock = context.wrap_socket(client.sock, server_hostname="localhost")


def test_bad_files_are_named(pki: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    cert, key = pki / "server-cert.pem", pki / "server-key.pem"
    for files, words in [
        (("missing", key), "cannot use missing: no such file"),
        ((cert, "missing"), "cannot use missing: no such file"),
        ((bad, key), "bad.pem with .*not what it should be, in PEM"),
        ((cert, pki / "client-key.pem"), "one is not for the other"),
        ((cert, key, "missing"), "cannot use missing: no such file"),
        ((cert, key, bad), "cannot use [^ ]*bad.pem: not what it should be"),
    ]:
        with pytest.raises(BadCertificate, match=words):
            TlsServer(*files)


def test_libnbd_and_qemu_under_tls(pki: Path, tmp_path: Path) -> None:
    nbdcopy, qemu_img = need_tool("nbdcopy"), need_tool("qemu-img")
    data = random.Random(3).randbytes(SIZE)
    copy, image = tmp_path / "copy", tmp_path / "image"
    with server_of(pki, MemoryDevice(data), client_ca=True) as server:
        uri = server.addresses[0]
        assert uri.startswith("nbds://127.0.0.1:")
        subprocess.run([nbdcopy, f"{uri}/?tls-certificates={pki}", str(copy)], check=True, timeout=60)
        port = uri.rpartition(":")[2]
        subprocess.run(
            [
                *(qemu_img, "convert", "-O", "raw", "--object", f"tls-creds-x509,id=t,endpoint=client,dir={pki}"),
                *("--image-opts", f"driver=nbd,host=127.0.0.1,port={port},tls-creds=t", str(image)),
            ],
            check=True,
            timeout=60,
        )
    assert copy.read_bytes() == data
    assert image.read_bytes() == data
