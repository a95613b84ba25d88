"""Signs that an origin is not the one that a snapshot was taken of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from dmsnap.block.contract import BlockDevice
from dmsnap.block.file import FileDevice
from dmsnap.errors import DmsnapError
from dmsnap.store import Kind
from dmsnap.store.format import MAGIC

if TYPE_CHECKING:
    from dmsnap.store import Store
    from dmsnap.store.exception_store import ExceptionStore

__all__ = ["OriginIsStore", "OriginTooSmall", "Warn", "begins_as_store", "judge_origin", "too_small"]

Warn = Callable[[str], None]
"""Told what is doubtful and yet no error, one line each."""


class OriginTooSmall(DmsnapError):
    """The store has records for chunks that the origin does not have."""


class OriginIsStore(DmsnapError):
    """The origin begins as a COW store does."""


def begins_as_store(device: BlockDevice) -> bool:
    """Whether a device begins with ``SnAp``; one that cannot be read does not."""
    block = device.logical_block_size_bytes
    with contextlib.suppress(DmsnapError):
        return device.size_bytes >= block and device.read_at(0, block)[:4] == MAGIC.to_bytes(4, "little")
    return False


def judge_origin(
    origin: BlockDevice,
    store: Store | ExceptionStore,
    *,
    refuse: bool,
    warn: Warn | None = None,
    way_out: str = "--force (any_origin=True) exports what is there",
) -> None:
    """Looks at whether this can be the origin of this store.

    Args:
        origin: Of the snapshot.
        store: Loaded with this origin.
        refuse: Raise an error for a doubtful one; else ``warn`` gets its message.
        warn: Also told of a file's last bytes if they do not fill a sector, so that no device has them.
        way_out: What can be done if it is the right one after all.

    Raises:
        OriginTooSmall: Records lie outside the origin: it is another one, or the store is damaged.
        OriginIsStore: It begins as a store.
    """
    doubt = too_small(origin, store, way_out) or _is_store(origin, way_out)
    if doubt is not None and refuse:
        raise doubt
    if warn is None:
        return
    if doubt is not None:
        warn(doubt.message)
    left_out = origin.file_bytes - origin.size_bytes if isinstance(origin, FileDevice) else 0
    if left_out:
        warn(f"{origin.name}: its last {left_out} bytes do not fill a sector and are left out")


def too_small(origin: BlockDevice, store: Store | ExceptionStore, way_out: str) -> OriginTooSmall | None:
    """Returns the error of an origin that a store has records beyond the end of; None for any other."""
    beyond = sum(finding.count for finding in store.findings if finding.kind is Kind.OUTSIDE_ORIGIN)
    if not beyond:
        return None
    return OriginTooSmall(
        f"{origin.name}: too small for {store.device.name}: {beyond} of its records lie past the end",
        hint=f"is it the right origin? {way_out}",
        device=origin.name,
    )


def _is_store(origin: BlockDevice, way_out: str) -> OriginIsStore | None:
    if begins_as_store(origin):
        return OriginIsStore(
            f"{origin.name}: begins as a COW store does, not as an origin",
            hint=f"SNAP and ORIGIN swapped? {way_out}",
            device=origin.name,
        )
    return None
