"""The metadata areas of a store that is being written, cached by bufio: records go on at the end, or away from it.

What has to be durable before what is decided here and nowhere else:

- A record reaches the device only after the copy it points at (a flush comes first).
- An area becomes full on the device only after its successor is there, zeroed or with its own records, since a reader
  goes on to the successor of a full area. So the areas behind the first are written and flushed before it, which no
  reader can see until then; whatever a crash leaves, the records are a prefix of those appended.

A bufio buffer is dirty here only while the area may reach the device as it is: nothing may write it early.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice
from dmsnap.bufio import BufioClient
from dmsnap.store.format import RECORD_BYTES, SECTOR_BYTES, area_chunk, exceptions_per_area

__all__ = ["MetadataAreas", "Records"]

Records = npt.NDArray[np.uint64]
"""Shape (n, 2), little-endian: origin chunk, COW chunk."""

_PIECE_BYTES = 1 << 20  # chunks over 1 MiB are cached in pieces, so that memory stays in proportion
_CACHE_BYTES = 4 << 20
_AREAS_AHEAD = 32


class MetadataAreas:
    """The areas of one store. Not for two threads at once.

    Args:
        device: The COW device.
        chunk_size_sectors: Of the store.
        area: The area with the end marker (the kernel's ``current_area``).
        committed: Records in it.

    Attributes:
        area: As above, now.
        committed: As above, now.
        per_area: Records that an area holds.
    """

    def __init__(self, device: BlockDevice, chunk_size_sectors: int, area: int, committed: int) -> None:
        self.area = area
        self.committed = committed
        self.per_area = exceptions_per_area(chunk_size_sectors)
        self._chunk_bytes = chunk_size_sectors * SECTOR_BYTES
        self._piece_bytes = min(self._chunk_bytes, _PIECE_BYTES)
        self._per_piece = self._piece_bytes // RECORD_BYTES
        self._pieces = self._chunk_bytes // self._piece_bytes
        self._device = device
        self._client = BufioClient(device, self._piece_bytes, cache_bytes=_CACHE_BYTES, writers=0)
        self._clean_behind = False  # whether what lies behind the end marker is known to be zeros

    def fits(self, records: int) -> bool:
        """Whether the area that the end marker is in after ``records`` more lies on the device.

        Linux fails, and invalidates the snapshot, where it does not: with as many chunks on the device as 1 + a
        multiple of (records in an area + 1), the last data chunk fills the last area (dm-snapshot, all versions).
        """
        area = self.area + (self.committed + records) // self.per_area
        return (area_chunk(area, self.per_area) + 1) * self._chunk_bytes <= self._device.size_bytes

    def append(self, records: Records) -> None:
        """Adds records behind the last one; on return they, and all written before on the device, are durable.

        Raises:
            IOFailed: The device failed; records may be there or not. The same call may be made again.
        """
        room = self.per_area - self.committed
        here, beyond = records[:room], records[room:]
        area, committed = self.area, self.committed + len(here)
        while committed == self.per_area:
            area, committed = area + 1, min(len(beyond), self.per_area)
            self._begin(area, beyond[:committed])
            beyond = beyond[committed:]
        if area != self.area:
            self._client.write_dirty()
        else:
            self._device.flush()
        if not self._clean_behind:
            self._clear_behind()
        self._put(self.area, self.committed, here)
        self._client.write_dirty()
        self.area, self.committed = area, committed

    def last(self, most: int) -> Iterator[Records]:
        """Yields up to ``most`` of the last records, area by area from the last to the first, in order within each."""
        area, committed = self.area, self.committed
        self._client.prefetch_blocks([self._block(area - back, 0) for back in range(min(_AREAS_AHEAD, area + 1))])
        while most > 0:
            count = min(most, committed)
            if count:
                yield self._get(area, committed - count, committed)
            most -= count
            if not area:
                return
            area, committed = area - 1, self.per_area
            if not area % _AREAS_AHEAD:
                blocks = [self._block(area - back, 0) for back in range(min(_AREAS_AHEAD, area + 1))]
                self._client.prefetch_blocks(blocks)

    def step_back(self) -> None:
        """Goes to the area before, where the current one has no records and is not the first."""
        if not self.committed and self.area:
            self.area, self.committed = self.area - 1, self.per_area
            self._clean_behind = True

    def clear_last(self, count: int) -> None:
        """Zeroes the last ``count`` records; on return that is durable. The area stays current until `step_back`.

        Raises:
            IOFailed: The device failed; records from the end may be gone or not. The same call may be made again.
        """
        area, committed = self.area, self.committed
        while count:
            if not committed:
                area, committed = area - 1, self.per_area
            cleared = min(count, committed)
            committed -= cleared
            self._put(area, committed, np.zeros((cleared, 2), "<u8"))
            count -= cleared
        self._client.write_dirty()
        self.area, self.committed = area, committed

    def close(self) -> None:
        """Lets go of the cache; everything is on the device already."""
        self._client.close()

    # -- areas in pieces ----------------------------------------------------------------------------------------------

    def _block(self, area: int, piece: int) -> int:
        return area_chunk(area, self.per_area) * self._pieces + piece

    def _parts(self, area: int, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yields bufio block, first and last byte within it, and first record, of records ``begin`` to ``end``."""
        while begin < end:
            piece, within = divmod(begin, self._per_piece)
            count = min(end - begin, self._per_piece - within)
            start = within * RECORD_BYTES
            yield self._block(area, piece), start, start + count * RECORD_BYTES, begin
            begin += count

    def _put(self, area: int, at: int, records: Records) -> None:
        octets = np.ascontiguousarray(records, "<u8").reshape(-1).view(np.uint8)
        for block, start, stop, first in self._parts(area, at, at + len(records)):
            with self._client.read(block) as buffer:
                begin = (first - at) * RECORD_BYTES
                np.frombuffer(buffer.data, np.uint8)[start:stop] = octets[begin : begin + stop - start]
                self._client.mark_partial_dirty(buffer, start, stop)

    def _get(self, area: int, begin: int, end: int) -> Records:
        records = np.empty((end - begin, 2), "<u8")
        octets = records.reshape(-1).view(np.uint8)
        for block, start, stop, first in self._parts(area, begin, end):
            with self._client.read(block) as buffer:
                at = (first - begin) * RECORD_BYTES
                octets[at : at + stop - start] = np.frombuffer(buffer.data, np.uint8)[start:stop]
        return records

    def _begin(self, area: int, records: Records) -> None:
        """Fills a new area: records, then zeros to its end; it still has to be written."""
        for piece in range(self._pieces):
            part = records[piece * self._per_piece : (piece + 1) * self._per_piece]
            with self._client.new(self._block(area, piece)) as buffer:
                octets = np.frombuffer(buffer.data, np.uint8)
                octets[: part.nbytes] = part.reshape(-1).view(np.uint8)
                octets[part.nbytes :] = 0
                self._client.mark_dirty(buffer)

    def _clear_behind(self) -> None:
        """Zeroes what lies behind the end marker in its area, which would become records once the marker is gone.

        No kernel leaves anything there.
        """
        for block, start, stop, _ in self._parts(self.area, self.committed, self.per_area):
            with self._client.read(block) as buffer:
                octets = np.frombuffer(buffer.data, np.uint8)[start:stop]
                if octets.any():
                    octets[:] = 0
                    self._client.mark_partial_dirty(buffer, start, stop)
        self._client.write_dirty()
        self._clean_behind = True
