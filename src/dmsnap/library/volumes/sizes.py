"""How large the store of a snapshot should be, by LVM2's rules."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.block.open import open_device
from dmsnap.library.source import Source
from dmsnap.library.volumes.opened import OpenVolumes
from dmsnap.lvm.sizing import BadSizing, cow_sizes, percent_of_origin_extents

__all__ = ["StoreSizes", "store_sizes"]

DEFAULT_EXTENT_BYTES = 4 << 20
"""What vgcreate takes unless told otherwise."""


@dataclass(frozen=True, slots=True)
class StoreSizes:
    """The sizes of COW volumes for one origin.

    Attributes:
        origin_bytes: Size of the origin.
        chunk_size_bytes: Of the store.
        extent_size_bytes: Of the volume group.
        minimum_chunks: LVM makes no smaller store.
        minimum_extents: The same, in whole extents.
        largest_chunks: What a store can make use of: one so large never runs full.
        largest_bytes: The same in bytes.
        largest_extents: The same in whole extents: LVM makes no larger store.
        percent: The share of the origin that was asked for, or None.
        percent_extents: What LVM makes of it, in extents, or None.
    """

    origin_bytes: int
    chunk_size_bytes: int
    extent_size_bytes: int
    minimum_chunks: int
    minimum_extents: int
    largest_chunks: int
    largest_bytes: int
    largest_extents: int
    percent: int | None
    percent_extents: int | None

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        return asdict(self)


def store_sizes(
    origin: int | Source,
    chunk_size_bytes: int = 4096,
    *,
    extent_size_bytes: int | None = None,
    percent: int | None = None,
    kernel_leaks: bool = False,
) -> StoreSizes:
    """Returns how large LVM would make the store of a snapshot.

    Args:
        origin: Its size in bytes; or what it is: a device, a path, or the address of a volume in images.
        chunk_size_bytes: Of the store.
        extent_size_bytes: Of the group; None for that of the origin's group, or else LVM's default of 4 MiB.
        percent: Say also what ``lvcreate --snapshot --extents <percent>%ORIGIN`` would make.
        kernel_leaks: Allow for kernels before Linux 3.14, which may lose a chunk in 64; LVM does that for them.

    Raises:
        DmsnapError: The origin cannot be opened.
        BadSizing: LVM takes no such sizes.
    """
    with ExitStack() as stack:
        size, extent = _measure(origin, stack)
    extent = extent_size_bytes or extent
    for name, value in (("origin", size), ("chunk", chunk_size_bytes), ("extent", extent)):
        if value % SECTOR_BYTES:
            raise BadSizing(f"{name} size of {value} bytes", hint=f"give whole sectors of {SECTOR_BYTES} bytes")
    sizes = cow_sizes(
        size // SECTOR_BYTES, chunk_size_bytes // SECTOR_BYTES, extent // SECTOR_BYTES, kernel_leaks=kernel_leaks
    )
    return StoreSizes(
        origin_bytes=size,
        chunk_size_bytes=chunk_size_bytes,
        extent_size_bytes=extent,
        minimum_chunks=sizes.minimum_chunks,
        minimum_extents=sizes.minimum_extents,
        largest_chunks=sizes.largest_chunks,
        largest_bytes=sizes.largest_chunks * chunk_size_bytes,
        largest_extents=sizes.largest_extents,
        percent=percent,
        percent_extents=None if percent is None else percent_of_origin_extents(percent, -(-size // extent), sizes),
    )


def _measure(origin: int | Source, stack: ExitStack) -> tuple[int, int]:
    """Returns the size of an origin, and of the extents in its group."""
    if isinstance(origin, int):
        return origin, DEFAULT_EXTENT_BYTES
    volume = OpenVolumes(stack).find(origin)
    if volume is not None:
        extent = volume.group.group.extent_size_sectors * SECTOR_BYTES
        return volume.logical.extent_count * extent, extent
    if isinstance(origin, BlockDevice):
        return origin.size_bytes, DEFAULT_EXTENT_BYTES
    device = stack.enter_context(open_device(origin if isinstance(origin, str) else Path(origin)))
    return device.size_bytes, DEFAULT_EXTENT_BYTES
