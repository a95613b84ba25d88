"""Loading a store as scripts do it: a loop that reads one record of 16 bytes, looks at it, and reads the next."""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from dmsnap.block.contract import BlockDevice

_RECORD = struct.Struct("<QQ")
_CHUNK_BYTES = 4096
BUFFER_BYTES = 8192
"""What Ruby, in which lvmsync is written, reads at once for a file that is read in small pieces."""


def exceptions_of(file: BinaryIO, most: int | None = None) -> dict[int, int]:
    """Reads the records of a valid store of 4 KiB chunks, up to the end marker or ``most`` of them.

    Returns:
        COW chunk by origin chunk.
    """
    per_area = _CHUNK_BYTES // _RECORD.size
    found: dict[int, int] = {}
    read, unpack = file.read, _RECORD.unpack
    file.seek(_CHUNK_BYTES)
    while most is None or len(found) < most:
        for _ in range(per_area):
            origin, cow = unpack(read(16))
            if not cow:
                return found
            found[origin] = cow
        file.seek(per_area * _CHUNK_BYTES, io.SEEK_CUR)
    return found


class DeviceFile(io.RawIOBase):
    """A block device as the raw file below a buffer. It is read at whole blocks, as the loop above leads to."""

    def __init__(self, device: BlockDevice) -> None:
        self._device = device
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (self._at if whence == io.SEEK_CUR else 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._device.size_bytes - self._at)
        self._device.read_into(self._at, memoryview(buffer)[:size])
        self._at += size
        return size


def buffered(device: BlockDevice) -> BinaryIO:
    """The device as a file with a buffer of `BUFFER_BYTES`."""
    return io.BufferedReader(DeviceFile(device), BUFFER_BYTES)
