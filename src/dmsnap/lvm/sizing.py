"""How large a COW volume should be, and can usefully be, by LVM2's rules.

A COW volume of the largest useful size holds a copy of every chunk of the origin; larger ones LVM makes that size. It
has a header, the copies, and metadata areas of 32 records for each sector of a chunk, one of which ends the list.
Source: LVM2 2.03 as it behaves; its test suite has the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

from dmsnap.errors import DmsnapError

__all__ = [
    "LARGEST_CHUNK_SECTORS",
    "MINIMUM_CHUNKS",
    "MOST_EXTENTS",
    "SMALLEST_CHUNK_SECTORS",
    "BadSizing",
    "CowSizes",
    "cow_sizes",
    "largest_cow_chunks",
    "percent_of_origin_extents",
]

MINIMUM_CHUNKS = 3
"""A header, a metadata area and one copy: LVM makes no smaller COW volume."""

SMALLEST_CHUNK_SECTORS = 8
"""4 KiB, and what LVM takes unless told otherwise."""

LARGEST_CHUNK_SECTORS = 1024
"""512 KiB."""

MOST_EXTENTS = (1 << 32) - 1
"""No logical volume has more."""

_RECORDS_PER_SECTOR = 32
_CHUNKS_PER_LEAK = 64


class BadSizing(DmsnapError, ValueError):
    """Sizes that LVM takes no snapshot of."""


@dataclass(frozen=True, slots=True)
class CowSizes:
    """The sizes of COW volumes for one origin.

    Attributes:
        chunk_size_sectors: Of the store.
        extent_size_sectors: Of the group.
        minimum_chunks: What LVM asks for at least.
        minimum_extents: The same, in whole extents.
        largest_chunks: What is of use at most.
        largest_extents: The same in whole extents: where LVM ends a request for more.
    """

    chunk_size_sectors: int
    extent_size_sectors: int
    minimum_chunks: int
    minimum_extents: int
    largest_chunks: int
    largest_extents: int


def largest_cow_chunks(origin_sectors: int, chunk_size_sectors: int, *, kernel_leaks: bool = False) -> int:
    """Returns how many chunks a COW volume can make use of.

    Args:
        origin_sectors: Size of the origin, in sectors of 512 bytes.
        chunk_size_sectors: Of the store.
        kernel_leaks: Allow for a chunk in 64 that is lost, as kernels with a snapshot target before 1.12 may (Linux
            before 3.14, but for fixed older ones); LVM does so also when it cannot ask the kernel.

    Raises:
        BadSizing: The origin has no sectors, or the chunk size is not one of LVM's.
    """
    if origin_sectors < 1:
        raise BadSizing(
            f"an origin of {origin_sectors} sectors has nothing to take a snapshot of", hint="give its size"
        )
    _check_chunk_size(chunk_size_sectors)
    copies = -(-origin_sectors // chunk_size_sectors)
    areas = copies // (chunk_size_sectors * _RECORDS_PER_SECTOR) + 1
    chunks = 1 + areas + copies
    return chunks + -(-chunks // _CHUNKS_PER_LEAK) if kernel_leaks else chunks


def cow_sizes(
    origin_sectors: int, chunk_size_sectors: int, extent_size_sectors: int, *, kernel_leaks: bool = False
) -> CowSizes:
    """Returns the least and the largest size that LVM gives the COW volume of an origin.

    Args:
        origin_sectors: Size of the origin, in sectors of 512 bytes.
        chunk_size_sectors: Of the store.
        extent_size_sectors: Of the group; 1 to see sizes that are not rounded.
        kernel_leaks: As `largest_cow_chunks`.

    Raises:
        BadSizing: As `largest_cow_chunks`, or extents of no sectors.
    """
    if extent_size_sectors < 1:
        raise BadSizing(f"extents of {extent_size_sectors} sectors", hint="give the group's extent size")
    largest = largest_cow_chunks(origin_sectors, chunk_size_sectors, kernel_leaks=kernel_leaks)

    def extents(chunks: int) -> int:
        return min(-(-chunks * chunk_size_sectors // extent_size_sectors), MOST_EXTENTS)

    return CowSizes(
        chunk_size_sectors, extent_size_sectors, MINIMUM_CHUNKS, extents(MINIMUM_CHUNKS), largest, extents(largest)
    )


def percent_of_origin_extents(percent: int, origin_extents: int, sizes: CowSizes) -> int:
    """Returns what LVM makes of ``lvcreate --snapshot --extents <percent>%ORIGIN``, in extents.

    To the share of the origin, rounded up, it adds all of what a store that holds the whole origin has besides the
    copies; then no more than the largest useful size.

    Args:
        percent: Of the origin.
        origin_extents: Size of the origin.
        sizes: What `cow_sizes` says of it.
    """
    share = -(-percent * origin_extents // 100)
    return min(share + sizes.largest_extents - origin_extents, sizes.largest_extents)


def _check_chunk_size(chunk_size_sectors: int) -> None:
    in_range = SMALLEST_CHUNK_SECTORS <= chunk_size_sectors <= LARGEST_CHUNK_SECTORS
    if not in_range or chunk_size_sectors & (chunk_size_sectors - 1):
        raise BadSizing(
            f"LVM takes no chunks of {chunk_size_sectors * 512} bytes",
            hint="use a power of two from 4K to 512K",
            chunk_size_sectors=chunk_size_sectors,
        )
