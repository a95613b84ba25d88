"""From the arguments of a snapshot to its store: loaded, or written anew where there is none."""

from __future__ import annotations

import errno

from dmsnap.block.contract import SECTOR_BYTES, IOFailed
from dmsnap.errors import DmsnapError
from dmsnap.store import EmptyStore, NotAStore, Store, TruncatedStore, open_store
from dmsnap.store.exception_store import ExceptionStore
from dmsnap.store.format import DEFAULT_CHUNK_SECTORS
from dmsnap.store.persistent import write_empty_store
from dmsnap.store.transient import TransientStore
from dmsnap.store.writable import PersistentStore
from dmsnap.target.stack.refusals import TargetRefused
from dmsnap.target.stack.snapshot_arguments import SnapshotArguments

__all__ = ["load_store"]

_UNREADABLE = "Failed to read snapshot metadata"


def load_store(arguments: SnapshotArguments, prefetch: str | int) -> ExceptionStore:
    """Loads the store of a snapshot, and writes a new one to a COW device that begins with zeros.

    Raises:
        TargetRefused: With the kernel's words.
    """
    if arguments.kind == "N":
        if not arguments.chunk_sectors:
            raise TargetRefused("Chunk size not set", hint="a transient store has no default")
        return TransientStore(arguments.cow, arguments.chunk_sectors)
    try:
        return PersistentStore(_load_or_create(arguments, prefetch), overflow=arguments.kind == "PO")
    except DmsnapError as error:
        raise TargetRefused(_UNREADABLE, _errno(error), reason=error.message, hint=error.hint) from error


def _load_or_create(arguments: SnapshotArguments, prefetch: str | int) -> Store:
    origin, cow = arguments.origin, arguments.cow
    blocks = max(cow.logical_block_size_bytes, origin.logical_block_size_bytes) // SECTOR_BYTES
    chunk = arguments.chunk_sectors or max(DEFAULT_CHUNK_SECTORS, blocks)
    if cow.size_bytes < chunk * SECTOR_BYTES:  # the kernel reads that much, though the header may say less
        raise TruncatedStore(f"{cow.name}: {cow.size_bytes} bytes are less than one chunk of {chunk * SECTOR_BYTES}")

    def load() -> Store:
        return open_store(
            cow,
            prefetch=prefetch,
            origin_size_bytes=origin.size_bytes,
            origin_block_size_bytes=origin.logical_block_size_bytes,
        )

    try:
        return load()
    except EmptyStore:
        write_empty_store(cow, chunk)
        return load()


def _errno(error: DmsnapError) -> int:
    if isinstance(error, IOFailed | TruncatedStore):
        return error.errno or errno.EIO if isinstance(error, OSError) else errno.EIO
    return errno.ENXIO if isinstance(error, NotAStore) else errno.EINVAL
