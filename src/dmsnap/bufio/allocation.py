"""Where the memory for one more block comes from: the ladder from 'at hand' to 'sleep until somebody releases'."""

from __future__ import annotations

import threading
from time import perf_counter

from dmsnap.bufio.buffer import DIRTY, READING, WRITING, Buffer
from dmsnap.bufio.cache import Cache, sweep
from dmsnap.bufio.counters import Counters, Trace
from dmsnap.bufio.memory import BlockMemory
from dmsnap.bufio.writeback import Writeback

__all__ = ["Allocator"]


class Allocator:
    """Gives and takes back the memory of blocks. Every method is called with the client's lock taken.

    The ladder is that of Linux dm-bufio, with the client's own limit in the place of the machine's free memory:

    1. memory below the limit; at the limit, that of a clean and idle block, unless only ``minimum_buffers`` are left
       (Linux trims its cache in the background); prefetch stops here;
    2. the reserve;
    3. any clean block that nobody holds, waiting for its pending read, then any dirty one, writing it first;
    4. sleep until somebody releases a buffer, and begin again.

    Args:
        lock: The client's lock.
        cache: Where to evict.
        memory: The memory and its limits.
        writeback: Writes dirty victims.
        counters: To count in.
        trace: Hears of evictions.
        no_sleep: Whether eviction must not wait for I/O.
    """

    def __init__(
        self,
        lock: threading.Lock,
        cache: Cache,
        memory: BlockMemory,
        writeback: Writeback,
        counters: Counters,
        trace: Trace | None,
        *,
        no_sleep: bool,
    ) -> None:
        self._lock = lock
        self._cache = cache
        self._memory = memory
        self._writeback = writeback
        self._counters = counters
        self._trace = trace
        self._no_sleep = no_sleep
        self._freed = threading.Condition(lock)
        self.sleepers = 0
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
        """
        memory = self.at_hand() or self._memory.take_reserved()
        while memory is None:
            victim = self._victim()
            if victim is None:
                self._sleep()
                return None
            if self._make_clean(victim):
                self._evict(victim)
                memory = self._memory.take_reserved()
        return memory

    def give(self, memory: memoryview) -> None:
        """Takes memory back."""
        self._memory.spare.append(memory)
        if self.sleepers:
            self._freed.notify_all()

    def drop(self, buffer: Buffer) -> None:
        """Takes an idle buffer that nobody holds out of the cache, and its memory back."""
        self._cache.drop(buffer)
        if buffer.unread:
            self._counters.prefetch_wasted += 1
        self.give(buffer.data)

    def wake(self) -> None:
        """Lets those who sleep look again, because a buffer became free or idle."""
        if self.sleepers:
            self._freed.notify_all()

    def _evict(self, victim: Buffer) -> None:
        self._counters.evicted += 1
        if self._trace is not None:
            self._trace(perf_counter(), "evict", victim.block)
        self.drop(victim)

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
            victim.wait_while(READING | WRITING, self._lock)
            if victim.state & DIRTY:
                self._writeback.write_now(victim)
        finally:
            victim.holds -= 1
            self.wake()
        return not victim.holds and not victim.state

    def _sleep(self) -> None:
        if self._no_sleep and self._start_writes():
            return
        self._counters.sleeps += 1
        self.sleepers += 1
        try:
            self._freed.wait()
        finally:
            self.sleepers -= 1

    def _start_writes(self) -> bool:
        """Starts the writes that a client without waiting for I/O needs to get clean buffers; says whether any."""
        idle = [buffer for buffer in self._cache.dirty.values() if buffer.state & (DIRTY | WRITING) == DIRTY]
        for buffer in idle:
            self._writeback.submit(buffer)
        if idle:
            self._lock.release()
            try:
                self._writeback.start()
            finally:
                self._lock.acquire()
        return bool(idle)
