"""The servers that are compared, each as a process of its own behind a Unix socket."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from images import IMAGE_BYTES
from serving_client import block, connected, disconnect, write_blocks

from dmsnap.block import FileDevice
from dmsnap.block.contract import IOFailed
from dmsnap.store import create_store, open_store

OURS = [sys.executable, "-m", "dmsnap", "serve"]
CLIENTS = 8
"""As many as qemu-nbd lets in at once."""
_START_SECONDS = 20
_COMPARED_BYTES = 256 << 10
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Server:
    """One that answers.

    Attributes:
        socket: Where.
        export: The name of what it serves.
        process: Its number.
        start_seconds: From the command until a client had the first 4 KiB.
    """

    socket: Path
    export: str
    process: int
    start_seconds: float

    @property
    def uri(self) -> str:
        return f"nbd+unix:///{self.export}?socket={quote(str(self.socket))}"

    def processor_seconds(self) -> float:
        """What it has used so far, in user mode and in the kernel, all threads (proc(5))."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK

    def warm(self) -> None:
        """Reads the files that it has open, so that the page cache has them: a system may drop them meanwhile."""
        for descriptor in Path(f"/proc/{self.process}/fd").iterdir():
            with suppress(OSError):  # it was closed, or is no file
                if descriptor.stat().st_size >= _READ_BYTES and descriptor.is_file():
                    with descriptor.open("rb", buffering=0) as file:
                        while file.read(_READ_BYTES):
                            pass


@contextmanager
def running(command: Sequence[str | Path], socket: Path, export: str = "") -> Iterator[Server]:
    """A server from the moment on that it answers.

    Args:
        command: Which runs in the foreground and listens on ``socket``.
        socket: Must not exist, or be left over.
        export: What it serves.

    Raises:
        subprocess.SubprocessError: It ended, or did not answer in time.
    """
    socket.unlink(missing_ok=True)
    words = [str(word) for word in command]
    with socket.with_suffix(".log").open("w+") as log:
        started = time.perf_counter()
        temporary = os.environ | {"TMPDIR": str(socket.parent)}
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=temporary)
        try:
            while not _answers(socket, export):
                if process.poll() is not None:
                    log.seek(0)
                    raise subprocess.CalledProcessError(process.returncode, words, stderr=log.read())
                if time.perf_counter() - started > _START_SECONDS:
                    raise subprocess.TimeoutExpired(words, _START_SECONDS)
                time.sleep(0.0005)
            yield Server(socket, export, process.pid, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def dmsnap(cow: Path, origin: Path, folder: Path) -> AbstractContextManager[Server]:
    """Ours, with its default settings; the socket is in ``folder``, as are those of the others."""
    socket = folder / "dmsnap.sock"
    return running([*OURS, cow, "--origin", origin, "--unix", socket], socket, cow.stem)


def qemu_nbd(
    overlay: Path, folder: Path, aio: str = "io_uring", *, read_only: bool = False
) -> AbstractContextManager[Server]:
    """QEMU's, with its fastest settings; its own choice would be ``threads``. Two can have one overlay only to read."""
    socket = folder / f"qemu-nbd-{aio}.sock"
    options = ["-t", "-f", "qcow2", "-e", str(CLIENTS), "--cache=writeback", f"--aio={aio}"]
    options += ["-r"] if read_only else []
    return running(["qemu-nbd", *options, "-k", socket, overlay], socket)


def nbdkit_cow(origin: Path, chunk_bytes: int, folder: Path, threads: int = 16) -> AbstractContextManager[Server]:
    """nbdkit with an overlay that is empty, and gone when it ends; its own choice are 16 threads."""
    socket = folder / f"nbdkit-{threads}.sock"
    options = ["-f", "-t", str(threads), "--filter=cow", "-U", socket]
    return running(["nbdkit", *map(str, options), "file", origin, f"cow-block-size={chunk_bytes}"], socket)


def nbdkit_null(folder: Path) -> AbstractContextManager[Server]:
    """Zeros out of nothing: what is left is the client. With one thread it is fastest."""
    socket = folder / "nbdkit-null.sock"
    return running(["nbdkit", "-f", "-t", "1", "-U", socket, "null", f"size={IMAGE_BYTES}"], socket)


def empty_store(cow: Path, chunk_bytes: int) -> None:
    """A new store with room for every chunk."""
    cow.unlink(missing_ok=True)
    with cow.open("wb") as out:
        out.truncate(IMAGE_BYTES + (IMAGE_BYTES >> 4))
    with FileDevice(cow, writable=True) as device:
        create_store(device, chunk_bytes // 512)


def empty_overlay(overlay: Path, origin: Path, chunk_bytes: int) -> None:
    """A new qcow2 file whose clusters are as large as the chunks of the store."""
    overlay.unlink(missing_ok=True)
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={chunk_bytes}"]
    subprocess.run([*create, "-b", str(origin), "-F", "raw", str(overlay)], check=True)


def fill(server: Server, cow: Path) -> None:
    """Writes to a server what a store holds."""
    with FileDevice(cow) as device:
        write_blocks(server.socket, server.export, _changes(device))


def _changes(device: FileDevice) -> Iterator[tuple[int, bytes]]:
    store = open_store(device)
    size = store.chunk_size_bytes
    for first, place, count in zip(*(column.tolist() for column in store.table.runs_between(0, 1 << 40)), strict=True):
        for at in range(count):
            yield (first + at) * size, bytes(device.read_at((place + at) * size, size))


def all_same(servers: Iterable[Server]) -> bool:
    """Whether all serve the same bytes, each of them asked for; `qemu-img compare` would take a minute for each two."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(server.socket, server.export)) for server in servers]
        same = all(
            len({block(connection, offset, _COMPARED_BYTES) for connection in connections}) == 1
            for offset in range(0, IMAGE_BYTES, _COMPARED_BYTES)
        )
        for connection in connections:
            disconnect(connection)
    return same


def _answers(socket: Path, export: str) -> bool:
    try:
        with connected(socket, export) as connection:
            block(connection)
            disconnect(connection)
    except (FileNotFoundError, ConnectionError):  # not yet, or it ended
        return False
    except IOFailed as error:
        raise subprocess.SubprocessError(f"{socket.stem}: {error}") from error
    return True
