"""NBD addresses, as the NBD project's ``uri.md`` has them."""

from __future__ import annotations

import pytest

from dmsnap.block import CannotOpen, open_device
from dmsnap.block.nbd.uri import NbdAddress, parse_nbd_uri


@pytest.mark.parametrize(
    ("uri", "export"),
    [
        ("nbd://example.com/disk", b"disk"),
        ("nbd+unix:///disk?socket=sock", b"disk"),
        ("nbd://example.com/", b""),
        ("nbd://example.com", b""),
        ("nbd://example.com//disk", b"/disk"),
        ("nbd://example.com/hello%20world", b"hello world"),
        ("nbd://example.com/a/b+c%2Fd", b"a/b+c/d"),
        ("nbd+unix:///%C3%A9?socket=sock", "é".encode()),
    ],
)
def test_the_path_without_its_slash_is_the_name_of_the_export(uri: str, export: bytes) -> None:
    assert parse_nbd_uri(uri).export == export


@pytest.mark.parametrize(
    ("uri", "host", "port"),
    [
        ("nbd://example.com", "example.com", 10809),
        ("nbd://example.com:", "example.com", 10809),
        ("NBD://example.com:1/x", "example.com", 1),
        ("nbd://127.0.0.1:65535", "127.0.0.1", 65535),
        ("nbd://[::1]", "::1", 10809),
        ("nbd://[fe80::1%25eth0]:77/x", "fe80::1%eth0", 77),
    ],
)
def test_host_and_port(uri: str, host: str, port: int) -> None:
    address = parse_nbd_uri(uri)
    assert (address.host, address.port, address.unix, address.tls) == (host, port, None, False)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("nbd+unix:///?socket=/run/my%20server", b"/run/my server"),
        ("nbd+unix://?socket=relative+plus", b"relative+plus"),
        ("nbd+unix:///x?socket=%00/abstract", b"\0/abstract"),
    ],
)
def test_the_path_of_a_unix_socket(uri: str, path: bytes) -> None:
    assert parse_nbd_uri(uri).unix == path


def test_everything_about_encryption() -> None:
    uri = "nbds+unix:///x?socket=s&tls-type=x509&tls-certificates=/pki%20x&tls-hostname=server&tls-verify-peer=0"
    assert parse_nbd_uri(uri) == NbdAddress(
        uri=uri,
        export=b"x",
        unix=b"s",
        tls=True,
        tls_certificates="/pki x",
        tls_hostname="server",
        tls_verify=False,
    )
    assert parse_nbd_uri("nbds://example.com").tls_verify


@pytest.mark.parametrize(
    "uri",
    [
        "nbd:",
        "nbd://",
        "nbd:///disk",
        "nbd://example.com#fragment",
        "nbd+unix:///disk",
        "nbd+unix:///disk?socket=",
        "nbd+unix://host/disk?socket=x",
        "nbd+unix:///disk?socket=x&socket=y",
        "nbd+unix:///disk?socket=a%00b",
        "nbd+unix:///disk?Socket=x",
        "nbd://example.com/disk?socket=x",
        "nbd://example.com:0",
        "nbd://example.com:65536",
        "nbd://example.com:99999999999999999999",
        "nbd://example.com:http",
        "nbd://::1/disk",
        "nbd://[::1/disk",
        "nbd://[::zz]/disk",
        "nbd://alice@example.com/disk",
        "nbd://example.com/100%",
        "nbd://example.com/a%00b",
        "nbd://%FF/disk",
        "nbd://example.com/" + "x" * 4097,
        "nbd://example.com?unheard-of=1",
        "nbd://example.com?tls-certificates=/pki",
        "nbds://example.com?tls-verify-peer=maybe",
        "nbds://example.com?tls-type=anon",
        "nbds://example.com?tls-psk-file=keys",
        "nbd+ssh://example.com/disk",
        "nbd+vsock:///disk",
        "nbd://exa\nmple.com",
    ],
)
def test_a_wrong_address_is_one_line_with_a_hint(uri: str) -> None:
    with pytest.raises(CannotOpen) as caught:
        open_device(uri)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
