"""The client: a cache of fixed-size blocks of one device, after Linux dm-bufio (as of Linux 6.17).

Two things differ from Linux on purpose. Memory is what the client's own limit allows, where Linux shares 2 % of the
machine's; and `BufioClient.discard` converts its length properly where Linux adds the client's start to it.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final, NoReturn, Self

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import SECTOR_BYTES, BadRequest, BlockDevice
from dmsnap.bufio.allocation import Allocator
from dmsnap.bufio.buffer import DIRTY, READING, WRITING, Buffer
from dmsnap.bufio.cache import Cache
from dmsnap.bufio.counters import Counters, Trace
from dmsnap.bufio.memory import BlockMemory
from dmsnap.bufio.misuse import BufferLeaked, BufioMisuse, refuse_in_callback, run_callback
from dmsnap.bufio.writeback import WRITE_GRAIN_BYTES, Writeback

__all__ = ["DEFAULT_CACHE_BYTES", "WRITEBACK_RATIO", "BufioClient"]

DEFAULT_CACHE_BYTES: Final = 64 << 20
"""How much memory a client uses at most, reserved buffers not counted, unless told otherwise."""

WRITEBACK_RATIO: Final = 3
"""Background writes start when there are this many times more DIRTY than CLEAN buffers (Linux dm-bufio)."""


class BufioClient:
    """A cache of blocks of ``device``; any number of threads may use it.

    To be sure not to deadlock, one thread may hold up to ``reserved_buffers`` buffers at once and every other thread one,
    as in Linux; threads that only `get` are not limited.

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
        if limit + reserved_buffers < 1:
            raise BadRequest("a bufio client without a single buffer", hint="allow a larger cache or reserve a buffer")
        self.device = device
        self.block_size_bytes = block_size_bytes
        self._start_bytes = start_sectors * SECTOR_BYTES
        self._known_blocks = 0
        self._aux = aux
        self._alloc_callback = alloc_callback
        self._hooked = aux is not None or alloc_callback is not None
        self._write_callback = write_callback
        self._no_sleep = no_sleep
        self._trace = trace
        self._closed = False
        self._counters = Counters()
        self._lock = threading.Lock()
        self._cache = Cache()
        self._clean = self._cache.clean
        self._dirty = self._cache.dirty
        self._memory = BlockMemory(block_size_bytes, limit, reserved_buffers)
        self._spare = self._memory.spare
        self._writeback = Writeback(
            self._lock,
            self._cache,
            self._write,
            self._io_ended,
            self._counters,
            threads=writers,
            grain_bytes=max(WRITE_GRAIN_BYTES, device.logical_block_size_bytes),
            block_size_bytes=block_size_bytes,
        )
        self._allocator = Allocator(
            self._lock, self._cache, self._memory, self._writeback, self._counters, trace, no_sleep=no_sleep
        )

    # -- getting buffers ----------------------------------------------------------------------------------------------

    def read(self, block: int) -> Buffer:
        """Returns the block's buffer, held; reads it unless cached, and waits for a pending read.

        Raises:
            BadRequest: The block is outside the device.
            IOFailed: The read failed; so may a prefetch before. The error stays while others hold the buffer: a read
                after that tries again.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("read")
        with self._lock:
            buffer = self._clean.get(block) or self._dirty.get(block)
            if buffer is not None and not buffer.state & READING and buffer.read_error is None:
                buffer.holds += 1
                buffer.referenced = True
                buffer.unread = False
                self._counters.hits += 1
                if self._trace is not None:
                    self._trace(perf_counter(), "hit", block)
                return buffer
        return self._obtain(block, READING)

    def get(self, block: int) -> Buffer | None:
        """Returns the block's buffer, held, or None where it is not cached or still being read. Never waits.

        Raises:
            IOFailed: The block was prefetched, and that failed.
        """
        with self._lock:
            buffer = self._clean.get(block) or self._dirty.get(block)
            if buffer is None or buffer.state & READING:
                return None
            buffer.holds += 1
            buffer.referenced = True
            buffer.unread = False
            self._counters.hits += 1
            if self._trace is not None:
                self._trace(perf_counter(), "hit", block)
            if buffer.read_error is None:
                return buffer
            return self._raise_read_error(buffer)

    def new(self, block: int) -> Buffer:
        """Returns the block's buffer, held, without reading: for a block that is to be overwritten.

        The content is what is cached, after waiting for a pending read; else it is undefined (zeros, or stale bytes
        of other blocks of this device). The buffer is clean until marked dirty. May wait for memory.

        Raises:
            IOFailed: The block was prefetched, and that failed.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("new")
        return self._obtain(block, 0)

    def prefetch(self, block: int, count: int = 1) -> None:
        """Starts reading ``count`` blocks from ``block``; see `prefetch_blocks`."""
        self.prefetch_blocks(range(max(block, 0), min(block + count, self.device_size_blocks)))

    def prefetch_blocks(self, blocks: Sequence[int]) -> None:
        """Starts reading the blocks that are not cached, in one batch, and does not wait for memory or I/O.

        It ends silently where memory for more would have to be waited for. Blocks outside the device are passed
        over. An error of a read shows when the block is read.

        Raises:
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("prefetch")
        clean, dirty, spare, size, start = (
            self._clean,
            self._dirty,
            self._spare,
            self.block_size_bytes,
            self._start_bytes,
        )
        reserved, hooked = self._memory.reserved, self._hooked
        device_blocks = self.device_size_blocks
        buffers: list[Buffer] = []
        requests: list[tuple[int, memoryview]] = []
        with self._lock:
            self._check_open()
            for block in blocks:
                if block in clean or block in dirty or not 0 <= block < device_blocks:
                    continue
                memory = spare.pop() if len(spare) > reserved else self._allocator.at_hand()
                if memory is None:
                    break
                buffer = Buffer(self, block, memory, READING, 0)
                if hooked and not self._prepare(buffer):
                    continue
                clean[block] = buffer
                buffers.append(buffer)
                requests.append((start + block * size, memory))
            if not buffers:
                return
            counters = self._counters
            counters.prefetched += len(buffers)
            self._count_reads(len(buffers))
            if self._trace is not None:
                now = perf_counter()
                for buffer in buffers:
                    self._trace(now, "prefetch", buffer.block)
            self._check_ratio()
        try:
            completions = self.device.start_reads(requests)
        except Exception as error:  # noqa: BLE001  none was started; whatever it is shows when a block is read
            completions = [Completion.failed(error)] * len(requests)
        pending = []
        with self._lock:
            for buffer, completion in zip(buffers, completions, strict=True):
                if completion is COMPLETED or completion.done:
                    self._end_read(buffer, completion.error)
                else:
                    pending.append((buffer, completion))
        for buffer, completion in pending:
            completion.add_done_callback(partial(self._arrived, buffer))
        self._writeback.start()

    # -- giving buffers back ------------------------------------------------------------------------------------------

    def release(self, buffer: Buffer) -> None:
        """Ends one hold. The last one drops a buffer whose read or write failed, so that a later read tries again.

        Raises:
            BufioMisuse: The buffer is not held, or not of this client.
        """
        with self._lock:
            if buffer.holds < 1 or buffer.client is not self:
                raise BufioMisuse(
                    f"bufio release of a buffer that is not held: block {buffer.block}", block=buffer.block
                )
            self._unhold(buffer)

    def forget(self, block: int) -> None:
        """Drops a block from the cache, where it is cached, nobody holds it, and it is clean and idle: a hint."""
        with self._lock:
            buffer = self._clean.get(block) or self._dirty.get(block)
            if buffer is not None:
                self._forget(buffer)

    def forget_buffers(self, block: int, count: int) -> None:
        """Drops ``count`` blocks from ``block`` as `forget` does.

        Raises:
            BufioMisuse: On a client made with ``no_sleep``.
        """
        if self._no_sleep:
            raise BufioMisuse("bufio forget_buffers on a client that must not sleep")
        with self._lock:
            for buffer in self._cache.buffers():
                if block <= buffer.block < block + count:
                    self._forget(buffer)

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
            self._cache.mark_dirty(buffer, start, end)

    def write_dirty_async(self) -> None:
        """Starts writing every dirty buffer; waits only for those that are being written already.

        Raises:
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("write_dirty_async")
        with self._lock:
            self._check_open()
            self._submit_dirty()
        self._writeback.start()

    def write_dirty(self) -> None:
        """Writes every dirty buffer, waits for all writes, and flushes the device.

        Raises:
            IOFailed: The first error of any write since the last call, background writes and evictions included;
                else that of the flush. A buffer whose write failed is not dirty any more and is not written again.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("write_dirty")
        with self._lock:
            self._check_open()
            writing = self._submit_dirty()
        self._write_out(writing)
        with self._lock:
            write_error = self._writeback.take_error()
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
            BufioMisuse: Called inside a callback.
        """
        refuse_in_callback("flush")
        self.device.flush()

    def discard(self, block: int, count: int) -> None:
        """Tells the device that ``count`` blocks from ``block`` are not needed. What is cached stays as it is.

        Raises:
            BadRequest, IOFailed, ReadOnlyDevice: From the device.
            BufioMisuse: Called inside a callback.
        """
        refuse_in_callback("discard")
        self.device.discard(self._start_bytes + block * self.block_size_bytes, count * self.block_size_bytes)

    # -- the client itself --------------------------------------------------------------------------------------------

    @property
    def device_size_blocks(self) -> int:
        """Whole blocks between the client's start and the end of the device; 0 where the start is beyond the end."""
        self._known_blocks = max(0, self.device.size_bytes - self._start_bytes) // self.block_size_bytes
        return self._known_blocks

    @property
    def counters(self) -> Counters:
        """The counters now; a copy."""
        with self._lock:
            return dataclasses.replace(
                self._counters,
                held=sum(buffer.holds > 0 for buffer in self._cache.buffers()),
                clean=len(self._clean),
                dirty=len(self._dirty),
                memory_blocks=self._memory.in_use,
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
            BufioMisuse: I/O is running.
        """
        with self._lock:
            if self._counters.in_flight or self._counters.writes_in_flight:
                raise BufioMisuse("bufio sector offset changed while I/O is running")
            self._start_bytes = start_sectors * SECTOR_BYTES
            self._known_blocks = 0

    def reset(self) -> None:
        """Writes what is dirty, waits for all I/O, and drops every buffer. Write errors are lost: `write_dirty` first.

        Raises:
            BufferLeaked: Buffers were held; they are dropped all the same and must not be used any more.
            BufioMisuse: Called inside a callback, or after `close`.
        """
        refuse_in_callback("reset")
        with self._lock:
            self._check_open()
        self._drop_all()

    def close(self) -> None:
        """Does as `reset`, for good. A second call does nothing."""
        refuse_in_callback("close")
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._drop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            self.close()
        except BufferLeaked:
            if kind is None:  # else the leak is only what the error left behind
                raise

    # -- inside: the lock is taken unless said otherwise --------------------------------------------------------------

    def _obtain(self, block: int, state: int) -> Buffer:
        """Returns the buffer of a block, cached or made; ``state`` READING reads it. Lock: not taken."""
        if not 0 <= block < self._known_blocks and (block < 0 or (state and block >= self.device_size_blocks)):
            raise BadRequest(
                f"{self.device.name}: block {block} is outside its {self._known_blocks} blocks",
                device=self.device.name,
                block=block,
            )
        with self._lock:
            while True:
                self._check_open()
                buffer = self._cache.find(block)
                if buffer is not None:
                    return self._hold_when_read(buffer)
                memory = self._allocator.obtain()
                if memory is None:
                    continue
                if self._cache.find(block) is not None or self._closed:
                    self._allocator.give(memory)  # while the lock was given up
                    continue
                buffer = Buffer(self, block, memory, state, 1)
                if self._hooked and not self._prepare(buffer):
                    continue
                break
            self._clean[block] = buffer
            self._counters.misses += 1
            if state:
                self._count_reads(1)
            if self._trace is not None:
                self._trace(perf_counter(), "miss" if state else "new", block)
            self._check_ratio()
        self._writeback.start()
        if state:
            self._fill(buffer)
        return buffer

    def _fill(self, buffer: Buffer) -> None:
        """Reads a buffer in this thread. Lock: not taken."""
        try:
            self.device.read_into(self._start_bytes + buffer.block * self.block_size_bytes, buffer.data)
        except BaseException as error:
            # Kept in the buffer for those who wait for it; a `KeyboardInterrupt` is for this thread alone.
            kept = error if isinstance(error, Exception) else OSError("the read was interrupted")
            with self._lock:
                self._end_read(buffer, kept)
                self._unhold(buffer)
            raise
        with self._lock:
            self._end_read(buffer, None)

    def _hold_when_read(self, buffer: Buffer) -> Buffer:
        buffer.holds += 1
        buffer.referenced = True
        buffer.unread = False
        self._counters.hits += 1
        waits = buffer.state & READING
        if self._trace is not None:
            self._trace(perf_counter(), "wait" if waits else "hit", buffer.block)
        if waits:
            self._counters.waits += 1
            buffer.wait_while(READING, self._lock)
        if buffer.read_error is not None:
            self._raise_read_error(buffer)
        return buffer

    def _raise_read_error(self, buffer: Buffer) -> NoReturn:
        error = buffer.read_error
        assert error is not None
        self._unhold(buffer)
        raise error

    def _prepare(self, buffer: Buffer) -> bool:
        """Runs the caller's hooks on a new buffer, without the lock; says whether its block is still to be cached."""
        self._lock.release()
        try:
            if self._aux is not None:
                buffer.aux = self._aux()
            if self._alloc_callback is not None:
                run_callback(self._alloc_callback, buffer)
        except BaseException:
            self._lock.acquire()
            self._allocator.give(buffer.data)
            raise
        self._lock.acquire()
        if self._cache.find(buffer.block) is None and not self._closed:
            return True
        self._allocator.give(buffer.data)
        return False

    def _count_reads(self, count: int) -> None:
        counters = self._counters
        counters.in_flight += count
        if counters.in_flight > counters.max_in_flight:
            counters.max_in_flight = counters.in_flight

    def _arrived(self, buffer: Buffer, completion: Completion) -> None:
        """Hears from the device that a started read is over. Lock: not taken."""
        with self._lock:
            self._end_read(buffer, completion.error)

    def _end_read(self, buffer: Buffer, error: Exception | None) -> None:
        buffer.state = 0
        self._counters.in_flight -= 1
        if error is not None:
            buffer.read_error = error
            self._counters.read_errors += 1
        if self._trace is not None:
            self._trace(perf_counter(), "arrived", buffer.block)
        if buffer.changed is not None:
            buffer.changed.notify_all()
        if self._allocator.sleepers:
            self._allocator.wake()

    def _io_ended(self, buffer: Buffer) -> None:
        if self._trace is not None:
            self._trace(perf_counter(), "written", buffer.block)
        if buffer.changed is not None:
            buffer.changed.notify_all()
        self._allocator.wake()

    def _unhold(self, buffer: Buffer) -> None:
        buffer.holds -= 1
        if self._trace is not None:
            self._trace(perf_counter(), "release", buffer.block)
        if not buffer.holds:
            if (buffer.read_error is not None or buffer.write_error is not None) and not buffer.state:
                self._allocator.drop(buffer)
            elif self._allocator.sleepers:
                self._allocator.wake()

    def _forget(self, buffer: Buffer) -> None:
        if not buffer.holds and not buffer.state:
            if self._trace is not None:
                self._trace(perf_counter(), "forget", buffer.block)
            self._allocator.drop(buffer)

    def _check_ratio(self) -> None:
        if len(self._dirty) > WRITEBACK_RATIO * len(self._clean):
            self._cache.settle()
            for buffer in self._dirty.values():
                if buffer.state & WRITING:
                    break
                if buffer.state & DIRTY:
                    self._writeback.submit(buffer)

    def _submit_dirty(self) -> list[Buffer]:
        self._cache.settle()
        buffers = list(self._dirty.values())
        for buffer in buffers:
            if buffer.state & DIRTY:
                buffer.wait_while(WRITING, self._lock)
                if buffer.state & DIRTY:
                    self._writeback.submit(buffer)
        return buffers

    def _write(self, buffer: Buffer, start: int, end: int) -> None:
        """Writes a range of a buffer. Lock: not taken."""
        if self._trace is not None:
            self._trace(perf_counter(), "write", buffer.block)
        if self._write_callback is not None:
            run_callback(self._write_callback, buffer)
        # A copy, so that a holder who goes on changing the buffer cannot tear what is on its way to the device.
        content = bytes(buffer.data[start:end])
        self.device.write_at(self._start_bytes + buffer.block * self.block_size_bytes + start, content)

    def _write_out(self, writing: list[Buffer]) -> None:
        """Sees writes that were submitted to their end. Lock: not taken."""
        self._writeback.join_in()
        with self._lock:
            self._writeback.wait(writing)
            self._cache.settle()

    def _drop_all(self) -> None:
        """Empties the cache. Lock: not taken."""
        with self._lock:
            writing = self._submit_dirty()
        self._write_out(writing)
        with self._lock:
            for buffer in self._cache.buffers():
                buffer.wait_while(READING | WRITING, self._lock)
            self._writeback.take_error()
            leaked = sorted(buffer.block for buffer in self._cache.buffers() if buffer.holds)
            self._counters.prefetch_wasted += sum(buffer.unread for buffer in self._cache.buffers())
            self._clean.clear()
            self._dirty.clear()
            self._cache.settle()
            self._memory.clear()
            self._allocator.wake()
        if leaked:
            raise BufferLeaked(
                f"bufio client dropped with {len(leaked)} held buffers: blocks {leaked[:8]}",
                hint="release every buffer before",
                blocks=tuple(leaked),
            )

    def _check_open(self) -> None:
        if self._closed:
            raise BufioMisuse("bufio client used after close")
