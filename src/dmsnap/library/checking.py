"""``check``: everything that is wrong or odd with a store."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dmsnap.library.opening import open_source, refuse_same
from dmsnap.library.source import Source
from dmsnap.library.volumes.address import is_lvm_address

if TYPE_CHECKING:
    from dmsnap.library.tracing.trace import Trace
    from dmsnap.maintenance.checking import CheckReport
    from dmsnap.transfer.copying import Progress

__all__ = ["check"]


def check(
    cow: Source,
    *,
    origin: Source | None = None,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Checks a store, to look only; what is wrong with it comes back as findings.

    Args:
        cow: The COW store.
        origin: What the snapshot was taken of; with it, records that it does not have are found.
        prefetch: How the metadata is read; see `dmsnap.store.open_store`.
        trace: Records that.
        progress: Called now and then with how far through the store's device that has come, and its size, in bytes; the
            end of the records comes at once, where there is room behind.

    Raises:
        NotAStore, EmptyStore: Nothing looks like a store.
        SameDevice: Both are the same medium.
        DmsnapError: A path cannot be opened (so), or the header of the store cannot be read.
    """
    from dmsnap.maintenance.checking import check_store

    with ExitStack() as stack:
        if is_lvm_address(cow) or is_lvm_address(origin):
            from dmsnap.library.volumes.opened import OpenVolumes
            from dmsnap.library.volumes.sources import described_sources

            cow, origin = described_sources(cow, origin, OpenVolumes(stack))
        below = None if origin is None else open_source(origin, stack)
        if below is not None:
            hint = "name the device that the snapshot was taken of as origin"
            refuse_same(cow, below, "COW device cannot be the same as origin device", hint, parts=False)
        new_load = None if trace is None else trace.new_load
        device = open_source(cow, stack)
        return check_store(device, origin=below, prefetch=prefetch, new_load=new_load, progress=progress)
