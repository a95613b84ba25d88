"""A file's face for a block device: a position, and reads of any length from anywhere."""

from __future__ import annotations

import io
import os

from dmsnap.block.contract import BlockDevice, DeviceClosed

__all__ = ["FileFace"]


class FileFace(BlockDevice):
    """Mixed into a device, makes it a raw binary file for reading.

    It serves wherever a file is read (``io.BufferedReader``, ``tarfile``, a filesystem parser). The position belongs
    to one user at a time; the device's own methods do not move it and may be used by many threads.
    """

    _position = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """False: this face only reads."""
        return False

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

    def _still_open(self) -> None:
        if self.closed:
            raise DeviceClosed(f"{self.name}: is closed", device=self.name)
