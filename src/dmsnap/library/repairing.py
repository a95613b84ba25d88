"""``repair``: what can be saved of a damaged or invalid store, as a new one."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError
from dmsnap.library.creation import BadStoreSize
from dmsnap.library.opening import open_source, refuse_same
from dmsnap.library.output_file import check_output_file, whole_output
from dmsnap.library.source import Source
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.library.volumes.sources import described_sources
from dmsnap.store import open_store
from dmsnap.target.snapshot import SnapshotDevice
from dmsnap.transfer.raw import OutputInTheWay, export_raw
from dmsnap.transfer.whole_file import whole_file

if TYPE_CHECKING:
    from dmsnap.maintenance.repair_report import RepairReport
    from dmsnap.maintenance.repairing import Repair

__all__ = ["OriginNeeded", "repair"]


class OriginNeeded(DmsnapError, ValueError):
    """Content is asked for that only the origin has."""


def repair(
    cow: Source,
    out: str | os.PathLike[str],
    *,
    origin: Source | None = None,
    accept: Collection[str] = (),
    image: str | os.PathLike[str] | None = None,
    map_file: str | os.PathLike[str] | None = None,
    size_bytes: int = 0,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RepairReport:
    """Makes a new store of what can be saved of another, which is never written to.

    Args:
        cow: The COW store.
        out: The new file; it must not exist. Nothing is left of it unless it is whole.
        origin: What the snapshot was taken of.
        accept: Kinds of damage (the words of `check`) whose doubts are accepted, or ``all``.
        image: A new file for the content of the snapshot, as far as it can be had; needs the origin.
        map_file: A new file for a map of GNU ddrescue that tells what of that is certain (``+``), doubtful (``?``) or
            lost (``-``); needs the origin.
        size_bytes: How large the new store is to be at least: for one that ran full.
        prefetch: How the metadata is read; see `dmsnap.store.open_store`.
        trace: Records that; and how the new store is loaded, for ``image``.
        progress: Called as ``progress(done_bytes, total_bytes)``, for the records, the copies, and the image.

    Raises:
        NotAccepted: Something is doubtful and not accepted. Its ``report`` says what; nothing was written.
        CannotRepair: Nothing is left that a store could be made of.
        OriginNeeded: For ``image`` and ``map_file``.
        NotAStore, EmptyStore: Nothing looks like a store.
        DmsnapError: Something cannot be opened or read (so), or a file exists or cannot be written.
    """
    from dmsnap.maintenance.repairing import NotAccepted, Repair

    if size_bytes < 0 or size_bytes % SECTOR_BYTES:
        raise BadStoreSize(f"a store cannot be {size_bytes} bytes long", hint="use whole sectors of 512 bytes")
    inputs = [source for source in (cow, origin) if source is not None]
    with ExitStack() as stack:
        cow, origin = described_sources(cow, origin, OpenVolumes(stack))
        if origin is None and (image is not None or map_file is not None):
            raise OriginNeeded("the content of a snapshot takes its origin", hint="name that as well: --origin")
        below = None if origin is None else open_source(origin, stack)
        if below is not None:
            hint = "name the device that the snapshot was taken of as origin"
            refuse_same(cow, below, "COW device cannot be the same as origin device", hint, parts=False)
        plan = Repair(
            open_source(cow, stack),
            origin=below,
            accept=accept,
            prefetch=prefetch,
            least_bytes=size_bytes,
            new_load=None if trace is None else trace.new_load,
            progress=progress,
        )
        if plan.report.refused:
            raise NotAccepted(plan.report)
        files = [os.fspath(path) for path in (out, image, map_file) if path is not None]
        for number, path in enumerate(files):
            _refuse_existing(path, [*inputs, *files[:number]])
        with whole_file(os.fspath(out), plan.report.size_bytes) as device:
            report = plan.write(device, progress)
            if below is not None:
                if image is not None:
                    _write_image(below, device, image, prefetch, trace, progress)
                if map_file is not None:
                    _write_map(plan, below.size_bytes, map_file)
        return report


def _write_image(
    origin: BlockDevice,
    store: BlockDevice,
    image: str | os.PathLike[str],
    prefetch: str | int,
    trace: Trace | None,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Writes the content of the snapshot that the new store makes."""
    loaded = open_store(
        store,
        prefetch=prefetch,
        origin_block_size_bytes=origin.logical_block_size_bytes,
        trace=None if trace is None else trace.new_load(),
    )
    with SnapshotDevice(origin, loaded) as snapshot:
        export_raw(snapshot, image, progress=progress)


def _write_map(plan: Repair, size_bytes: int, map_file: str | os.PathLike[str]) -> None:
    """Writes what of that content is certain."""
    from dmsnap.maintenance.doubtful_ranges import judged_ranges, rescue_map

    with whole_output(os.fspath(map_file)) as file:
        for line in rescue_map(judged_ranges(plan, size_bytes)):
            file.write(line.encode("ascii"))


def _refuse_existing(path: str, beside: list[Source]) -> None:
    check_output_file(path, beside)
    if os.path.lexists(path):
        raise OutputInTheWay(f"{printable(path)}: exists", hint="name a new file, or remove this one first", path=path)
