"""The memory of a client's blocks: bounded, made when first needed, and used again."""

from __future__ import annotations

__all__ = ["BlockMemory"]


class BlockMemory:
    """At most ``limit + reserved`` blocks of memory, the last ``reserved`` of them kept back for forward progress.

    Memory that comes back is kept and handed out again, which saves the page faults of fresh memory; it never leaves
    the client, so that what a new block holds beforehand is zeros or this device's own stale bytes. Not thread-safe.

    Attributes:
        limit: How many blocks may be in use before the reserve is touched.
        reserved: Size of the reserve, in blocks.
        spare: Memory not in use.
    """

    __slots__ = ("_block_size_bytes", "_made", "limit", "reserved", "spare")

    def __init__(self, block_size_bytes: int, limit: int, reserved: int) -> None:
        self._block_size_bytes = block_size_bytes
        self._made = 0
        self.limit = limit
        self.reserved = reserved
        self.spare: list[memoryview] = []

    @property
    def in_use(self) -> int:
        """Blocks handed out."""
        return self._made - len(self.spare)

    def take(self) -> memoryview | None:
        """Returns memory for a block, or None where only the reserve, or nothing, is left."""
        return self._take() if self.in_use < self.limit else None

    def take_reserved(self) -> memoryview | None:
        """Returns memory for a block from the reserve, or None where there is none."""
        return self._take() if self.in_use < self.limit + self.reserved else None

    def trim(self) -> None:
        """Lets go of the memory that is not in use."""
        self._made -= len(self.spare)
        self.spare.clear()

    def _take(self) -> memoryview | None:
        if self.spare:
            return self.spare.pop()
        try:
            memory = memoryview(bytearray(self._block_size_bytes))
        except MemoryError:
            return None
        self._made += 1
        return memory
