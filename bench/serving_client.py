"""An NBD client that does next to nothing for a request, so that what is measured is the server.

fio's takes some 10 us of processor for each request, more than a fast server does: it measures itself. This one sends
requests that were packed before the clock started, and counts the bytes that come back: replies to reads of one size
without structured replies are all equally long.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from dmsnap.block.contract import IOFailed

# The NBD protocol, doc/proto.md: the fixed newstyle handshake, one export by its name, simple replies.
_GREETING = struct.Struct(">8s8sH")
_CHOICE = struct.Struct(">L8sLL")
_EXPORT_BYTES = 10
_FIXED_AND_NO_ZEROES = 3
_EXPORT_NAME = 1
_REQUEST = np.dtype(
    [("magic", ">u4"), ("flags", ">u2"), ("type", ">u2"), ("cookie", ">u8"), ("offset", ">u8"), ("length", ">u4")]
)
_REQUEST_MAGIC = 0x25609513
_READ, _WRITE, _DISCONNECT = 0, 1, 2
_DONE = struct.pack(">LL", 0x67446698, 0)
_REPLY_BYTES = 16
_BLOCK_BYTES = 4096
_READ_BYTES = _REPLY_BYTES + _BLOCK_BYTES
_PATIENCE_SECONDS = 10
_LONG_ENOUGH = 1 << 20
_WRITTEN_AT_ONCE = 16


def connected(path: Path, export: str) -> socket.socket:
    """A connection that is ready for requests to the export, with simple replies.

    Raises:
        OSError: Nobody listens there (yet), or says anything in ten seconds.
        IOFailed: The server ended the handshake: it has no such export.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_PATIENCE_SECONDS)
    try:
        connection.connect(str(path))
        _received(connection, _GREETING.size)
        name = export.encode()
        connection.sendall(_CHOICE.pack(_FIXED_AND_NO_ZEROES, b"IHAVEOPT", _EXPORT_NAME, len(name)) + name)
        _received(connection, _EXPORT_BYTES)
    except BaseException:
        connection.close()
        raise
    return connection


def block(connection: socket.socket, offset: int = 0, length_bytes: int = _BLOCK_BYTES) -> bytes:
    """What the export has there; asked when everything else has been answered."""
    connection.sendall(_requests(_READ, np.array([offset], np.uint64), length_bytes))
    if _received(connection, _REPLY_BYTES)[: len(_DONE)] != _DONE:
        raise IOFailed("a read was answered with an error")
    return _received(connection, length_bytes)


def reads_a_second(path: Path, export: str, size_bytes: int, *, depth: int, seconds: float) -> float:
    """Random reads of 4 KiB, ``depth`` of them in flight all the time, for about so many seconds."""
    places = np.random.default_rng(32).integers(0, size_bytes // _BLOCK_BYTES, _LONG_ENOUGH, dtype=np.uint64)
    requests = memoryview(_reads(places * np.uint64(_BLOCK_BYTES)))
    ring = bytearray(depth * _READ_BYTES)
    view = memoryview(ring)
    with connected(path, export) as connection:
        started = time.perf_counter()
        sent, received, until = 0, 0, started + seconds
        while True:
            due = received // _READ_BYTES + depth - sent
            if due and time.perf_counter() < until:
                begin = sent % (_LONG_ENOUGH - depth) * _REQUEST.itemsize
                connection.sendall(requests[begin : begin + due * _REQUEST.itemsize])
                sent += due
            elif received == sent * _READ_BYTES:
                break
            count = connection.recv_into(view[received % len(ring) :])
            if not count:
                raise IOFailed("the server closed the connection")
            received += count
        taken = time.perf_counter() - started
        disconnect(connection)
    # An error is a shorter reply, which shifts all that come after it.
    if any(ring[begin : begin + len(_DONE)] != _DONE for begin in range(0, len(ring), _READ_BYTES)):
        raise IOFailed("a read was answered with an error")
    return sent / taken


def write_blocks(path: Path, export: str, blocks: Iterator[tuple[int, bytes]]) -> None:
    """Writes some blocks, of which the export then has them all; in their order, a few in flight."""
    with connected(path, export) as connection:
        for group in iter(lambda: list(islice(blocks, _WRITTEN_AT_ONCE)), []):
            requests = _requests(_WRITE, np.array([offset for offset, _ in group], np.uint64), len(group[0][1]))
            each = _REQUEST.itemsize
            connection.sendall(
                b"".join(requests[at * each : at * each + each] + data for at, (_, data) in enumerate(group))
            )
            replies = _received(connection, len(group) * _REPLY_BYTES)
            if any(replies[begin : begin + len(_DONE)] != _DONE for begin in range(0, len(replies), _REPLY_BYTES)):
                raise IOFailed("a write was answered with an error")
        disconnect(connection)


def disconnect(connection: socket.socket) -> None:
    """Says that nothing more will come: a server has no reason to complain."""
    connection.sendall(_requests(_DISCONNECT, np.zeros(1, np.uint64), 0))


def _reads(offsets: np.ndarray) -> bytes:
    return _requests(_READ, offsets, _BLOCK_BYTES)


def _requests(command: int, offsets: np.ndarray, length_bytes: int) -> bytes:
    requests = np.zeros(len(offsets), _REQUEST)
    requests["magic"] = _REQUEST_MAGIC
    requests["type"] = command
    requests["cookie"] = np.arange(len(offsets))
    requests["offset"] = offsets
    requests["length"] = length_bytes
    return requests.tobytes()


def _received(connection: socket.socket, count: int) -> bytes:
    said = bytearray(count)
    view = memoryview(said)
    while len(view):
        part = connection.recv_into(view)
        if not part:
            raise IOFailed("the server closed the connection")
        view = view[part:]
    return bytes(said)
