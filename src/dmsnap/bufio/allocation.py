"""Where the memory for one more block comes from: the ladder from 'at hand' to 'sleep until somebody releases'."""

from __future__ import annotations

from dmsnap.bufio.buffer import DIRTY, READING, WRITING, Buffer
from dmsnap.bufio.cache import sweep
from dmsnap.bufio.state import ClientState
from dmsnap.bufio.writeback import Writeback

__all__ = ["Allocator"]


class Allocator:
    """Finds memory for blocks. Every method is called with the client's lock taken.

    The ladder is that of Linux dm-bufio, with the client's own limit in the place of the machine's free memory:

    1. memory below the limit; at the limit, that of a clean and idle block, unless only ``minimum_buffers`` are left
       (Linux trims its cache in the background); prefetch stops here;
    2. the reserve;
    3. any clean block that nobody holds, waiting for its pending read, then any dirty one, writing it first;
    4. sleep until somebody releases a buffer, and begin again.

    Args:
        state: The client's.
        writeback: Writes dirty victims.
        no_sleep: Whether eviction must not wait for I/O.
    """

    def __init__(self, state: ClientState, writeback: Writeback, *, no_sleep: bool) -> None:
        self._state = state
        self._memory = state.memory
        self._cache = state.cache
        self._writeback = writeback
        self._no_sleep = no_sleep
        self.minimum_buffers = 0

    def at_hand(self) -> memoryview | None:
        """Returns memory that can be had without waiting and without the reserve, or None."""
        memory = self._memory
        while memory.limit and memory.in_use >= max(memory.limit, self.minimum_buffers + 1):
            victim = sweep(self._cache.clean, busy=False)
            if victim is None:
                break
            self._evict(victim)  # more than one where the reserve is in use: it is refilled first
        return memory.take()

    def obtain(self) -> memoryview | None:
        """Goes down the whole ladder. The lock may be given up meanwhile, so look again at what is cached.

        Returns:
            Memory, or None after a sleep: then begin again.

        Raises:
            MemoryError: The machine has no memory for one block, and no block is cached.
        """
        memory = self.at_hand() or self._memory.take_reserved()
        while memory is None:
            victim = self._victim()
            if victim is None:
                if not self._memory.in_use:
                    raise MemoryError(f"no memory for a block of {self._state.block_size_bytes} bytes")
                if not (self._no_sleep and self._start_writes()):
                    self._state.sleep()
                return None
            if self._make_clean(victim):
                self._evict(victim)
                memory = self._memory.take_reserved()
        return memory

    def _evict(self, victim: Buffer) -> None:
        self._state.counters.evicted += 1
        self._state.drop(victim, "evict")

    def _victim(self) -> Buffer | None:
        self._cache.settle()
        victim = sweep(self._cache.clean, busy=False)
        if victim is None and not self._no_sleep:
            victim = sweep(self._cache.clean, busy=True) or sweep(self._cache.dirty, busy=True)
        return victim

    def _make_clean(self, victim: Buffer) -> bool:
        """Waits for, and does, the I/O of a buffer; says whether it may still be evicted after that."""
        victim.holds += 1  # so that it stays in the cache, where others must find it, while the lock is given up
        try:
            victim.wait_while(READING | WRITING, self._state)
            if victim.state & DIRTY:
                self._writeback.write_now(victim)
        finally:
            victim.holds -= 1
            self._state.wake()
        return not victim.holds and not victim.state

    def _start_writes(self) -> bool:
        """Starts the writes that a client without waiting for I/O needs to get clean buffers; says whether any."""
        idle = [buffer for buffer in self._cache.dirty.values() if buffer.state & (DIRTY | WRITING) == DIRTY]
        for buffer in idle:
            self._writeback.submit(buffer)
        if idle:
            self._state.lock.release()
            try:
                self._writeback.start()
            finally:
                self._state.lock.acquire()
        return bool(idle)
