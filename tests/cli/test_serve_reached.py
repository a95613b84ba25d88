"""How clients come to ``dmsnap serve``: by sockets that a service manager hands over, and by TLS."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from served import Served, client

from dmsnap.testing.tools import need_tool

# -- service managers -------------------------------------------------------------------------------------------------

ACTIVATE = (
    "import os, sys\n"
    "for number, passed in enumerate(map(int, sys.argv[1].split(',')), 3):\n"
    "    os.dup2(passed, number + 100)\n"
    "for number in range(3, 3 + len(sys.argv[1].split(','))):\n"
    "    os.dup2(number + 100, number)\n"
    "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': str(len(sys.argv[1].split(',')))}\n"
    "os.execv(sys.argv[2], sys.argv[2:])"
)
"""Hands sockets over as systemd does, and becomes what it is told to."""


def activated(descriptors: list[int]) -> dict[str, object]:
    """Keywords for a server that is handed sockets."""
    words = [sys.executable, "-c", ACTIVATE, ",".join(map(str, descriptors))]
    return {"wrapper": words, "pass_fds": descriptors}


def test_sockets_that_are_handed_over_are_served_on(serve, files) -> None:
    with socket.socket(socket.AF_UNIX) as one, socket.create_server(("127.0.0.1", 0)) as other:
        one.bind(str(files.folder / "passed"))
        one.listen()
        served = serve(lines=4, **activated([one.fileno(), other.fileno()]))
        port = other.getsockname()[1]
    assert served.lines[:2] == [
        f"nbd+unix:///monday?socket={files.folder / 'passed'}",
        f"nbd://127.0.0.1:{port}/monday",
    ]
    for uri in served.lines:
        assert client("nbdinfo", "--size", uri).returncode == 0
    assert served.end() == (0, "", "")
    assert (files.folder / "passed").is_socket(), "it is the service manager's"


def test_what_is_handed_over_must_listen(files) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong:
        words = [files.store, "--origin", files.origin]
        with Served(*words, lines=0, cwd=files.folder, **activated([wrong.fileno()])) as served:
            status, out, err = served.wait()
    assert (status, out) == (1, "")
    assert "descriptor 3 of LISTEN_FDS" in err


def test_sockets_of_another_process_are_not_taken(program, files, monkeypatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    assert program("serve", files.store, "--origin", files.origin).returncode == 2


def test_a_service_manager_is_told(serve, files) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(20)
        manager.bind(str(files.folder / "notify"))
        served = serve("--unix", "s", environment={"NOTIFY_SOCKET": str(files.folder / "notify")})
        assert manager.recv(100) == b"READY=1"
        served.process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert served.wait() == (0, "", "")


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """A folder as libnbd likes it, with the server's certificate for localhost."""
    folder = tmp_path / "pki"
    folder.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run([need_tool("openssl"), *words], cwd=folder, check=True, capture_output=True, timeout=60)

    new = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl(*new, "-x509", "-subj", "/CN=test ca", "-keyout", "ca-key.pem", "-out", "ca-cert.pem")
    for name in ("server", "client"):
        openssl(
            *new, "-x509", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
            "-keyout", f"{name}-key.pem", "-out", f"{name}-cert.pem",
        )  # fmt: skip
    return folder


def test_with_a_certificate_only_tls_gets_in(serve, files, certificates: Path) -> None:
    served = serve(
        "--tcp", "0", "--tls-cert", certificates / "server-cert.pem", "--tls-key", certificates / "server-key.pem",
        "--tls-client-ca", certificates / "ca-cert.pem",
    )  # fmt: skip
    uri = served.lines[0]
    assert uri.startswith("nbds://127.0.0.1:")
    secured = uri.replace("127.0.0.1", "localhost") + f"?tls-certificates={certificates}"
    assert client("nbdinfo", "--size", secured).stdout == f"{files.origin.stat().st_size}\n"
    assert client("nbdinfo", "--size", uri.replace("nbds:", "nbd:")).returncode != 0
    for name in ("client-cert.pem", "client-key.pem"):
        (certificates / name).unlink()
    assert client("nbdinfo", "--size", secured).returncode != 0
    assert served.end()[:2] == (0, "")
