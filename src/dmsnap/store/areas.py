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
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed, OutOfRoom
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

    def append(self, records: Records, flushes_failed: int | None = None) -> None:
        """Adds records behind the last one; on return they, and all written before on the device, are durable.

        Args:
            records: To be added.
            flushes_failed: The device's `BlockDevice.failed_flushes` when the first of their copies was to be
                written; by default as it is now.

        Raises:
            IOFailed: The device failed; records may be there or not. Where it is out of room, the same call may be made
                again once there is some.
        """
        self._flush_copies(flushes_failed)
        room = self.per_area - self.committed
        here, beyond = records[:room], records[room:]
        area, committed = self.area, self.committed + len(here)
        while committed == self.per_area:
            area, committed = area + 1, min(len(beyond), self.per_area)
            self._begin(area, beyond[:committed])
            beyond = beyond[committed:]
        if area != self.area:
            self._client.write_dirty()
        if not self._clean_behind:
            self._clear_behind()
        self._put(self.area, self.committed, here)
        self._client.write_dirty()
        self.area, self.committed = area, committed

    def last(self, most: int) -> Iterator[Records]:
        """Yields up to ``most`` of the last records, area by area from the last to the first, in order within each.

        Raises:
            IOFailed: An area cannot be read, or has lost records that were there.
        """
        for number, (area, begin, end) in enumerate(self._spans(most)):
            if not number or not (area + 1) % _AREAS_AHEAD:
                ahead = range(area, max(-1, area - _AREAS_AHEAD), -1)
                self._client.prefetch_blocks([self._block(each, 0) for each in ahead])
            records = self._get(area, begin, end)
            if not records[:, 1].all():
                raise IOFailed(
                    f"{self._device.name}: records have gone from metadata area {area}",
                    hint="load the store anew, to go on with what is there",
                    device=self._device.name,
                    area=area,
                )
            yield records

    def _spans(self, count: int) -> Iterator[tuple[int, int, int]]:
        """Yields area, first record and the one behind the last, of the last ``count`` records, from the end on."""
        area, committed = self.area, self.committed
        while True:
            begin = max(0, committed - count)
            if begin < committed:
                yield area, begin, committed
            count -= committed - begin
            if not count or not area:
                return
            area, committed = area - 1, self.per_area

    def step_back(self) -> None:
        """Goes to the area before, where the current one has no records and is not the first."""
        if not self.committed and self.area:
            self.area, self.committed = self.area - 1, self.per_area
            self._clean_behind = True

    def clear_last(self, count: int) -> None:
        """Zeroes the last ``count`` records; on return that is durable. The area stays current until `step_back`.

        Raises:
            IOFailed: The device failed. The records are put back, as far as it lets itself be written to, since who
                cannot know that they are gone must not live as if they were. The same call may be made again.
        """
        spans = list(self._spans(count))
        kept = list(self.last(count))
        try:
            for area, begin, end in spans:
                self._put(area, begin, np.zeros((end - begin, 2), "<u8"))
            self._client.write_dirty()
        except BaseException:
            with suppress(IOFailed):
                for (area, begin, _), records in zip(spans, kept, strict=True):
                    self._put(area, begin, records)
                self._client.write_dirty()
            raise
        self.area, self.committed = spans[-1][:2]

    def close(self) -> None:
        """Lets go of the cache; everything is on the device already."""
        self._client.close()

    def _flush_copies(self, flushes_failed: int | None) -> None:
        """Makes durable what the records will point at.

        What a failed flush lost stays lost, though the next flush may well succeed: so a device without room is here a
        failure like any other, and not one after which the same is tried again.
        """
        if flushes_failed is None:
            flushes_failed = self._device.failed_flushes
        try:
            self._device.flush()
        except OutOfRoom as error:
            raise IOFailed(error.message, hint=error.hint, **error.fields) from error
        if self._device.failed_flushes != flushes_failed:  # of another, who was told instead
            raise IOFailed(
                f"{self._device.name}: a flush failed, and what was copied may be lost",
                hint="the medium is failing; see the system log",
                device=self._device.name,
            )

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
        found = False
        for block, start, stop, _ in self._parts(self.area, self.committed, self.per_area):
            with self._client.read(block) as buffer:
                octets = np.frombuffer(buffer.data, np.uint8)[start:stop]
                if octets.any():
                    octets[:] = 0
                    self._client.mark_partial_dirty(buffer, start, stop)
                    found = True
        if found:
            self._client.write_dirty()
        self._clean_behind = True
