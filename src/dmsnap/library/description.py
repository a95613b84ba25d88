"""What a store says about itself: ``info``, ``status`` and ``table``."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.opening import open_origin_and_store, open_store_of
from dmsnap.library.origin_doubts import Warn, judge_origin
from dmsnap.library.source import Source, path_of
from dmsnap.library.tracing.trace import Trace
from dmsnap.library.volumes.activation import volume_activation
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.library.volumes.sources import described_sources
from dmsnap.maintenance.rechunking import WhatIf, at_chunk_sizes
from dmsnap.store import Finding
from dmsnap.target.status import status_words, store_status
from dmsnap.target.table import Activation, activation

__all__ = ["NotInTheKernel", "StoreInfo", "info", "status", "table"]


class NotInTheKernel(DmsnapError):
    """A device that no kernel can open, since it has no path."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What is known of a store.

    Attributes:
        name: What the store's device is called.
        valid: Whether the header says so; an invalid store has lost its snapshot and its exceptions are not read.
        version: The format's version; 1.
        chunk_size_bytes: The chunk size.
        exceptions: Chunks that differ from the origin.
        runs: How many stretches of consecutive chunks they form.
        areas: Metadata areas in use.
        allocated_sectors: The kernel's first status number: everything up to the next free chunk.
        total_sectors: The kernel's second: the COW device's size.
        metadata_sectors: The kernel's third: header and areas.
        next_free_chunk: The chunk that the next exception would take.
        usage_percent: How full the store is, by LVM's rules; 100 for an invalid one.
        status: The kernel's status words.
        changed_bytes: Bytes of the origin that differ (`exceptions` in bytes, not clipped to the origin's end).
        physical_bytes: What a COW file really takes on its disk; None for anything but a file.
        findings: What opening it tells of odd records, the worst first; `check` finds more.
        what_if: What it would be with chunks of other sizes, ascending, if that was asked for and the store is valid.
    """

    name: str
    valid: bool
    version: int
    chunk_size_bytes: int
    exceptions: int
    runs: int
    areas: int
    allocated_sectors: int
    total_sectors: int
    metadata_sectors: int
    next_free_chunk: int
    usage_percent: float
    status: str
    changed_bytes: int
    physical_bytes: int | None
    findings: tuple[Finding, ...]
    what_if: tuple[WhatIf, ...] | None = None

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        sizes = None if self.what_if is None else [each._asdict() for each in self.what_if]
        return asdict(self) | {"findings": [asdict(finding) for finding in self.findings], "what_if": sizes}


def info(
    cow: Source,
    *,
    origin: Source | None = None,
    what_if: bool = False,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
) -> StoreInfo:
    """Describes a store. With an origin, records outside it become findings. Raises as `open_snapshot`.

    With ``what_if`` also how large it would be with chunks of other sizes, which its table tells without any data.
    """
    with ExitStack() as stack:
        cow, origin = described_sources(cow, origin, OpenVolumes(stack))
        if origin is None:
            below, store = None, open_store_of(cow, stack, prefetch=prefetch, trace=trace)
        else:
            below, store = open_origin_and_store(cow, origin, stack, prefetch=prefetch, trace=trace)
        sizes = at_chunk_sizes(store, None if below is None else below.size_bytes) if what_if and store.valid else None
        words = store_status(store)
        return StoreInfo(
            name=store.device.name,
            valid=store.valid,
            version=store.header.version,
            chunk_size_bytes=store.chunk_size_bytes,
            exceptions=len(store.table),
            runs=store.table.run_count,
            areas=store.areas,
            allocated_sectors=store.allocated_sectors,
            total_sectors=store.total_sectors,
            metadata_sectors=store.metadata_sectors,
            next_free_chunk=store.next_free,
            usage_percent=words.usage_percent,
            status=str(words),
            changed_bytes=len(store.table) * store.chunk_size_bytes,
            physical_bytes=_physical_bytes(store.device),
            findings=store.findings,
            what_if=sizes,
        )


def status(cow: Source, *, prefetch: str | int = "auto", trace: Trace | None = None) -> str:
    """Returns the kernel's status words, ``9472/32768 48`` or ``Invalid``. Raises as `open_snapshot`."""
    with ExitStack() as stack:
        return status_words(open_store_of(cow, stack, prefetch=prefetch, trace=trace))


def table(
    cow: Source,
    origin: Source | None = None,
    *,
    name: str | None = None,
    prefetch: str | int = "auto",
    trace: Trace | None = None,
    warn: Warn | None = None,
) -> Activation:
    """Returns the table line and the commands that activate the snapshot in a kernel, as device ``name``.

    Of a logical volume these are the devices and tables that LVM itself would make, by its names.

    ``str(activation)`` is the commands as text for a shell, with absolute paths. The store is loaded first: for one
    that a kernel would refuse there are no commands but the error. ``warn`` is called with a line if the origin does
    not look like the right one.

    Raises:
        DmsnapError: As `open_snapshot`; a device without a path; a name that device-mapper does not take.
    """
    with ExitStack() as stack:
        volume = OpenVolumes(stack).find(cow)
        if volume is not None and origin is None and name is None:
            return volume_activation(volume)
        below, store = open_origin_and_store(cow, origin, stack, prefetch=prefetch, trace=trace)
        judge_origin(below, store, refuse=False, warn=warn)
        paths = [_kernel_path(below), _kernel_path(store.device)]
        return activation(
            below.size_bytes // SECTOR_BYTES,
            paths[0],
            paths[1],
            store.chunk_size_sectors,
            name=name or "snap",
            origin_is_file=_is_file(paths[0]),
            cow_is_file=_is_file(paths[1]),
        )


def _kernel_path(device: BlockDevice) -> str:
    path = path_of(device)
    if path is None:
        raise NotInTheKernel(f"{device.name}: has no path that a kernel could open", device=device.name)
    return os.path.abspath(path)


def _is_file(path: str) -> bool:
    return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - twin of the one below


def _physical_bytes(device: BlockDevice) -> int | None:
    path = path_of(device)
    if path is None:
        return None
    found = os.stat(path)  # noqa: PTH116
    return found.st_blocks * SECTOR_BYTES if stat.S_ISREG(found.st_mode) else None
