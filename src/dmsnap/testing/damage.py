"""Damaged stores, by name: what hostile or unlucky bytes look like, and what has to come of them.

Each is written to a file or `io.BytesIO`; most are a few kilobytes, and those marked huge are sparse. The sound store
that most begin as has chunks of 512 bytes, so that 32 records already fill an area.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np

from dmsnap.testing.store_builder import Records, build_store, fill_chunk, in_allocation_order

__all__ = ["DAMAGES", "ORIGIN_BYTES", "Damage", "sound_store"]

CHUNK_BYTES = 512
PER_AREA = 32
ORIGIN_BYTES = 256 * CHUNK_BYTES
"""Size of the origin that the stores here are of."""


class Damage(NamedTuple):
    """A damaged store.

    Attributes:
        name: What is wrong, in words joined by dashes.
        write: Writes the store to the start of an empty file.
        refusal: Name of the error that opening raises; empty where the rest can still be read.
        says: Words that the error, or else a finding, has in it.
        exceptions: How many chunks the table then has.
        lost: Origin chunks of which a read must fail; every other one can be read.
        huge: The size in bytes to which the file is to be extended, with a hole; 0 for none.
    """

    name: str
    write: Callable[[BinaryIO], object]
    refusal: str = ""
    says: str = ""
    exceptions: int = 0
    lost: frozenset[int] = frozenset()
    huge: int = 0

    def content(self) -> bytes:
        """The store as bytes, without its hole if it is huge."""
        out = io.BytesIO()
        self.write(out)
        return out.getvalue()


def sound_store(exceptions: int = 70) -> bytes:
    """A store without any damage: every third origin chunk copied, in as many areas as that takes."""
    out = io.BytesIO()
    records = in_allocation_order(range(0, 3 * exceptions, 3), 1)
    build_store(out, records, chunk_size_sectors=1, data=fill_chunk(1))
    return out.getvalue()


def _bytes(content: Callable[[], bytes]) -> Callable[[BinaryIO], object]:
    return lambda out: out.write(content())


def _cut(length: int) -> Callable[[BinaryIO], object]:
    return _bytes(lambda: sound_store()[:length])


def _header(**fields: int) -> Callable[[BinaryIO], object]:
    """The sound store with other numbers in its header."""
    sound = functools.partial(build_store, chunk_size_sectors=1, data=fill_chunk(1))
    return lambda out: sound(out, in_allocation_order(range(0, 210, 3), 1), **fields)  # type: ignore[arg-type]


def _records(records: Callable[[], Records] | Records, **options: int) -> Callable[[BinaryIO], object]:
    """Stores with records that no kernel writes; the device has 100 chunks unless told otherwise."""
    settings = {"chunk_size_sectors": 1, "size_chunks": 100} | options
    return lambda out: build_store(out, records() if callable(records) else records, **settings)  # type: ignore[arg-type]


def _duplicates() -> Records:
    """A million records for one chunk, which fit one area where chunks are of 16 MiB."""
    return np.tile(np.array([[0, 2]], np.uint64), (1_000_000, 1))


def _full_areas(count: int) -> Records:
    return in_allocation_order(range(0, count * PER_AREA * 3, 3), 1)


DAMAGES: dict[str, Damage] = {
    damage.name: damage
    for damage in (
        # not a store
        Damage(
            "not-a-store", _bytes(lambda: b"a text and not a store\n" * 1000), "NotAStore", "not an exception store"
        ),
        Damage("an-empty-file", _bytes(lambda: b""), "NotAStore", "too short"),
        Damage("cut-in-the-header", _cut(10), "NotAStore", "too short"),
        Damage("zeros", _bytes(lambda: bytes(1 << 16)), "EmptyStore", "empty store"),
        Damage("zero-magic", _header(magic=0), "EmptyStore", "empty store"),
        Damage("big-endian-magic", _header(magic=0x536E4170), "NotAStore", "not an exception store"),
        # a header that cannot be
        Damage("version-0", _header(version=0), "UnsupportedVersion", "version 0"),
        Damage("version-2", _header(version=2), "UnsupportedVersion", "version 2"),
        Damage("chunk-size-0", _header(header_chunk_size_sectors=0), "BadChunkSize", "chunk size 0"),
        Damage("chunk-size-3", _header(header_chunk_size_sectors=3), "BadChunkSize", "not a power of 2"),
        Damage("chunk-size-2-gib", _header(header_chunk_size_sectors=1 << 22), "BadChunkSize", "too high"),
        Damage("chunk-size-1-tib", _header(header_chunk_size_sectors=1 << 31), "BadChunkSize", "too high"),
        Damage("chunk-size-all-bits", _header(header_chunk_size_sectors=(1 << 32) - 1), "BadChunkSize", "power of 2"),
        Damage("shorter-than-a-chunk", _header(header_chunk_size_sectors=1 << 21), "TruncatedStore", "one chunk"),
        # cut short
        Damage("cut-behind-the-header", _cut(CHUNK_BYTES), "TruncatedStore", "metadata area 0"),
        Damage("cut-in-area-0", _cut(CHUNK_BYTES + 100), "TruncatedStore", "metadata area 0"),
        Damage("cut-before-area-1", _cut(34 * CHUNK_BYTES), "TruncatedStore", "metadata area 1"),
        Damage("cut-in-area-2", _cut(67 * CHUNK_BYTES + 511), "TruncatedStore", "metadata area 2"),
        Damage(
            "cut-in-data",
            _cut(70 * CHUNK_BYTES),
            says="4 records with a copy past the end",
            exceptions=70,
            lost=frozenset(range(66 * 3, 70 * 3, 3)),
        ),
        Damage(
            "area-chain-past-the-end",
            _records(lambda: _full_areas(3), size_chunks=1 + 3 * 33),
            "TruncatedStore",
            "metadata area 3",
        ),
        # records that cannot be
        Damage(
            "huge-numbers",
            _records([(2**64 - 1, 2), (1, 2**64 - 1), (2**63, 2**63), (2**52, 3), (4, 2**55), (5, 4)]),
            says="past the end",
            exceptions=4,
            lost=frozenset((1, 4)),
        ),
        Damage(
            "top-bits",
            _records([(0, 2), (1, 3 | 5 << 56), (2, 4)]),
            says="bits 56-63",
            exceptions=3,
            lost=frozenset((1,)),
        ),
        Damage(
            "into-metadata",
            _records([(0, 1), (1, 34), (2, 2)]),
            says="metadata area",
            exceptions=3,
            lost=frozenset((0, 1)),
        ),
        Damage("outside-the-origin", _records([(0, 2), (256, 3), (2**40, 4)]), says="end of the origin", exceptions=3),
        Damage("duplicates", _records([(7, 2), (7, 3), (8, 4), (7, 5)]), says="2 records", exceptions=2),
        Damage(
            "a-million-duplicates",
            _records(_duplicates, chunk_size_sectors=1 << 15, size_chunks=3),
            says="999999 records",
            exceptions=1,
        ),
        Damage("all-to-one-chunk", _records([(i, 2) for i in range(PER_AREA * 2)]), exceptions=PER_AREA * 2),
        # sparse and huge
        Damage("huge-with-small-chunks", _records([(0, 2)], size_chunks=3), exceptions=1, huge=1 << 50),
        Damage("huge-with-1-gib-chunks", _header(header_chunk_size_sectors=1 << 21), exceptions=0, huge=1 << 50),
    )
}
"""Every damage, by name."""
