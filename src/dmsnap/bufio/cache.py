"""Which blocks are cached: a CLEAN and a DIRTY ring, each swept by CLOCK (as Linux dm-bufio does since 6.4).

A ring is an ordered dictionary whose front is the cursor: moving the front to the back is the cursor passing an
entry, and the back is just behind the cursor, which is where new entries belong. A hit sets an entry's reference bit;
the sweep clears set bits and stops at an entry that is unset and not held. Nothing here locks: the client does.
"""

from __future__ import annotations

from collections import OrderedDict

from dmsnap.bufio.buffer import DIRTY, READING, WRITING, Buffer

__all__ = ["Cache", "Ring", "sweep"]

Ring = OrderedDict[int, Buffer]
"""Buffers by block number, the one under the cursor first."""


def sweep(ring: Ring, *, busy: bool) -> Buffer | None:
    """Returns the next buffer that may be evicted (it stays in the ring), or None.

    Args:
        ring: The ring to sweep; its cursor moves.
        busy: Whether a buffer with I/O to wait for, or to do, may be chosen as well.
    """
    # Twice round at most: once to clear reference bits, once to find that every entry is held.
    for _ in range(2 * len(ring)):
        block, buffer = next(iter(ring.items()))
        if buffer.referenced:
            buffer.referenced = False
        elif not buffer.holds and (busy or not buffer.state):
            return buffer
        ring.move_to_end(block)
    return None


class Cache:
    """The two rings. A block is in at most one of them; what is dirty or being written is in `dirty`.

    Attributes:
        clean: Buffers without changes, those being read included.
        dirty: Buffers that are dirty or being written, and those whose write is over until `settle` moves them.
    """

    __slots__ = ("_written", "clean", "dirty")

    def __init__(self) -> None:
        self.clean: Ring = OrderedDict()
        self.dirty: Ring = OrderedDict()
        self._written: list[Buffer] = []

    def find(self, block: int) -> Buffer | None:
        """Returns the buffer of a block, in whatever state, or None."""
        return self.clean.get(block) or self.dirty.get(block)

    def buffers(self) -> list[Buffer]:
        """Returns every cached buffer."""
        return [*self.clean.values(), *self.dirty.values()]

    def mark_dirty(self, buffer: Buffer, start: int, end: int) -> None:
        """Adds bytes ``[start, end)`` to the dirty range of a buffer and puts it into `dirty`."""
        if buffer.state & DIRTY:
            buffer.dirty_start = min(buffer.dirty_start, start)
            buffer.dirty_end = max(buffer.dirty_end, end)
            return
        buffer.state |= DIRTY
        buffer.dirty_start, buffer.dirty_end = start, end
        if self.clean.pop(buffer.block, None) is not None:
            buffer.referenced = False
            self.dirty[buffer.block] = buffer

    def written(self, buffer: Buffer) -> None:
        """Notes that a write is over; the buffer moves to `clean` with the next `settle`."""
        self._written.append(buffer)

    def settle(self) -> None:
        """Moves the buffers whose writes are over, and that were not dirtied or dropped meanwhile, to `clean`."""
        for buffer in self._written:
            if not buffer.state & (READING | WRITING | DIRTY) and self.dirty.get(buffer.block) is buffer:
                del self.dirty[buffer.block]
                buffer.referenced = False
                self.clean[buffer.block] = buffer
        self._written.clear()

    def clear(self) -> None:
        """Forgets every buffer."""
        self.clean.clear()
        self.dirty.clear()
        self._written.clear()
