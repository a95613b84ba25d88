"""Reading the metadata areas: strided through the COW device, with a window of reads in flight, in bulk.

The loop is the kernel's (Linux dm-snapshot since 3.14): a bufio client whose blocks are areas, prefetch ahead, read,
forget. Here the window comes from a policy, chunks over 1 MiB are read in pieces so that memory stays bounded, and
records go on in large batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.bufio import BufioClient
from dmsnap.errors import DmsnapError
from dmsnap.store.format import RECORD_BYTES, SECTOR_BYTES, area_chunk, exceptions_per_area
from dmsnap.store.prefetch import MEMORY_BYTES, PrefetchPolicy

__all__ = ["AreaReader", "RecordBatch", "TruncatedStore"]

_PIECE_BYTES = 1 << 20
_BATCH_BYTES = 4 << 20


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


@dataclass
class AreaReader:
    """Reads the records of a store up to the end marker.

    Attributes:
        current_area: Once read: the area that holds the end marker.
        committed: Once read: the end marker's index in it, which is the number of records there.
    """

    device: BlockDevice
    chunk_size_sectors: int
    policy: PrefetchPolicy
    current_area: int = 0
    committed: int = 0

    def __post_init__(self) -> None:
        chunk_bytes = self.chunk_size_sectors * SECTOR_BYTES
        self._per_area = exceptions_per_area(self.chunk_size_sectors)
        self._piece_bytes = min(chunk_bytes, _PIECE_BYTES)
        self._pieces_per_chunk = chunk_bytes // self._piece_bytes
        device_chunks = self.device.size_bytes // chunk_bytes
        stride = self._per_area + 1
        self._areas = max(0, (device_chunks - 1 + stride - 1) // stride)

    def batches(self) -> Iterator[RecordBatch]:
        """Yields the records; the end marker and what follows it is left out.

        Raises:
            IOFailed: A metadata area could not be read.
            TruncatedStore: The last area on the device is full and has no successor.
        """
        client = BufioClient(self.device, self._piece_bytes, reserved_buffers=1, cache_bytes=2 * MEMORY_BYTES)
        try:
            yield from self._batches(client)
        finally:
            client.close()

    def _batches(self, client: BufioClient) -> Iterator[RecordBatch]:
        piece_records = self._piece_bytes // RECORD_BYTES
        pieces = self._areas * self._pieces_per_chunk
        batch_pieces = max(1, min(pieces, _BATCH_BYTES // self._piece_bytes))
        staging = np.empty((batch_pieces * piece_records, 2), "<u8")
        numbers = staging.data.cast("B").cast("Q")
        octets = staging.data.cast("B")
        used = 0
        stream = self._pieces(client, pieces)
        failure: IOFailed | None = None
        while failure is None and used < pieces:
            first_piece, filled = used, 0
            try:
                for piece in stream:
                    octets[filled : filled + self._piece_bytes] = piece
                    filled += self._piece_bytes
                    if filled == len(octets) or not numbers[filled // 8 - 1]:
                        break
            except IOFailed as error:
                failure = error
            used += filled // self._piece_bytes
            records = staging[: filled // RECORD_BYTES]
            ended = not records[:, 1].all()
            if ended:
                records = records[: int(np.argmin(records[:, 1] != 0))]
            position = first_piece * piece_records
            area, index = divmod(position, self._per_area)
            if ended:
                self.current_area, self.committed = divmod(position + len(records), self._per_area)
            if len(records):
                yield RecordBatch(area, index, records)
            if ended:
                return
        if failure is not None:
            area = used // self._pieces_per_chunk
            raise IOFailed(
                f"{self.device.name}: metadata area {area} cannot be read: {failure.message}",
                hint=failure.hint,
                device=self.device.name,
                area=area,
                offset_bytes=area_chunk(area, self._per_area) * self.chunk_size_sectors * SECTOR_BYTES,
            ) from failure
        raise self._truncated()

    def _pieces(self, client: BufioClient, pieces: int) -> Iterator[bytes]:
        """Yields each piece in order, with as many reads in flight as the policy asks for."""
        per_chunk, stride = self._pieces_per_chunk, self._per_area + 1
        most = max(1, MEMORY_BYTES // self._piece_bytes)
        asked, waited = 0, False
        for used in range(pieces):
            more = min(self.policy.ask(used, asked - used, waited), used + most - asked, pieces - asked)
            if more > 0:
                ahead = range(asked, asked + more)
                client.prefetch_blocks([(1 + p // per_chunk * stride) * per_chunk + p % per_chunk for p in ahead])
                asked += more
            block = (1 + used // per_chunk * stride) * per_chunk + used % per_chunk
            buffer = client.get(block)
            waited = buffer is None
            if buffer is None:
                buffer = client.read(block)
            data = bytes(buffer.data)
            client.release(buffer)
            client.forget(block)
            asked = max(asked, used + 1)
            yield data

    def _truncated(self) -> TruncatedStore:
        offset = area_chunk(self._areas, self._per_area) * self.chunk_size_sectors * SECTOR_BYTES
        return TruncatedStore(
            f"{self.device.name}: metadata area {self._areas}, at byte {offset}, lies past the end of the device",
            hint="the store was cut short: get the whole of it",
            device=self.device.name,
            area=self._areas,
            offset_bytes=offset,
        )
