"""NBD servers for tests: real ones, and one that says what a test wants."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from dmsnap.block.nbd.wire import (
    CHUNK,
    CHUNK_MAGIC,
    CLIENT_FLAGS,
    EXPORT,
    GREETING,
    GREETING_MAGIC,
    OPTION,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    REQUEST,
    Command,
    Info,
    Option,
    OptionReply,
)
from dmsnap.testing import need_tool

Start = Callable[..., str]

# As systemd would: the server inherits a socket that listens already, so nobody has to wait for it to come up.
_ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@contextmanager
def activated(listening: socket.socket, *command: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs an NBD server on a socket that listens."""
    process = subprocess.Popen(
        [sys.executable, "-ISc", _ACTIVATE, str(listening.fileno()), *map(str, command)],
        stdin=subprocess.DEVNULL,
        pass_fds=[listening.fileno()],
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def run_server(tmp_path: Path) -> Iterator[Start]:
    """Starts a server program on a new Unix socket, or at a TCP address, and returns the URI."""
    names = itertools.count()
    with ExitStack() as stack:

        def start(*command: str | Path, tcp: str = "") -> str:
            path = tmp_path / f"socket-{next(names)}"
            family = socket.AF_UNIX if not tcp else socket.AF_INET6 if ":" in tcp else socket.AF_INET
            listening = stack.enter_context(socket.socket(family))
            listening.bind((tcp, 0) if tcp else str(path))
            listening.listen()
            stack.enter_context(activated(listening, *command))
            if not tcp:
                return f"nbd+unix:///?socket={path}"
            return (
                f"nbd://[{tcp}]:{listening.getsockname()[1]}/"
                if ":" in tcp
                else f"nbd://{tcp}:{listening.getsockname()[1]}/"
            )

        yield start


@pytest.fixture
def nbdkit(run_server: Start) -> Start:
    """Starts nbdkit with the given arguments and returns its address."""
    program = need_tool("nbdkit")
    return lambda *arguments, **where: run_server(program, "--foreground", *arguments, **where)


@pytest.fixture
def qemu_nbd(run_server: Start) -> Start:
    """Starts qemu-nbd with the given arguments and returns its address."""
    program = need_tool("qemu-nbd")
    return lambda *arguments: run_server(program, "--persistent", "--shared=8", *arguments)


class Peer:
    """The server's end of one connection, for a script."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            got = self.socket.recv(count - len(data))
            if not got:
                raise EOFError
            data += got
        return bytes(data)

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def greet(self, flags: int = 3) -> None:
        self.send(GREETING.pack(GREETING_MAGIC, flags))
        self.receive(CLIENT_FLAGS.size)

    def option(self) -> tuple[int, bytes]:
        _, option, length = OPTION.unpack(self.receive(OPTION.size))
        return option, self.receive(length)

    def answer(self, option: int, kind: int, data: bytes = b"") -> None:
        self.send(OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, kind, len(data)), data)

    def agree(
        self,
        size: int = 1 << 20,
        flags: int = 0x0B,
        *,
        accept: tuple[Option, ...] = (Option.STRUCTURED_REPLY,),
        contexts: dict[int, str] | None = None,
        blocks: tuple[int, int, int] | None = None,
    ) -> None:
        """The whole handshake: accepts some options, and names the export's size and ``flags``."""
        self.greet()
        while True:
            option, _ = self.option()
            if option == Option.GO:
                self.answer(option, OptionReply.INFO, struct.pack(">H", Info.EXPORT) + EXPORT.pack(size, flags))
                if blocks:
                    self.answer(option, OptionReply.INFO, struct.pack(">HLLL", Info.BLOCK_SIZE, *blocks))
                self.answer(option, OptionReply.ACK)
                return
            if option == Option.SET_META_CONTEXT:
                for number, name in (contexts or {}).items():
                    self.answer(option, OptionReply.META_CONTEXT, struct.pack(">L", number) + name.encode())
                self.answer(option, OptionReply.ACK)
            else:
                self.answer(option, OptionReply.ACK if option in accept else OptionReply.ERR_UNSUP)

    def request(self) -> tuple[int, int, int, int, int]:
        """(flags, command, cookie, offset, length); the data of a write is taken and dropped."""
        _, flags, command, cookie, offset, length = REQUEST.unpack(self.receive(REQUEST.size))
        if command == Command.WRITE:
            self.receive(length)
        return flags, command, cookie, offset, length

    def chunk(self, kind: int, cookie: int, payload: bytes = b"", *, done: bool = True) -> None:
        self.send(CHUNK.pack(CHUNK_MAGIC, int(done), kind, cookie, len(payload)), payload)


Script = Callable[[Peer], None]


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serves one connection after another with the given scripts, and returns the address."""
    with ExitStack() as stack:
        threads: list[threading.Thread] = []
        peers: list[socket.socket] = []
        failures: list[BaseException] = []

        def start(*scripts: Script) -> str:
            path = tmp_path / f"scripted-{len(threads)}"
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(path))
            listening.listen()
            over = threading.Event()

            def serve() -> None:
                for script in scripts:
                    connection, _ = listening.accept()
                    if over.is_set():
                        connection.close()
                        break
                    peers.append(connection)
                    with connection:
                        try:
                            script(Peer(connection))
                        except (EOFError, OSError):
                            pass
                        except BaseException as error:  # noqa: BLE001 - for the thread of the test
                            failures.append(error)
                listening.close()

            thread = threading.Thread(target=serve)
            thread.start()
            threads.append(thread)

            def stop() -> None:
                over.set()
                with suppress(OSError), socket.socket(socket.AF_UNIX) as waking:
                    waking.connect(str(path))
                for peer in peers:
                    with suppress(OSError):
                        peer.shutdown(socket.SHUT_RDWR)
                thread.join()

            stack.callback(stop)
            return f"nbd+unix:///?socket={path}"

        yield start
    assert not failures, failures


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with an authority, a server's certificate for ``localhost``, and a client's."""
    openssl = need_tool("openssl")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("server", "client", "nobody"):
        (folder / name).mkdir()

    def run(*arguments: str | Path) -> None:
        subprocess.run(
            [openssl, *arguments], check=True, capture_output=True, env={**os.environ, "RANDFILE": os.devnull}
        )

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    ca, ca_key = folder / "ca-cert.pem", folder / "ca-key.pem"
    run("req", "-x509", *key, "-subj", "/CN=test authority", "-keyout", ca_key, "-out", ca)
    for name in ("server", "client"):
        request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
        extra.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run("req", *key[:-2], "-subj", "/CN=localhost", "-keyout", folder / name / f"{name}-key.pem", "-out", request)
        run(
            *("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2"),
            *("-extfile", extra, "-out", folder / name / f"{name}-cert.pem"),
        )
        (folder / name / "ca-cert.pem").write_bytes(ca.read_bytes())
    (folder / "nobody" / "ca-cert.pem").write_bytes(ca.read_bytes())
    return folder
