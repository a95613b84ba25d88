"""A snapshot opened by its parts: a block device that is also a file."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Literal, overload

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.file_face import FileFace
from dmsnap.library.opening import open_origin_and_store
from dmsnap.library.origin_doubts import too_small
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.store import Store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.exceptions import SyncMode
from dmsnap.target.snapshot import SnapshotDevice, refuse_invalid
from dmsnap.target.writable_snapshot import WritableSnapshot

__all__ = ["BadMode", "SnapshotFile", "WhenFull", "WritableSnapshotFile", "open_snapshot", "store_to_write"]


WhenFull = Literal["overflow", "invalidate", "enospc"]
"""What a write does that the store has no room for; see `open_snapshot`."""


class BadMode(DmsnapError, ValueError):
    """A way to open a snapshot that does not exist."""


class SnapshotFile(FileFace, SnapshotDevice):
    """A snapshot as a block device with a file's face (``seek``, ``tell``, ``read``, ``readinto``, ``close``).

    Args:
        origin: What the snapshot was taken of.
        store: Its exceptions.
        owned: What is to be closed with the snapshot, which takes it over.
        size_bytes: Of the snapshot; by default the origin's.
    """

    def __init__(self, origin: BlockDevice, store: Store, owned: ExitStack, size_bytes: int | None = None) -> None:
        super().__init__(origin, store, size_bytes=size_bytes, name=f"snapshot {store.device.name}")
        self._owned = owned.pop_all()

    def _close(self) -> None:
        super()._close()
        self._owned.close()


class WritableSnapshotFile(FileFace, WritableSnapshot):
    """A snapshot that can be written to, as a block device with a file's face (``write`` and ``flush`` too).

    It behaves as a disk with a write cache: what was flushed, or written before `close`, survives any crash, and no
    crash shows bytes that nobody wrote. Any number of threads may use it.

    Args:
        origin: What the snapshot was taken of; only read.
        store: Its exceptions.
        owned: What is to be closed with the snapshot, which takes it over.
        size_bytes: Of the snapshot; by default the origin's.
        sync: When writes become durable.
        refuse_when_full: Refuse what the store has no room for, and go on.
    """

    def __init__(
        self,
        origin: BlockDevice,
        store: PersistentStore,
        owned: ExitStack,
        sync: SyncMode,
        *,
        size_bytes: int | None = None,
        refuse_when_full: bool = False,
    ) -> None:
        name = f"snapshot {store.device.name}"
        super().__init__(origin, store, size_bytes=size_bytes, name=name, sync=sync, refuse_when_full=refuse_when_full)
        self._owned = owned.pop_all()

    def _close(self) -> None:
        try:
            if self.exceptions.valid:
                self._flush()
        finally:
            with self._owned:
                super()._close()


@overload
def open_snapshot(
    cow: Source,
    origin: Source | None = None,
    mode: Literal["r"] = "r",
    *,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    size_bytes: int | None = None,
) -> SnapshotFile: ...


@overload
def open_snapshot(
    cow: Source,
    origin: Source | None,
    mode: Literal["r+"],
    *,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    sync: SyncMode = "flush",
    full: WhenFull = "overflow",
    spare_last_slot: bool = False,
    size_bytes: int | None = None,
) -> WritableSnapshotFile: ...


def open_snapshot(
    cow: Source,
    origin: Source | None = None,
    mode: Literal["r", "r+"] = "r",
    *,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    sync: SyncMode = "flush",
    full: WhenFull = "overflow",
    spare_last_slot: bool = False,
    size_bytes: int | None = None,
) -> SnapshotFile | WritableSnapshotFile:
    """Opens a snapshot, for reading (then nothing is ever written) or for writing too.

    Writes go to the COW store and leave the origin as it is. While a snapshot is open for writing, no other dmsnap, nor
    QEMU, can write to its store; closing it makes everything durable, also where a ``with`` block ends by an exception.
    The store keeps no size: unless it is told otherwise, a snapshot is as long as its origin is now, and where that has
    grown since, the new part is seen as it is. Of a snapshot in LVM2 its group knows the size.

    Args:
        cow: The COW store, or the snapshot's address in images with LVM2 volumes, ``lvm:VG/LV@IMAGE[,IMAGE…]``.
        origin: The device that the snapshot was taken of; a snapshot in LVM2 knows its own. It must not change as long
            as the snapshot is wanted: who writes to it first copies out what is there, which a kernel or an
            `OriginDevice` does.
        mode: ``"r"``, or ``"r+"`` to write.
        prefetch: How the store's areas are read: ``"auto"``, ``"kernel"`` (12 ahead) or a fixed depth.
        trace: Records the loading of the store: what was read ahead, hit and waited for when.
        sync: ``"flush"``: durable by `flush` and `close`. ``"commit"``: a chunk that is written for the first time is
            durable when the write returns, as in the kernel; slower.
        full: What a write does that the store has no room for. ``"overflow"``: it fails, as all later ones, and what is
            there can be read (the kernel's type ``PO``, which LVM uses too). ``"invalidate"``: the snapshot is lost
            (``P``). ``"enospc"``: it alone fails (`OutOfRoom`), and writing goes on once the store is larger; the last
            slot is spared, too.
        spare_last_slot: Say that the store is full one chunk earlier where Linux would invalidate the snapshot instead,
            as the next metadata area would lie past the end (with 4 KiB chunks: on a COW device of 256 MiB).
        size_bytes: Of the snapshot: its origin's when it was taken.

    Returns:
        The snapshot, which owns what it opened: close it, or use it in a ``with`` block.

    Raises:
        DmsnapError: A path cannot be opened, the store is none, or both are the same device. For writing also: the
            store is in use (`InUse`), read-only, new and empty, damaged or invalid, or the origin cannot be the right
            one, as it is too small.
    """
    if mode not in ("r", "r+"):
        raise BadMode(f"no such mode: {mode!r}", hint="'r' is for reading, 'r+' for writing too")
    if sync not in ("flush", "commit"):
        raise BadMode(f"no such way to be durable: sync={sync!r}", hint="it is 'flush' or 'commit'")
    with ExitStack() as stack:
        below, store = open_origin_and_store(cow, origin, stack, prefetch=prefetch, trace=trace, write_cow=mode == "r+")
        if mode == "r":
            return SnapshotFile(below, store, stack, size_bytes)
        refuse_invalid(store)
        if (doubt := too_small(below, store, "what there is can be read with mode 'r'")) is not None:
            raise doubt
        writable = store_to_write(store, full, spare_last_slot=spare_last_slot)
        try:
            return WritableSnapshotFile(
                below, writable, stack, sync, size_bytes=size_bytes, refuse_when_full=full == "enospc"
            )
        except BaseException:
            writable.close()
            raise


def store_to_write(store: Store, full: WhenFull, *, spare_last_slot: bool = False) -> PersistentStore:
    """Returns a loaded store as one to write to; see `open_snapshot`."""
    if full not in ("overflow", "invalidate", "enospc"):
        raise BadMode(f"no such way to be full: {full!r}", hint="it is 'overflow', 'invalidate' or 'enospc'")
    return PersistentStore(store, overflow=full != "invalidate", spare_last_slot=spare_last_slot or full == "enospc")
