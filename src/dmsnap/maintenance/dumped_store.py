"""What a dump says of the store as a whole, in any form, judged before anything is made of it."""

from __future__ import annotations

from dmsnap.errors import DmsnapError
from dmsnap.maintenance.events import Begin
from dmsnap.store.format import (
    MAGIC,
    SECTOR_BYTES,
    VERSION,
    BadChunkSize,
    Header,
    areas_on,
    check_chunk_size,
    exceptions_per_area,
)

__all__ = ["BadDump", "dumped_header", "most_exceptions"]


class BadDump(DmsnapError):
    """A dump that says what no store can be, or that is no dump."""


def dumped_header(version: int, valid: int, chunk_size_sectors: int, cow_sectors: int) -> Begin:
    """Returns what a dump begins with, judged.

    Raises:
        BadDump: No store can have this header, or this size.
    """
    if version != VERSION:
        raise BadDump(f"version {version}: stores have version {VERSION}")
    try:
        check_chunk_size(chunk_size_sectors)
    except BadChunkSize as error:
        raise BadDump(error.message) from error
    if cow_sectors < chunk_size_sectors:
        raise BadDump(f"a store of {cow_sectors} sectors has no room for its header")
    return Begin(Header(MAGIC, valid, version, chunk_size_sectors), cow_sectors * SECTOR_BYTES)


def most_exceptions(begin: Begin) -> int:
    """How many exceptions there can be in the areas of a store."""
    per_area = exceptions_per_area(begin.header.chunk_size_sectors)
    return areas_on(begin.cow_size_bytes // begin.chunk_bytes, per_area) * per_area
