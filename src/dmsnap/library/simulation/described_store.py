"""A store that is only described: as many metadata areas as wanted, made up as they are read."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice, ReadOnlyDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.simulation.defaults import DEFAULT_ROOM_AREAS, MOST_METADATA_BYTES
from dmsnap.library.size_text import readable_size
from dmsnap.store.format import (
    HEADER_BYTES,
    MAGIC,
    RECORD_BYTES,
    VERSION,
    BadChunkSize,
    Header,
    area_chunk,
    check_chunk_size,
    exceptions_per_area,
    pack_header,
)

__all__ = ["BadDescription", "DescribedStore"]

_DEFAULT_ROOM_BYTES = 64 << 30
_LARGEST_BYTES = (1 << 63) - 1  # off_t
_MOST_AT_ONCE = 1 << 16


class BadDescription(DmsnapError, ValueError):
    """No store can be as described."""


class DescribedStore(BlockDevice):
    """A COW device, read-only, with a store on it whose areas are full; nothing of it is kept in memory.

    Origin chunks were copied in order from chunk 0 on. The last area lacks one record of being full, so that the store
    ends in it. Data chunks read as zeros.

    Args:
        areas: Metadata areas that a loader reads.
        chunk_size_bytes: A power of two from 512 bytes to 1 GiB.
        room_areas: Areas that the device has room for after the last one in use, each with its data; they are zeros.
            None means 256, or as many as 64 GiB hold where that is less.

    Attributes:
        areas: As given.
        chunk_size_bytes: As given.

    Raises:
        BadDescription: No area, more than `MOST_METADATA_BYTES` of them, or a device larger than any file can be.
        BadChunkSize: A chunk size that the kernel refuses.
    """

    read_only = True

    def __init__(self, areas: int, chunk_size_bytes: int, *, room_areas: int | None = None) -> None:
        sectors, rest = divmod(chunk_size_bytes, SECTOR_BYTES)
        if chunk_size_bytes <= 0 or rest:
            raise BadChunkSize(
                f"invalid chunk size of {chunk_size_bytes} bytes: not in whole sectors",
                hint="chunk sizes are powers of two from 512 bytes to 1 GiB",
            )
        check_chunk_size(sectors)
        most = MOST_METADATA_BYTES // chunk_size_bytes
        size = readable_size(chunk_size_bytes)
        if areas < 1:
            raise BadDescription(f"a store of {areas} areas cannot be", hint=f"use --areas 1 to {most}")
        if areas > most:
            raise BadDescription(
                f"{areas:,} areas of {size} are more than the {readable_size(MOST_METADATA_BYTES)} of metadata that a"
                " described store can have",
                hint=f"use --areas {most}{' or fewer' if most > 1 else ''}, or a smaller --chunk-size",
            )
        per_area = exceptions_per_area(sectors)
        if room_areas is None:
            room_areas = min(DEFAULT_ROOM_AREAS, _DEFAULT_ROOM_BYTES // area_chunk(1, per_area) // chunk_size_bytes)
        self._size_bytes = area_chunk(areas + room_areas, per_area) * chunk_size_bytes
        if room_areas < 0 or self._size_bytes > _LARGEST_BYTES:
            raise BadDescription(
                f"no device can have room for {room_areas:,} more areas of {size}",
                hint="use a smaller --room or --chunk-size",
            )
        self.name = "described store"
        self.areas = areas
        self.chunk_size_bytes = chunk_size_bytes
        self._per_area = per_area
        self._stride_bytes = (per_area + 1) * chunk_size_bytes
        self._header = pack_header(Header(MAGIC, 1, VERSION, sectors))
        indices = np.arange(min(per_area, _MOST_AT_ONCE), dtype="<u8")
        self._first = np.stack([indices, area_chunk(0, per_area) + 1 + indices], axis=1).ravel()  # of area 0
        self._step = np.tile(np.array((per_area, per_area + 1), "<u8"), len(indices))  # from an area to the next

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def _read_into(self, offset: int, view: memoryview) -> None:
        chunk, end = self.chunk_size_bytes, offset + len(view)
        area, inside = divmod(offset - chunk, self._stride_bytes)
        if 0 <= area < self.areas and inside + len(view) <= chunk:  # what a loader asks for
            self._fill(area, inside // RECORD_BYTES, view)
            return
        view[:] = bytes(len(view))
        if offset < HEADER_BYTES:
            view[:HEADER_BYTES] = self._header
        after = min(self.areas, (end - chunk - 1) // self._stride_bytes + 1)
        for touched in range(max(0, area), after):
            start = chunk + touched * self._stride_bytes
            begin, stop = max(start, offset), min(start + chunk, end)
            if begin < stop:
                self._fill(touched, (begin - start) // RECORD_BYTES, view[begin - offset : stop - offset])

    def _fill(self, area: int, index: int, view: memoryview) -> None:
        """Writes the records of an area from ``index`` on."""
        numbers = np.frombuffer(view, "<u8")
        for begin in range(0, len(numbers), 2 * _MOST_AT_ONCE):
            part = numbers[begin : begin + 2 * _MOST_AT_ONCE]
            np.multiply(self._step[: len(part)], area, out=part)
            part += self._first[: len(part)]
            if index + begin:
                part += index + begin // 2
        if area == self.areas - 1 and index + len(numbers) // 2 == self._per_area:
            numbers[-2:] = 0

    def _write_at(self, offset: int, view: memoryview) -> NoReturn:  # noqa: ARG002 - refused before, as read-only
        raise ReadOnlyDevice(f"{self.name}: cannot be written", device=self.name)

    def _flush(self) -> None:
        return
