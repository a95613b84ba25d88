"""A snapshot opened by the paths of its parts: a block device that is also a file."""

from __future__ import annotations

from typing import Literal

from dmsnap.library.opening import Source
from dmsnap.target.snapshot import SnapshotDevice

__all__ = ["SnapshotFile", "open_snapshot"]


class SnapshotFile(SnapshotDevice):
    """A snapshot as a block device with a file's face (``seek``, ``tell``, ``read``, ``readinto``, ``close``)."""


def open_snapshot(
    cow: Source, origin: Source, mode: Literal["r"] = "r", *, prefetch: str | int = "auto"
) -> SnapshotFile:
    """Opens a snapshot for reading.

    Args:
        cow: The COW store.
        origin: The device that the snapshot was taken of.
        mode: Only ``"r"``.
        prefetch: How the store's areas are read: ``"auto"``, ``"kernel"`` (12 ahead) or a fixed depth.

    Returns:
        The snapshot, which owns what it opened.

    Raises:
        DmsnapError: A path cannot be opened, the store is none, or both are the same device.
    """
    raise NotImplementedError
