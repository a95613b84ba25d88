"""``create``: a new, empty store."""

from __future__ import annotations

import os

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.block.file import FileDevice
from dmsnap.errors import DmsnapError
from dmsnap.store import BadChunkSize, create_store
from dmsnap.store.format import DEFAULT_CHUNK_SECTORS

__all__ = ["BadStoreSize", "CannotCreate", "create"]


class CannotCreate(DmsnapError, OSError):
    """The new file cannot be made, or exists already."""


class BadStoreSize(DmsnapError, ValueError):
    """A size that no device has."""


def create(
    path: str | os.PathLike[str], size_bytes: int, chunk_size_bytes: int = DEFAULT_CHUNK_SECTORS * SECTOR_BYTES
) -> None:
    """Makes a new sparse file with an empty store, byte for byte what the kernel makes of a zeroed COW device.

    Args:
        path: The new file; it must not exist.
        size_bytes: The COW device's size: a multiple of 512, at least three chunks.
        chunk_size_bytes: A power of two from 512 bytes to 1 GiB. The default, 16 KiB, is the kernel's own; LVM uses
            4 KiB.

    Raises:
        DmsnapError: The file exists, cannot be made, or a size is not allowed; then nothing is left behind.
    """
    name = os.fspath(path)
    if size_bytes <= 0 or size_bytes % SECTOR_BYTES:
        raise BadStoreSize(f"{name}: cannot be {size_bytes} bytes long", hint="use whole sectors of 512 bytes")
    if chunk_size_bytes <= 0 or chunk_size_bytes % SECTOR_BYTES:
        raise BadChunkSize(
            f"invalid chunk size of {chunk_size_bytes} bytes: not in whole sectors",
            hint="chunk sizes are powers of two from 512 bytes to 1 GiB",
        )
    try:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    except FileExistsError as error:
        raise CannotCreate(f"{name}: exists", hint="name a new file, or remove this one first", path=name) from error
    except (OSError, ValueError) as error:
        raise _cannot_create(name, error) from error
    try:
        try:
            os.ftruncate(fd, size_bytes)
        finally:
            os.close(fd)
        with FileDevice(name, writable=True) as device:
            create_store(device, chunk_size_bytes // SECTOR_BYTES)
    except BaseException as error:
        os.unlink(name)  # noqa: PTH108 - twin of the open above
        if isinstance(error, OSError | OverflowError) and not isinstance(error, DmsnapError):
            raise _cannot_create(name, error) from error
        raise


def _cannot_create(name: str, error: Exception) -> CannotCreate:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CannotCreate(f"{name}: cannot be made: {words.lower()}", path=name)
