"""``check``: everything that is wrong or odd with a store."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dmsnap.block.contract import BlockDevice
from dmsnap.block.open import open_device
from dmsnap.library.opening import refuse_same
from dmsnap.library.source import Source

if TYPE_CHECKING:
    from dmsnap.maintenance.checking import CheckReport

__all__ = ["check"]


def check(cow: Source, *, origin: Source | None = None, prefetch: str | int = "auto") -> CheckReport:
    """Checks a store, to look only; what is wrong with it comes back as findings.

    Args:
        cow: The COW store.
        origin: What the snapshot was taken of; with it, records that it does not have are found.
        prefetch: How the metadata is read; see `dmsnap.store.open_store`.

    Raises:
        NotAStore, EmptyStore: Nothing looks like a store.
        SameDevice: Both are the same medium.
        DmsnapError: A path cannot be opened (so), or the header of the store cannot be read.
    """
    from dmsnap.maintenance.checking import check_store

    with ExitStack() as stack:
        below = None if origin is None else _open(origin, stack)
        if below is not None:
            hint = "name the device that the snapshot was taken of as origin"
            refuse_same(cow, below, "COW device cannot be the same as origin device", hint, parts=False)
        return check_store(_open(cow, stack), origin=below, prefetch=prefetch)


def _open(source: Source, stack: ExitStack) -> BlockDevice:
    if isinstance(source, BlockDevice):
        return source
    return stack.enter_context(open_device(source if isinstance(source, str) else Path(source)))
