"""``create``: a new, empty store."""

from __future__ import annotations

import os

__all__ = ["create"]


def create(path: str | os.PathLike[str], size_bytes: int, chunk_size_bytes: int = 16 * 1024) -> None:
    """Makes a new sparse file with an empty store, byte for byte what the kernel makes of a zeroed COW device.

    Args:
        path: The new file; it must not exist.
        size_bytes: The COW device's size: a multiple of 512, at least three chunks.
        chunk_size_bytes: A power of two from 512 bytes to 1 GiB. The default is the kernel's own.

    Raises:
        DmsnapError: The file exists, cannot be made, or a size is not allowed.
    """
    raise NotImplementedError
