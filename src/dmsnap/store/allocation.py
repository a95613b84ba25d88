"""Which chunk of the COW device comes next: in order, metadata areas passed over, nothing ever used again.

Source: Linux dm-snap-persistent, every version but for the skip after loading (since 3.12, CVE-2013-4299).
"""

from __future__ import annotations

from dmsnap.store.format import FIRST_DATA_CHUNK, is_metadata_chunk

__all__ = ["ChunkAllocator"]


class ChunkAllocator:
    """Gives out data chunks.

    Args:
        per_area: Records in a metadata area.
        next_free: The chunk to be given next.

    Attributes:
        next_free: As above, now; it may lie past the end of the device.
    """

    def __init__(self, per_area: int, next_free: int = FIRST_DATA_CHUNK) -> None:
        self.next_free = next_free
        self._per_area = per_area

    def take(self, most: int, device_chunks: int) -> tuple[int, int]:
        """Takes up to ``most`` consecutive chunks.

        Args:
            most: At least 1.
            device_chunks: Whole chunks on the device.

        Returns:
            The first and their number; 0 where the device is full.
        """
        first, stride = self.next_free, self._per_area + 1
        next_metadata = ((first - 1) // stride + 1) * stride + 1
        count = max(0, min(most, next_metadata - first, device_chunks - first))
        if count:
            self.next_free = first + count + (first + count == next_metadata)
        return first, count

    def give_back(self, first: int, count: int) -> None:
        """Takes chunks back if they were the last to be given; others stay unused, as chunks lost in a crash do."""
        following = first + count
        if self.next_free == following + is_metadata_chunk(following, self._per_area):
            self.next_free = first
