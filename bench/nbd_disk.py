"""A disk behind NBD, for reading: so that the disk which Linux has in its machine can be read here too."""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Sequence

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, IOFailed, ReadRequest

# The NBD protocol, doc/proto.md: the fixed newstyle handshake, one export without a name, simple replies.
_GREETING = struct.Struct(">8s8sH")
_CHOICE = struct.Struct(">L8sLL")
_EXPORT = struct.Struct(">QH")
_REQUEST = struct.Struct(">LHHQQL")
_REPLY = struct.Struct(">LLQ")
_FIXED_AND_NO_ZEROES = 3
_EXPORT_NAME = 1
_REQUEST_MAGIC = 0x25609513
_REPLY_MAGIC = 0x67446698


class NbdDisk(BlockDevice):
    """The only export of an NBD server.

    Args:
        path: The server's Unix socket.
    """

    read_only = True

    def __init__(self, path: str) -> None:
        self.name = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._replies = io.BufferedReader(self._socket.makefile("rb", buffering=0), 1 << 18)
        _GREETING.unpack(self._replies.read(_GREETING.size))
        self._socket.sendall(_CHOICE.pack(_FIXED_AND_NO_ZEROES, b"IHAVEOPT", _EXPORT_NAME, 0))
        self._size: int
        self._size, _ = _EXPORT.unpack(self._replies.read(_EXPORT.size))
        self._lock = threading.Lock()
        self._asked = 0
        self._pending: dict[int, tuple[memoryview, Completion]] = {}
        self._receiver = threading.Thread(target=self._receive, daemon=True)
        self._receiver.start()

    @property
    def size_bytes(self) -> int:
        return self._size & -512

    def _read_into(self, offset: int, view: memoryview) -> None:
        self._start_reads(((offset, view),))[0].wait()

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        completions, message = [], bytearray()
        with self._lock:
            for offset, view in requests:
                self._asked += 1
                completion = Completion()
                self._pending[self._asked] = view, completion
                completions.append(completion)
                message += _REQUEST.pack(_REQUEST_MAGIC, 0, 0, self._asked, offset, len(view))
            self._socket.sendall(message)
        return completions

    def _receive(self) -> None:
        while len(header := self._replies.read(_REPLY.size)) == _REPLY.size:
            magic, error, number = _REPLY.unpack(header)
            assert magic == _REPLY_MAGIC
            view, completion = self._pending.pop(number)
            failed = error or self._replies.readinto(view) != len(view)
            completion.finish(IOFailed(f"{self.name}: a read failed", device=self.name) if failed else None)

    def _write_at(self, offset: int, view: memoryview) -> None:
        raise NotImplementedError  # the contract refuses writes to a read-only device before this

    def _flush(self) -> None:
        return

    def _close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._receiver.join()
        self._replies.close()
        self._socket.close()
