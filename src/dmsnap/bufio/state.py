"""What the parts of one client share: where its blocks are, what is cached, what is counted, and who sleeps."""

from __future__ import annotations

import threading
from typing import NoReturn

from dmsnap.block.contract import SECTOR_BYTES, BadRequest, BlockDevice
from dmsnap.bufio.buffer import READING, Buffer
from dmsnap.bufio.cache import Cache
from dmsnap.bufio.counters import Counters, Trace
from dmsnap.bufio.memory import BlockMemory
from dmsnap.bufio.misuse import BufioMisuse

__all__ = ["ClientState", "start_in_bytes"]


class ClientState:
    """The shared state of a client. Methods are called with `lock` taken; I/O is never done with it taken.

    Attributes:
        device: Where the blocks are.
        block_size_bytes: Size of a block.
        start_bytes: Where block 0 begins.
        lock: Protects everything below, and the fields of every buffer.
        cache: The cached buffers.
        memory: The memory of blocks.
        counters: What happened so far; its fields that tell of 'now' are filled on request, except those in flight.
        trace: Hears of events, if anybody does.
        closed: Whether the client is over.
        sleepers: How many threads wait in `sleep`.
    """

    __slots__ = (
        "_clean",
        "_freed",
        "_spare",
        "block_size_bytes",
        "cache",
        "closed",
        "counters",
        "device",
        "lock",
        "memory",
        "sleepers",
        "start_bytes",
        "trace",
    )

    def __init__(
        self, device: BlockDevice, block_size_bytes: int, start_bytes: int, memory: BlockMemory, trace: Trace | None
    ) -> None:
        self.device = device
        self.block_size_bytes = block_size_bytes
        self.start_bytes = start_bytes
        self.lock = threading.Lock()
        self.cache = Cache()
        self.memory = memory
        self.counters = Counters()
        self.trace = trace
        self.closed = False
        self.sleepers = 0
        self._clean = self.cache.clean
        self._spare = memory.spare
        self._freed = threading.Condition(self.lock)

    @property
    def device_size_blocks(self) -> int:
        """Whole blocks between the start and the end of the device."""
        return max(0, self.device.size_bytes - self.start_bytes) // self.block_size_bytes

    def check_open(self) -> None:
        """Raises `BufioMisuse` after close."""
        if self.closed:
            raise BufioMisuse("bufio client used after close")

    def note(self, event: str, block: int) -> None:
        """Tells the trace of an event."""
        if self.trace is not None:
            self.trace(self.device.clock(), event, block)

    def unhold(self, buffer: Buffer) -> None:
        """Ends one hold; the last one drops an idle buffer with an error, so that a later read tries again."""
        buffer.holds -= 1
        if self.trace is not None:
            self.note("release", buffer.block)
        if not buffer.holds:
            if (buffer.read_error is not None or buffer.write_error is not None) and not buffer.state:
                self.drop(buffer, "drop")
            elif self.sleepers:
                self._freed.notify_all()

    def refuse(self, buffer: Buffer) -> NoReturn:
        """Ends the hold of a buffer whose read failed, and raises the error of that read."""
        error = buffer.read_error
        assert error is not None
        self.unhold(buffer)
        raise error

    def drop(self, buffer: Buffer, event: str) -> None:
        """Takes an idle buffer that nobody holds out of the cache, and its memory back."""
        assert not buffer.holds, buffer
        assert not buffer.state, buffer
        if self.trace is not None:
            self.note(event, buffer.block)
        if buffer.unread:
            self.counters.prefetch_wasted += 1
        if self._clean.pop(buffer.block, None) is None:
            del self.cache.dirty[buffer.block]
        self._spare.append(buffer.data)
        if self.sleepers:
            self._freed.notify_all()

    def empty(self) -> None:
        """Drops every buffer, which must have no I/O, and lets go of memory; held buffers keep theirs, unlinked."""
        for buffer in self.cache.buffers():
            self.memory.spare.append(buffer.data)
        self.cache.clear()
        self.memory.trim()
        self._freed.notify_all()

    def give(self, memory: memoryview) -> None:
        """Takes the memory of a block back."""
        self.memory.spare.append(memory)
        if self.sleepers:
            self._freed.notify_all()

    def end_read(self, buffer: Buffer, error: Exception | None) -> None:
        """Notes that the read into a buffer is over; what was noted already it leaves alone."""
        if not buffer.state & READING:
            return
        buffer.state = 0
        self.counters.in_flight -= 1
        if error is not None:
            buffer.read_error = error
            self.counters.read_errors += 1
        if self.trace is not None:
            self.note("arrived", buffer.block)
        if buffer.changed is not None or self.sleepers:
            self.io_over(buffer)

    def io_over(self, buffer: Buffer) -> None:
        """Lets those who wait for the buffer's I/O, or for any buffer, look again."""
        if buffer.changed is not None:
            buffer.changed.notify_all()
        if self.sleepers:
            self._freed.notify_all()

    def wake(self) -> None:
        """Lets those who sleep look again."""
        self._freed.notify_all()

    def sleep(self) -> None:
        """Gives the lock up until a buffer is released, dropped, or has no I/O any more."""
        self.counters.sleeps += 1
        self.sleepers += 1
        try:
            self._freed.wait()
        finally:
            self.sleepers -= 1


def start_in_bytes(start_sectors: int) -> int:
    """Where a client begins on its device.

    Raises:
        BadRequest: Before it.
    """
    if start_sectors < 0:
        raise BadRequest(f"a bufio client cannot start {-start_sectors} sectors before its device")
    return start_sectors * SECTOR_BYTES
