"""A stream of events as a store on a device: the metadata is what the stream says, byte for byte."""

from __future__ import annotations

import numpy as np

from dmsnap.block.contract import BlockDevice
from dmsnap.errors import DmsnapError
from dmsnap.maintenance.events import Begin, Data, End, Events, Exceptions, IncompleteStream
from dmsnap.store.format import (
    RECORD_BYTES,
    SECTOR_BYTES,
    area_chunk,
    areas_on,
    check_chunk_size,
    exceptions_per_area,
    pack_header,
)

__all__ = ["DoesNotFit", "write_events"]


class DoesNotFit(DmsnapError):
    """The device has no room for what a stream holds."""


def write_events(events: Events, device: BlockDevice) -> int:
    """Writes a store; the header comes last, so that what is half written is no store.

    Args:
        events: One whole stream.
        device: Writable. Its areas are written, and chunks that the stream has data of; the rest stays as it is.

    Returns:
        How many exceptions the store has.

    Raises:
        IncompleteStream: The stream has no beginning or no end, or its records are not in a row.
        DoesNotFit: An area or a chunk lies past the end of the device.
        BadChunkSize: By the kernel's rules.
        IOFailed, ReadOnlyDevice: As their names say.
    """
    begin = next(events, None)
    if not isinstance(begin, Begin):
        raise IncompleteStream("a stream of a store does not begin with its header")
    check_chunk_size(begin.header.chunk_size_sectors, device.logical_block_size_bytes)
    block_bytes = max(SECTOR_BYTES, device.logical_block_size_bytes)
    if device.size_bytes >= block_bytes:
        device.zero(0, block_bytes)
    areas = _Areas(device, begin)
    for event in events:
        if isinstance(event, Exceptions):
            areas.add(event)
        elif isinstance(event, Data):
            _write_data(device, begin.chunk_bytes, event)
        elif isinstance(event, End):
            areas.end(event.exceptions)
            break
        else:
            raise IncompleteStream("a stream of a store has a second header")
    else:
        raise IncompleteStream("a stream of a store breaks off", hint="it was cut short: get the whole of it")
    device.zero(0, begin.chunk_bytes)
    device.flush()
    device.write_at(0, pack_header(begin.header).ljust(block_bytes, b"\0"))
    device.flush()
    return event.exceptions


class _Areas:
    """Writes records to their places, in whole blocks."""

    def __init__(self, device: BlockDevice, begin: Begin) -> None:
        self._device = device
        self._chunk_bytes = begin.chunk_bytes
        self._per_area = exceptions_per_area(begin.header.chunk_size_sectors)
        self._areas = areas_on(device.size_bytes // begin.chunk_bytes, self._per_area)
        self._block_records = max(SECTOR_BYTES, device.logical_block_size_bytes) // RECORD_BYTES
        self._count = 0
        self._rest = np.empty((0, 2), "<u8")  # less than a block

    def add(self, event: Exceptions) -> None:
        if event.first != self._count + len(self._rest):
            raise IncompleteStream(f"record {self._count + len(self._rest)} is missing in a stream of a store")
        records = np.concatenate((self._rest, event.records.astype("<u8", copy=False)))
        whole = len(records) // self._block_records * self._block_records
        self._write(records[:whole])
        self._rest = records[whole:].copy()

    def end(self, count: int) -> None:
        """Writes what is left, the end marker, and zeros up to the end of its area."""
        if count != self._count + len(self._rest):
            raise IncompleteStream(f"a stream of {count} exceptions has {self._count + len(self._rest)}")
        if len(self._rest):
            padding = np.zeros((self._block_records - len(self._rest), 2), "<u8")
            self._write(np.concatenate((self._rest, padding)))
        area, index = divmod(self._count, self._per_area)
        if not len(self._rest) or index:
            self._refuse_beyond(area)
            rest = self._per_area - index
            self._device.zero(self._offset(area, index), rest * RECORD_BYTES)

    def _write(self, records: np.ndarray) -> None:
        done = 0
        while done < len(records):
            area, index = divmod(self._count, self._per_area)
            self._refuse_beyond(area)
            part = records[done : done + self._per_area - index]
            self._device.write_at(self._offset(area, index), np.ascontiguousarray(part).data.cast("B"))
            done += len(part)
            self._count += len(part)

    def _offset(self, area: int, index: int) -> int:
        return area_chunk(area, self._per_area) * self._chunk_bytes + index * RECORD_BYTES

    def _refuse_beyond(self, area: int) -> None:
        if area >= self._areas:
            raise DoesNotFit(
                f"{self._device.name}: metadata area {area} lies past the end of the device",
                hint="make it larger",
                device=self._device.name,
                area=area,
            )


def _write_data(device: BlockDevice, chunk_bytes: int, event: Data) -> None:
    offset = event.cow_chunk * chunk_bytes
    if event.cow_chunk < 1 or offset + len(event.data) > device.size_bytes:
        raise DoesNotFit(
            f"{device.name}: chunk {event.cow_chunk} lies outside the device",
            hint="make it larger",
            device=device.name,
            cow_chunk=event.cow_chunk,
        )
    device.write_at(offset, event.data)
