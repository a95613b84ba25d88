"""Reading the metadata areas: strided through the COW device, with a window of reads in flight, in bulk.

The loop is the kernel's (Linux dm-snapshot since 3.14): a bufio client whose blocks are areas, prefetch ahead, read,
forget. Here the window comes from a policy, chunks over 1 MiB are read in pieces so that memory stays bounded, and
records go on in large batches. What the page cache has from the beginning on does not go that way: it is copied from
there to the batch, for half the price.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.block.at_hand import read_at_hand
from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.bufio import BufioClient
from dmsnap.errors import DmsnapError
from dmsnap.store.format import RECORD_BYTES, SECTOR_BYTES, area_chunk, areas_on, exceptions_per_area
from dmsnap.store.load_trace import LoadTrace
from dmsnap.store.prefetch import MEMORY_BYTES, PrefetchPolicy

__all__ = ["AreaReader", "RecordBatch", "TruncatedStore"]

_PIECE_BYTES = 1 << 20
_BATCH_BYTES = 1 << 17  # so that what is made of a batch stays in the processor's cache


class TruncatedStore(DmsnapError):
    """The chain of metadata areas runs past the end of the device: records are missing, and nobody knows which."""


class RecordBatch(NamedTuple):
    """Records in their order in the store.

    Attributes:
        first_area: Area of the first record.
        first_index: Its number within the area.
        records: Shape (n, 2), little-endian 64-bit: origin chunk, COW chunk. Valid until the next batch is asked for.
    """

    first_area: int
    first_index: int
    records: npt.NDArray[np.uint64]


class AreaReader:
    """Reads the records of a store, once, up to the end marker.

    Attributes:
        most_records: How many there can be at most, by the size of the device.
        current_area: Once read: the area that holds the end marker.
        committed: Once read: the end marker's index in it, which is the number of records there.
    """

    def __init__(
        self, device: BlockDevice, chunk_size_sectors: int, policy: PrefetchPolicy, trace: LoadTrace | None = None
    ) -> None:
        chunk_bytes = chunk_size_sectors * SECTOR_BYTES
        self.current_area = self.committed = 0
        self._device = device
        self._chunk_bytes = chunk_bytes
        self._policy = policy
        self._trace = trace
        self._per_area = exceptions_per_area(chunk_size_sectors)
        self._piece_bytes = min(chunk_bytes, _PIECE_BYTES)
        self._per_chunk = chunk_bytes // self._piece_bytes
        self._areas = areas_on(device.size_bytes // chunk_bytes, self._per_area)
        self._pieces = self._areas * self._per_chunk
        self.most_records = self._areas * self._per_area
        self._most = max(1, MEMORY_BYTES // self._piece_bytes)
        self._used = self._asked = 0
        self._at_hand = trace is None  # a trace is to tell what bufio does

    def batches(self) -> Iterator[RecordBatch]:
        """Yields the records; the end marker and what follows it is left out.

        Raises:
            IOFailed: A metadata area could not be read.
            TruncatedStore: The last area on the device is full and has no successor.
        """
        trace = self._trace
        with BufioClient(
            self._device,
            self._piece_bytes,
            reserved_buffers=1,
            cache_bytes=2 * MEMORY_BYTES,
            trace=None if trace is None else trace.note,
        ) as client:
            if trace is not None:
                trace.reading(client, self._chunk_bytes)
            bytes_each = self._piece_bytes * max(1, min(self._pieces, _BATCH_BYTES // self._piece_bytes))
            staging = np.empty((bytes_each // RECORD_BYTES, 2), "<u8")
            while True:
                first = self._used * self._piece_bytes // RECORD_BYTES
                failure = self._fill(client, staging)
                records = staging[: self._used * self._piece_bytes // RECORD_BYTES - first]
                ended = not records[:, 1].all()
                if ended:
                    records = records[: int(np.argmin(records[:, 1] != 0))]
                    end = first + len(records)
                    self.current_area, self.committed = divmod(end, self._per_area)
                    if trace is not None:
                        last_piece = end * RECORD_BYTES // self._piece_bytes
                        trace.ended(self.current_area + 1, self._used - last_piece - 1)
                if len(records):
                    yield RecordBatch(*divmod(first, self._per_area), records)
                if ended:
                    return
                if failure is not None:
                    raise self._unreadable(failure) from failure
                if self._used == self._pieces:
                    raise self._truncated()

    def _fill(self, client: BufioClient, staging: npt.NDArray[np.uint64]) -> IOFailed | None:
        """Reads pieces until ``staging`` is full or one ends the store; an error ends it too, and is returned."""
        octets = staging.data.cast("B")
        cow_chunks = octets.cast("Q")[1::2]
        size, records = self._piece_bytes, self._piece_bytes // RECORD_BYTES
        room = min(len(octets) // size, self._pieces - self._used)
        filled = 0
        waited = False
        while filled < room:
            got = self._copy_at_hand(octets[filled * size : room * size])
            if not got:
                wanted = min(self._ask(client, waited), room - filled)
                blocks = self._blocks(self._used, wanted)
                got = client.take(blocks, octets[filled * size :])
                waited = not got
                if waited:
                    try:
                        buffer = client.read(blocks[0])
                    except IOFailed as error:
                        return error
                    octets[filled * size : (filled + 1) * size] = buffer.data
                    client.release(buffer, forget=True)
                    got = 1
            self._used += got
            # The last record of each piece tells whether the store goes on, or almost surely so: damage can hide an
            # end marker further in, which is found when the batch is looked at as a whole.
            last_records = cow_chunks[(filled + 1) * records - 1 : (filled + got) * records : records]
            filled += got
            if 0 in last_records.tolist():
                break
        return None

    def _copy_at_hand(self, into: memoryview) -> int:
        """Copies pieces that need not be waited for; from the first on that must, the window is there for the rest.

        It doubles what it tries, so that few are copied in vain behind the end of the store.
        """
        if not self._at_hand:
            return 0
        size = self._piece_bytes
        blocks = self._blocks(self._used, min(len(into) // size, max(1, self._used)))
        views = (into[begin : begin + size] for begin in range(0, len(into), size))
        got = read_at_hand(self._device, ((block * size, view) for block, view in zip(blocks, views, strict=False)))
        self._at_hand = got > 0
        return got

    def _ask(self, client: BufioClient, waited: bool) -> int:
        """Prefetches what the policy wants; returns how many pieces to use before the next time."""
        used = self._used
        ahead = max(0, self._asked - used)
        wanted = self._policy.ask(used, ahead, waited, self._device.clock())
        more = min(wanted, self._most - ahead, self._pieces - used - ahead)
        if more > 0:
            begin = used + ahead
            ahead += more
            client.prefetch_blocks(self._blocks(begin, more))
            self._asked = begin + more
        return max(1, self._policy.use(ahead))

    def _blocks(self, first: int, count: int) -> Sequence[int]:
        """The bufio blocks of some pieces in a row."""
        if self._per_chunk == 1:
            return range(
                area_chunk(first, self._per_area), area_chunk(first + count, self._per_area), self._per_area + 1
            )
        places = [divmod(piece, self._per_chunk) for piece in range(first, first + count)]
        return [area_chunk(area, self._per_area) * self._per_chunk + part for area, part in places]

    def _unreadable(self, failure: IOFailed) -> IOFailed:
        area = self._used // self._per_chunk
        return IOFailed(
            f"{self._device.name}: metadata area {area} cannot be read: {failure.message}",
            hint=failure.hint,
            device=self._device.name,
            area=area,
            offset_bytes=area_chunk(area, self._per_area) * self._chunk_bytes,
        )

    def _truncated(self) -> TruncatedStore:
        offset = area_chunk(self._areas, self._per_area) * self._chunk_bytes
        return TruncatedStore(
            f"{self._device.name}: metadata area {self._areas}, at byte {offset}, lies past the end of the device",
            hint="the store was cut short: get the whole of it",
            device=self._device.name,
            area=self._areas,
            offset_bytes=offset,
        )
