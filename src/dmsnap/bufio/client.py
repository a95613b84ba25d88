"""The client: a cache of fixed-size blocks of one device, after Linux dm-bufio (as of Linux 6.17).

What differs from Linux on purpose: memory is what the client's own limit allows, where Linux shares 2 % of the
machine's; `BufioClient.set_minimum_buffers` works, as it did to Linux 6.3; `BufioClient.discard` converts its length
properly where Linux adds the client's start to it, and refuses what lies outside, as `BufioClient.read` does;
`BufioClient.release_move`, which Linux gave up, is there. Where Linux has functions of their own for reads with an I/O
priority (``dm_bufio_read_with_ioprio``, since 6.10), here they take one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Self

from dmsnap.block.contract import SECTOR_BYTES, BadRequest, BlockDevice
from dmsnap.block.priority import IOPriority
from dmsnap.bufio.allocation import Allocator
from dmsnap.bufio.buffer import READING, Buffer
from dmsnap.bufio.counters import Counters, Trace
from dmsnap.bufio.dropping import drop_all
from dmsnap.bufio.memory import BlockMemory
from dmsnap.bufio.misuse import BufferLeaked, BufioMisuse, callback_threads, refuse_in_callback
from dmsnap.bufio.moving import release_move
from dmsnap.bufio.reading import Reader
from dmsnap.bufio.state import ClientState, start_in_bytes
from dmsnap.bufio.writeback import Writeback

__all__ = ["DEFAULT_CACHE_BYTES", "BufioClient"]

DEFAULT_CACHE_BYTES: Final = 64 << 20
"""How much memory a client uses at most, reserved buffers not counted, unless told otherwise."""


class BufioClient:
    """A cache of blocks of ``device``; any number of threads may use it.

    To be sure not to deadlock, one thread may hold up to ``reserved_buffers`` buffers at once and every other thread
    one, as in Linux; threads that only `get` are not limited.

    Args:
        device: Where the blocks are. The client does not close it.
        block_size_bytes: Size of a block, a multiple of 512; it need not be a power of two.
        reserved_buffers: Buffers kept back for when the cache is full of held ones: the guarantee of progress.
        aux: Makes `Buffer.aux` of each buffer.
        alloc_callback: Called with each buffer that was given to a block, before it is in the cache.
        write_callback: Called with a buffer just before it is written (for checksums, say), by the thread that writes.
        no_sleep: Eviction never waits for I/O, and `forget_buffers` is not allowed.
        start_sectors: Where block 0 begins, in sectors of 512 bytes.
        cache_bytes: Upper limit of memory, reserved buffers not counted. Less than a block leaves only those.
        max_buffers: The same in buffers; wins over ``cache_bytes``.
        writers: How many threads may write in the background. With 0 the caller that starts writes does them itself.
        trace: Hears what happens when.

    Raises:
        BadRequest: The block size is none.
    """

    def __init__(
        self,
        device: BlockDevice,
        block_size_bytes: int,
        *,
        reserved_buffers: int = 1,
        aux: Callable[[], Any] | None = None,
        alloc_callback: Callable[[Buffer], object] | None = None,
        write_callback: Callable[[Buffer], object] | None = None,
        no_sleep: bool = False,
        start_sectors: int = 0,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        max_buffers: int | None = None,
        writers: int = 1,
        trace: Trace | None = None,
    ) -> None:
        if block_size_bytes <= 0 or block_size_bytes % SECTOR_BYTES:
            raise BadRequest(f"block size not specified or is not multiple of {SECTOR_BYTES}b: {block_size_bytes}")
        limit = cache_bytes // block_size_bytes if max_buffers is None else max_buffers
        if min(limit, reserved_buffers) < 0 or limit + reserved_buffers < 1:
            raise BadRequest("a bufio client without a single buffer", hint="allow a larger cache or reserve a buffer")
        state = ClientState(
            device,
            block_size_bytes,
            start_in_bytes(start_sectors),
            BlockMemory(block_size_bytes, limit, reserved_buffers),
            trace,
        )
        self.device = device
        self.block_size_bytes = block_size_bytes
        self._no_sleep = no_sleep
        self._state = state
        self._lock = state.lock
        self._clean = state.cache.clean
        self._dirty = state.cache.dirty
        self._trace = trace
        self._counters = state.counters
        self._writeback = Writeback(state, write_callback, threads=writers)
        self._allocator = Allocator(state, self._writeback, no_sleep=no_sleep)
        self._reader = Reader(state, self._allocator, self._writeback, partial(Buffer, self), aux, alloc_callback)

    # -- getting buffers ----------------------------------------------------------------------------------------------

    def read(self, block: int, priority: IOPriority | None = None) -> Buffer:
        """Returns the block's buffer, held; reads it unless cached, and waits for a pending read.

        Args:
            block: Its number.
            priority: Of the read, if there has to be one; None leaves the thread's own.

        Raises:
            BadRequest: The block is outside the device.
            IOFailed: The read failed; so may a prefetch before. The error stays while others hold the buffer: a read
                after that tries again.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        if callback_threads:
            refuse_in_callback("read")
        with self._lock:
            buffer = self._clean.get(block) or self._dirty.get(block)
            if buffer is not None and not buffer.state & READING and buffer.read_error is None:
                buffer.holds += 1
                buffer.referenced = True
                buffer.unread = False
                self._counters.hits += 1
                if self._trace is not None:
                    self._trace(self.device.clock(), "hit", block)
                return buffer
        return self._reader.obtain(block, READING, priority)

    def get(self, block: int) -> Buffer | None:
        """Returns the block's buffer, held, or None where it is not cached or still being read. Never waits.

        Raises:
            IOFailed: The block was prefetched, and that failed.
        """
        with self._lock:
            buffer = self._clean.get(block) or self._dirty.get(block)
            if buffer is None or buffer.state & READING:
                self._state.check_open()
                return None
            buffer.holds += 1
            buffer.referenced = True
            buffer.unread = False
            self._counters.hits += 1
            if self._trace is not None:
                self._trace(self.device.clock(), "hit", block)
            if buffer.read_error is not None:
                self._state.refuse(buffer)
            return buffer

    def new(self, block: int) -> Buffer:
        """Returns the block's buffer, held, without reading: for a block that is to be overwritten.

        The content is what is cached, after waiting for a pending read; else it is undefined (zeros, or stale bytes
        of other blocks of this device). The buffer is clean until marked dirty. May wait for memory.

        Raises:
            IOFailed: The block was prefetched, and that failed.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("new")
        return self._reader.obtain(block, 0)

    def prefetch(self, block: int, count: int = 1, priority: IOPriority | None = None) -> None:
        """Starts reading ``count`` blocks from ``block``; see `prefetch_blocks`."""
        self.prefetch_blocks(range(max(block, 0), min(block + count, self.device_size_blocks)), priority)

    def prefetch_blocks(self, blocks: Sequence[int], priority: IOPriority | None = None) -> None:
        """Starts reading the blocks that are not cached, in one batch, and does not wait for memory or I/O.

        It ends silently where memory for more would have to be waited for. Blocks outside the device are passed
        over. An error of a read shows when the block is read.

        Raises:
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("prefetch")
        self._reader.prefetch(blocks, priority)

    # -- giving buffers back ------------------------------------------------------------------------------------------

    def release(self, buffer: Buffer, *, forget: bool = False) -> None:
        """Ends one hold. The last one drops a buffer whose read or write failed, so that a later read tries again.

        Args:
            buffer: What `read`, `get` or `new` returned.
            forget: Go on with `forget` of its block: for those who read everything once.

        Raises:
            BufioMisuse: The buffer is not held, or not of this client.
        """
        with self._lock:
            if buffer.holds < 1 or buffer.client is not self:
                raise BufioMisuse(f"bufio release of a buffer that is not held: {buffer!r}", block=buffer.block)
            if forget and buffer.holds == 1 and not buffer.state:
                buffer.holds = 0
                self._state.drop(buffer, "forget")
            else:
                self._state.unhold(buffer)

    def release_move(self, buffer: Buffer, new_block: int) -> None:
        """Ends a hold; the content is that of ``new_block`` from now on. See `dmsnap.bufio.moving.release_move`."""
        release_move(self._state, self._writeback, buffer, new_block)

    def take(self, blocks: Sequence[int], into: memoryview) -> int:
        """Moves blocks out of the cache: `get`, copy, `release` and `forget` of each in one step.

        For those who read everything once. It never waits, and ends before the first block that is not cached, still
        being read, held, dirty, or whose read failed.

        Args:
            blocks: Their numbers, in the order wanted.
            into: Filled from its start, block after block, and large enough for all.

        Returns:
            How many blocks were moved.

        Raises:
            BufioMisuse: After `close`.
        """
        return self._reader.take(blocks, into)

    def forget(self, block: int) -> None:
        """Drops a block from the cache, where it is cached, nobody holds it, and it is clean and idle: a hint."""
        with self._lock:
            buffer = self._clean.get(block) or self._dirty.get(block)
            if buffer is not None and not buffer.holds and not buffer.state:
                self._state.drop(buffer, "forget")

    def forget_buffers(self, block: int, count: int) -> None:
        """Drops ``count`` blocks from ``block`` as `forget` does.

        Raises:
            BufioMisuse: On a client made with ``no_sleep``.
        """
        if self._no_sleep:
            raise BufioMisuse("bufio forget_buffers on a client that must not sleep")
        with self._lock:
            for buffer in self._state.cache.buffers():
                if block <= buffer.block < block + count and not buffer.holds and not buffer.state:
                    self._state.drop(buffer, "forget")

    # -- writing ------------------------------------------------------------------------------------------------------

    def mark_dirty(self, buffer: Buffer) -> None:
        """Says that all of a held buffer was changed. Errors as `mark_partial_dirty`."""
        self.mark_partial_dirty(buffer, 0, self.block_size_bytes)

    def mark_partial_dirty(self, buffer: Buffer, start: int, end: int) -> None:
        """Says that bytes ``[start, end)`` of a held buffer were changed; until it is written the ranges are united.

        Raises:
            BufioMisuse: An empty range or one outside the block, or a buffer that is not held or still being read.
        """
        if not 0 <= start < end <= self.block_size_bytes:
            raise BufioMisuse(f"bufio dirty range [{start}, {end}) is empty or outside the block", block=buffer.block)
        with self._lock:
            if buffer.holds < 1 or buffer.client is not self or buffer.state & READING:
                raise BufioMisuse(f"bufio dirtying of {buffer!r}", hint="hold it, and read it to the end first")
            self._state.cache.mark_dirty(buffer, start, end)

    def write_dirty_async(self) -> None:
        """Starts writing every dirty buffer; waits only for those that are being written already.

        Raises:
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("write_dirty_async")
        self._state.check_open()
        self._writeback.start_all()

    def write_dirty(self) -> None:
        """Writes every dirty buffer, waits for all writes, and flushes the device.

        Raises:
            IOFailed: The first error of any write since the last call, background writes and evictions included;
                else that of the flush. A buffer whose write failed is not dirty any more and is not written again.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("write_dirty")
        self._state.check_open()
        write_error = self._writeback.write_all()
        try:
            self.device.flush()
        except Exception:
            if write_error is None:
                raise
        if write_error is not None:
            raise write_error

    def flush(self) -> None:
        """Makes durable what was written; dirty buffers are left alone.

        Raises:
            IOFailed: The device failed.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("flush")
        self._state.check_open()
        self.device.flush()

    def discard(self, block: int, count: int) -> None:
        """Tells the device that ``count`` blocks from ``block`` are not needed. What is cached stays as it is.

        Raises:
            BadRequest: The blocks are not all on the device.
            IOFailed, ReadOnlyDevice: From the device.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("discard")
        self._state.check_open()
        if block < 0 or count < 0 or block + count > self.device_size_blocks:
            raise BadRequest(f"bufio discard of {count} blocks from {block}, of {self.device_size_blocks}", block=block)
        start_bytes = self._state.start_bytes
        self.device.discard(start_bytes + block * self.block_size_bytes, count * self.block_size_bytes)

    # -- the client itself --------------------------------------------------------------------------------------------

    @property
    def device_size_blocks(self) -> int:
        """Whole blocks between the client's start and the end of the device; 0 where the start is beyond the end."""
        return self._state.device_size_blocks

    @property
    def counters(self) -> Counters:
        """The counters now; a copy."""
        with self._lock:
            return dataclasses.replace(
                self._counters,
                held=sum(buffer.holds > 0 for buffer in self._state.cache.buffers()),
                clean=len(self._clean),
                dirty=len(self._dirty),
                memory_blocks=self._state.memory.in_use,
            )

    def set_minimum_buffers(self, count: int) -> None:
        """Sets how many cached blocks are not evicted for a new one while there is another way (the reserve, say).

        It is a floor under eviction and no guarantee. Linux did this to 6.3 and has ignored the number since.
        """
        with self._lock:
            self._allocator.minimum_buffers = count

    def set_sector_offset(self, start_sectors: int) -> None:
        """Sets where block 0 begins. What is cached stays as it is: `reset` first.

        Raises:
            BadRequest: It is negative.
            BufioMisuse: I/O is running.
        """
        start_bytes = start_in_bytes(start_sectors)
        with self._lock:
            if self._counters.in_flight or self._counters.writes_in_flight:
                raise BufioMisuse("bufio sector offset changed while I/O is running")
            self._state.start_bytes = start_bytes

    def reset(self) -> None:
        """Writes what is dirty, waits for all I/O, and drops every buffer. Write errors are lost: `write_dirty` first.

        Raises:
            BufferLeaked: Buffers were held; they are dropped all the same and must not be used any more.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("reset")
        with self._lock:
            self._state.check_open()
        drop_all(self._state, self._writeback)

    def close(self) -> None:
        """Does as `reset`, for good. A second call does nothing."""
        refuse_in_callback("close")
        with self._lock:
            if self._state.closed:
                return
            self._state.closed = True
        drop_all(self._state, self._writeback)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            self.close()
        except BufferLeaked:
            if kind is None:  # else the leak is only what the error left behind
                raise
