"""Device-mapper by its ioctls, as ``linux/dm-ioctl.h`` defines them: dmsetup's work without a process for each step.

Needs root and ``/dev/mapper/control``; it is made for the guest, where it runs on the core of the standard library.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from typing import NamedTuple

__all__ = ["DeviceMapper", "Node"]

_HEADER = struct.Struct("=3I3Ii3IQ128s129s7x")  # struct dm_ioctl
_TARGET = struct.Struct("=QQiI16s")  # struct dm_target_spec
_VERSION = (4, 0, 0)
_BUFFER_BYTES = 4096

_DEV_CREATE, _DEV_REMOVE, _DEV_SUSPEND, _TABLE_LOAD, _TABLE_STATUS = 3, 4, 6, 9, 12
_SUSPEND_FLAG, _TABLE_FLAG, _BUFFER_FULL_FLAG = 1 << 1, 1 << 4, 1 << 8


class Node(NamedTuple):
    """A block device by number."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}:{self.minor}"


class DeviceMapper:
    """A connection to the driver. Every method raises OSError with the kernel's errno."""

    def __init__(self) -> None:
        self._control = os.open("/dev/mapper/control", os.O_RDWR)

    def create(self, name: str, table: str) -> Node:
        """Makes a device, loads its table and starts it; takes it back if the table is refused."""
        _, node = self._call(_DEV_CREATE, name)
        try:
            self.load(name, table)
            self.resume(name)
        except OSError:
            with contextlib.suppress(OSError):
                self.remove(name)
            raise
        return node

    def load(self, name: str, table: str) -> None:
        """Loads a table of lines ``START LENGTH TYPE ARGUMENTS…`` for the next `resume`."""
        specs = [_spec(line) for line in table.splitlines() if line.strip()]
        self._call(_TABLE_LOAD, name, payload=b"".join(specs), targets=len(specs))

    def suspend(self, name: str) -> None:
        """Stops a device once its requests are done."""
        self._call(_DEV_SUSPEND, name, flags=_SUSPEND_FLAG)

    def resume(self, name: str) -> None:
        """Starts a device, with the table loaded since if there is one."""
        self._call(_DEV_SUSPEND, name)

    def remove(self, name: str) -> None:
        """Removes a device that nobody has open."""
        self._call(_DEV_REMOVE, name)

    def status(self, name: str, *, table: bool = False) -> str:
        """Returns the lines of ``dmsetup status``, or of ``dmsetup table``."""
        answer, _ = self._call(_TABLE_STATUS, name, flags=_TABLE_FLAG if table else 0)
        *_, data_start, targets = _HEADER.unpack_from(answer)[:6]
        lines, at = [], data_start
        for _ in range(targets):
            start, length, _, following, kind = _TARGET.unpack_from(answer, at)
            words = bytes(answer[at + _TARGET.size :]).split(b"\0", 1)[0]
            lines.append(b"%d %d %s %s" % (start, length, kind.rstrip(b"\0"), words))
            at = data_start + following
        return b"\n".join(lines).decode()

    def _call(
        self, command: int, name: str, *, flags: int = 0, payload: bytes = b"", targets: int = 0
    ) -> tuple[bytearray, Node]:
        size = _HEADER.size + max(len(payload), _BUFFER_BYTES)
        buffer = bytearray(size)
        header = _HEADER.pack(*_VERSION, size, _HEADER.size, targets, 0, flags, 0, 0, 0, name.encode(), b"")
        buffer[: len(header)] = header
        buffer[len(header) : len(header) + len(payload)] = payload
        fcntl.ioctl(self._control, 3 << 30 | _HEADER.size << 16 | 0xFD << 8 | command, buffer)
        flags, device = _HEADER.unpack_from(buffer)[7], _HEADER.unpack_from(buffer)[10]
        if flags & _BUFFER_FULL_FLAG:
            raise OSError(f"device-mapper has more to say of {name} than fits")
        return buffer, Node(os.major(device), os.minor(device))


def _spec(line: str) -> bytes:
    start, length, kind, *words = line.split()
    arguments = " ".join(words).encode() + b"\0"
    arguments += bytes(-len(arguments) % 8)
    following = _TARGET.size + len(arguments)
    return _TARGET.pack(int(start), int(length), 0, following, kind.encode()) + arguments
