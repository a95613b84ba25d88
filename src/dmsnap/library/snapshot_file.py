"""A snapshot opened by its parts: a block device that is also a file."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Literal

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.file_face import FileFace
from dmsnap.library.opening import Source, open_origin_and_store
from dmsnap.store import Store
from dmsnap.target.snapshot import SnapshotDevice

__all__ = ["BadMode", "SnapshotFile", "open_snapshot"]


class BadMode(DmsnapError, ValueError):
    """A way to open a snapshot that does not exist."""


class SnapshotFile(FileFace, SnapshotDevice):
    """A snapshot as a block device with a file's face (``seek``, ``tell``, ``read``, ``readinto``, ``close``).

    Args:
        origin: What the snapshot was taken of.
        store: Its exceptions.
        owned: What is to be closed with the snapshot, which takes it over.
    """

    def __init__(self, origin: BlockDevice, store: Store, owned: ExitStack) -> None:
        super().__init__(origin, store, name=f"snapshot {store.device.name}")
        self._owned = owned.pop_all()

    def _close(self) -> None:
        super()._close()
        self._owned.close()


def open_snapshot(
    cow: Source, origin: Source, mode: Literal["r"] = "r", *, prefetch: str | int = "auto"
) -> SnapshotFile:
    """Opens a snapshot for reading; nothing is ever written.

    Args:
        cow: The COW store.
        origin: The device that the snapshot was taken of.
        mode: Only ``"r"``.
        prefetch: How the store's areas are read: ``"auto"``, ``"kernel"`` (12 ahead) or a fixed depth.

    Returns:
        The snapshot, which owns what it opened: close it, or use it in a ``with`` block.

    Raises:
        DmsnapError: A path cannot be opened, the store is none, or both are the same device.
    """
    if mode != "r":
        raise BadMode(f"no such mode: {mode!r}", hint="snapshots are opened with 'r', for reading")
    with ExitStack() as stack:
        below, store = open_origin_and_store(cow, origin, stack, prefetch=prefetch)
        return SnapshotFile(below, store, stack)
