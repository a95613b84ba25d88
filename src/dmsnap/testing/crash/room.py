"""What a store has room for, counted apart from the store that is tested: when a snapshot may be lost, and when not."""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice
from dmsnap.store import Store
from dmsnap.store.format import area_chunk, exceptions_per_area, is_metadata_chunk

__all__ = ["Room"]


class Room:
    """Follows the exceptions of one snapshot.

    Args:
        store: As it was loaded; its table tells which chunks have exceptions.
    """

    def __init__(self, store: Store) -> None:
        self._device: BlockDevice = store.device
        self._chunk_bytes = store.chunk_size_bytes
        self._per_area = exceptions_per_area(store.chunk_size_sectors)
        self._next_free = store.next_free
        self._records = (store.areas - 1) * self._per_area + store.committed
        self._made = 0
        self.chunks: set[int] = set()
        for runs in store.table.batches():
            for origin, length in zip(runs.origin.tolist(), runs.length.tolist(), strict=True):
                self.chunks.update(range(origin, origin + length))

    def missing(self, offset: int, length: int) -> set[int]:
        """Returns the chunks of a range of bytes, of at least one, that have no exception."""
        return set(range(offset // self._chunk_bytes, (offset + length - 1) // self._chunk_bytes + 1)) - self.chunks

    def suffices(self, chunks: set[int]) -> bool:
        """Whether there are free chunks for the copies of these."""
        return len(chunks) <= self._free()

    def traps(self, chunks: set[int]) -> bool:
        """Whether an area fills up whose successor lies beyond the device, when exceptions for these are made."""
        made = min(len(chunks), self._free())
        area = (self._records + self._made + made) // self._per_area
        return made > 0 and area_chunk(area, self._per_area) >= self._device_chunks()

    def _free(self) -> int:
        within = range(self._next_free, self._device_chunks())
        return sum(not is_metadata_chunk(chunk, self._per_area) for chunk in within) - self._made

    def _device_chunks(self) -> int:
        return self._device.size_bytes // self._chunk_bytes

    def make(self, chunks: set[int]) -> None:
        """Takes note that these exceptions were made."""
        self._made += len(chunks)
        self.chunks |= chunks

    def wholly(self, chunks: set[int], offset: int, length: int) -> set[int]:
        """Returns those of some chunks that lie wholly in a range of bytes."""
        size = self._chunk_bytes
        return {chunk for chunk in chunks if offset <= chunk * size and (chunk + 1) * size <= offset + length}
