"""A file's face for a block device: a position, and reads and writes of any length anywhere."""

from __future__ import annotations

import io
import os
import threading
from typing import Self

from dmsnap.block.contract import BadRequest, BlockDevice, DeviceClosed

__all__ = ["FileFace"]

_ASSEMBLED_BYTES = 1 << 20
"""A write that cuts logical blocks is put together with the rest of them in memory, up to this size."""


class FileFace(BlockDevice):
    """Mixed into a device, makes it a raw binary file: for reading, and where the device is writable for both.

    It serves wherever a file does (``io.BufferedReader``, ``io.BufferedRandom``, ``tarfile``, a filesystem parser); its
    size is fixed. The position belongs to one user at a time; the device's own methods do not move it and may be used
    by many threads.

    A write that cuts a logical block reads it, changes it and writes it back. No other `write` of any thread comes in
    between, but the device's own methods may: who changes parts of one block at the same time does so by `write` alone.
    """

    _position = 0
    _writing: threading.Lock

    def __new__(cls, *_: object, **__: object) -> Self:
        """Makes the lock here, so that the mixin has no part in a device's arguments."""
        face = super().__new__(cls)
        face._writing = threading.Lock()
        return face

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """Whether the device can be written to."""
        return not self.read_only

    def isatty(self) -> bool:
        """False."""
        return False

    def tell(self) -> int:
        """Returns the position, in bytes."""
        self._still_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position, which may lie past the end, and returns it.

        Raises:
            ValueError: It would be negative, or ``whence`` is unknown.
        """
        self._still_open()
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(f"unknown whence {whence}")
        start = (0, self._position, self.size_bytes)[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fills ``buffer`` from the position; returns how many bytes, fewer only at the end of the device."""
        self._still_open()
        view = memoryview(buffer).cast("B")
        view = view[: max(0, self.size_bytes - self._position)]
        if view:
            self._read_unaligned(self._position, view)
        self._position += len(view)
        return len(view)

    def read(self, size: int | None = -1) -> bytes:
        """Reads up to ``size`` bytes from the position; without a size all that is left. Empty at the end."""
        self._still_open()
        left = max(0, self.size_bytes - self._position)
        data = bytearray(left if size is None or size < 0 else min(size, left))
        self.readinto(data)
        return bytes(data)

    def readall(self) -> bytes:
        """Reads all that is left."""
        return self.read()

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Writes all of ``data`` at the position, whatever its length, and returns its length in bytes.

        As `BlockDevice.write_at` it is durable only after `flush`.

        Raises:
            BadRequest: It would reach past the end; then nothing was written.
            DeviceClosed, ReadOnlyDevice, IOFailed: As their names say; where the medium failed, any part of the write
                may have been made, and the position stays.
        """
        self._still_open()
        self._check_write(0, 0)
        view = memoryview(data).cast("B")
        if not view:
            return 0
        with self._writing:
            self._refuse_past_end(len(view))
            self._write_unaligned(self._position, view)
            self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:  # noqa: ARG002 - as files have it
        """A device keeps its size.

        Raises:
            io.UnsupportedOperation: Always.
        """
        raise io.UnsupportedOperation(f"{self.name}: a device keeps its size")

    def fileno(self) -> int:
        """There is none.

        Raises:
            io.UnsupportedOperation: Always.
        """
        raise io.UnsupportedOperation("a snapshot has no file descriptor of its own")

    def _read_unaligned(self, offset: int, view: memoryview) -> None:
        """Reads whole logical blocks straight into ``view``, those cut by its ends by way of a copy."""
        block = self.logical_block_size_bytes
        end = offset + len(view)
        first, last = -(-offset // block) * block, end // block * block
        if first > last:  # inside one block
            cut = offset % block
            view[:] = self.read_at(offset - cut, block)[cut : cut + len(view)]
            return
        if offset < first:
            view[: first - offset] = self.read_at(first - block, block)[block - (first - offset) :]
        if last < end:
            view[last - offset :] = self.read_at(last, block)[: end - last]
        self.read_into(first, view[first - offset : last - offset])

    def _refuse_past_end(self, length: int) -> None:
        if self._position + length > self.size_bytes:
            raise BadRequest(
                f"{self.name}: {length} bytes at byte {self._position} reach past the end",
                hint=f"its size is fixed: {self.size_bytes} bytes",
                device=self.name,
                offset_bytes=self._position,
                length_bytes=length,
            )

    def _write_unaligned(self, offset: int, view: memoryview) -> None:
        """Writes whole logical blocks as they are, those cut by the ends of ``view`` with what is around it."""
        block = self.logical_block_size_bytes
        end = offset + len(view)
        first, last = -(-offset // block) * block, end // block * block
        if offset == first and end == last:
            self.write_at(offset, view)
        elif last - first > _ASSEMBLED_BYTES:
            self.write_at(first, view[first - offset : last - offset])
            if offset < first:
                self._write_unaligned(offset, view[: first - offset])
            if last < end:
                self._write_unaligned(last, view[last - offset :])
        else:
            start, stop = offset // block * block, -(-end // block) * block
            whole = memoryview(bytearray(stop - start))
            if start < offset:
                self.read_into(start, whole[:block])
            if last < end and (last > start or start == offset):
                self.read_into(last, whole[-block:])
            whole[offset - start : end - start] = view
            self.write_at(start, whole)

    def _still_open(self) -> None:
        if self.closed:
            raise DeviceClosed(f"{self.name}: is closed", device=self.name)
