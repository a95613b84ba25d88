"""Bringing blocks into the cache: on demand, for overwriting, and ahead of demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BadRequest, IOFailed
from dmsnap.block.priority import IOPriority, io_priority
from dmsnap.bufio.allocation import Allocator
from dmsnap.bufio.buffer import READING, Buffer
from dmsnap.bufio.misuse import run_callback
from dmsnap.bufio.state import ClientState
from dmsnap.bufio.writeback import Writeback

__all__ = ["Reader"]


class Reader:
    """Makes buffers for blocks that are not cached. Methods say whether the client's lock must be taken.

    Args:
        state: The client's.
        allocator: Finds memory.
        writeback: Asked to look at the dirty list after each insertion.
        make: Makes a buffer: block, memory, state bits, holds.
        aux: Makes `Buffer.aux`.
        alloc_callback: Called with a buffer before it is put into the cache.
    """

    def __init__(
        self,
        state: ClientState,
        allocator: Allocator,
        writeback: Writeback,
        make: Callable[[int, memoryview, int, int], Buffer],
        aux: Callable[[], Any] | None,
        alloc_callback: Callable[[Buffer], object] | None,
    ) -> None:
        self._state = state
        self._allocator = allocator
        self._writeback = writeback
        self._make = make
        self._aux = aux
        self._alloc_callback = alloc_callback
        self._hooked = aux is not None or alloc_callback is not None
        self._known_blocks = 0

    def obtain(self, block: int, bits: int, priority: IOPriority | None = None) -> Buffer:
        """Returns the buffer of a block, held. Lock: not taken.

        Args:
            block: Its number.
            bits: `READING` to read it where it is not cached, 0 to leave the memory as it is.
            priority: Of the read.
        """
        state = self._state
        if not 0 <= block < self._known_blocks:
            self._check_inside(block, bits)
        with state.lock:
            while True:
                state.check_open()
                buffer = state.cache.find(block)
                if buffer is not None:
                    return self._hold_when_read(buffer)
                memory = self._allocator.obtain()
                if memory is None:
                    continue
                if self._is_late(block):
                    state.give(memory)
                    continue
                buffer = self._make(block, memory, bits, 1)
                if not self._hooked or self._prepare(buffer):
                    break
            state.cache.clean[block] = buffer
            state.counters.misses += 1
            if bits:
                self._count_reads(1)
            state.note("miss" if bits else "new", block)
            self._writeback.check_ratio()
        self._fill(buffer, priority)
        return buffer

    def prefetch(self, blocks: Sequence[int], priority: IOPriority | None = None) -> None:
        """Starts reading blocks, as many as there is memory at hand for. Lock: not taken."""
        state = self._state
        device_blocks = state.device_size_blocks
        buffers: list[Buffer] = []
        completions: Sequence[Completion] = ()
        try:
            with state.lock:
                state.check_open()
                self._insert(blocks, device_blocks, buffers)
                if not buffers:
                    return
                self._writeback.check_ratio()
            completions = self._start_reads(buffers, priority)
            self._end_batch(buffers, completions)
        except BaseException as error:  # of the caller's hooks, or an interrupt at any moment
            self._interrupted(buffers, completions, _kept(error))
            raise
        self._writeback.start()

    def _start_reads(self, buffers: list[Buffer], priority: IOPriority | None) -> Sequence[Completion]:
        """Starts reading buffers; what the device raises is for whoever wants the block. Lock: not taken."""
        size, start = self._state.block_size_bytes, self._state.start_bytes
        try:
            with io_priority(priority):
                return self._state.device.start_reads(
                    [(start + buffer.block * size, buffer.data) for buffer in buffers]
                )
        except Exception as error:  # noqa: BLE001
            return [Completion.failed(error)] * len(buffers)

    def take(self, blocks: Sequence[int], into: memoryview) -> int:
        """Moves out the first blocks that are cached, idle and not held; says how many. Lock: not taken."""
        state, size, taken = self._state, self._state.block_size_bytes, 0
        clean, drop = state.cache.clean, state.drop
        with state.lock:
            state.check_open()
            for block in blocks:
                buffer = clean.get(block)
                if buffer is None or buffer.state or buffer.holds or buffer.read_error is not None:
                    break
                into[taken * size : (taken + 1) * size] = buffer.data
                taken += 1
                buffer.unread = False
                if state.trace is not None:
                    state.note("hit", block)
                drop(buffer, "forget")
            state.counters.hits += taken
        return taken

    def _insert(self, blocks: Sequence[int], device_blocks: int, buffers: list[Buffer]) -> None:
        """Caches the blocks that are not, to be read, and adds their buffers to ``buffers``. Lock: taken."""
        state, make, at_hand, hooked = self._state, self._make, self._allocator.at_hand, self._hooked
        clean, dirty = state.cache.clean, state.cache.dirty
        spare, reserved = state.memory.spare, state.memory.reserved
        try:
            for block in blocks:
                if block in clean or block in dirty or not 0 <= block < device_blocks:
                    continue
                # With more spare memory than the reserve the limit is not reached: the common case, and a fast one.
                memory = spare.pop() if len(spare) > reserved else at_hand()
                if memory is None:
                    break
                buffer = make(block, memory, READING, 0)
                if hooked and not self._prepare(buffer):
                    continue
                buffers.append(buffer)
                clean[block] = buffer
        finally:
            state.counters.prefetched += len(buffers)
            self._count_reads(len(buffers))
        if state.trace is not None:
            for buffer in buffers:
                state.note("prefetch", buffer.block)

    def _fill(self, buffer: Buffer, priority: IOPriority | None) -> None:
        """Starts background writes that have to be, and reads the buffer if it is to be read. Lock: not taken."""
        state, reads = self._state, buffer.state & READING
        try:
            self._writeback.start()
            if reads:
                with io_priority(priority):
                    state.device.read_into(state.start_bytes + buffer.block * state.block_size_bytes, buffer.data)
        except BaseException as error:
            with state.lock:
                if reads:
                    if not isinstance(error, Exception):  # the read may go on: nobody else may get its memory
                        buffer.data = memoryview(bytearray(state.block_size_bytes))
                    self._state.end_read(buffer, _kept(error))
                state.unhold(buffer)
            raise
        if reads:
            with state.lock:
                self._state.end_read(buffer, None)

    def _hold_when_read(self, buffer: Buffer) -> Buffer:
        state = self._state
        buffer.holds += 1
        buffer.referenced = True
        buffer.unread = False
        state.counters.hits += 1
        if buffer.state & READING:
            state.counters.waits += 1
            state.note("wait", buffer.block)
            try:
                buffer.wait_while(READING, state)
            except BaseException:
                state.unhold(buffer)
                raise
        else:
            state.note("hit", buffer.block)
        if buffer.read_error is not None:
            state.refuse(buffer)
        return buffer

    def _prepare(self, buffer: Buffer) -> bool:
        """Runs the caller's hooks, without the lock; says whether the block is still to be cached. Lock: taken."""
        self._state.lock.release()
        done = False
        try:
            if self._aux is not None:
                buffer.aux = self._aux()
            if self._alloc_callback is not None:
                run_callback(self._alloc_callback, buffer)
            done = True
        finally:
            self._state.lock.acquire()
            if not done or self._is_late(buffer.block):
                done = False
                self._state.give(buffer.data)
        return done

    def _is_late(self, block: int) -> bool:
        """Says whether a block must not be inserted: another thread did, or closed the client, meanwhile."""
        return self._state.closed or self._state.cache.find(block) is not None

    def _check_inside(self, block: int, bits: int) -> None:
        self._known_blocks = self._state.device_size_blocks  # a device may grow
        if block < 0 or (bits and block >= self._known_blocks):
            name = self._state.device.name
            raise BadRequest(
                f"{name}: block {block} is outside its {self._known_blocks} blocks", device=name, block=block
            )

    def _count_reads(self, count: int) -> None:
        counters = self._state.counters
        counters.in_flight += count
        if counters.in_flight > counters.max_in_flight:
            counters.max_in_flight = counters.in_flight

    def _end_batch(self, buffers: list[Buffer], completions: Sequence[Completion]) -> None:
        state, pending, at_hand = self._state, [], 0
        with state.lock:
            watched = state.trace is not None or state.sleepers
            for buffer, completion in zip(buffers, completions, strict=True):
                if completion is COMPLETED and buffer.changed is None and not watched:
                    buffer.state = 0  # what `end_read` does where nobody has to be told: this is the common case
                    at_hand += 1
                elif completion.done:
                    self._state.end_read(buffer, completion.error)
                else:
                    buffer.pending = completion
                    pending.append((buffer, completion))
            state.counters.in_flight -= at_hand
        for buffer, completion in pending:
            completion.add_done_callback(partial(self._arrived, buffer))

    def _interrupted(self, buffers: list[Buffer], completions: Sequence[Completion], error: Exception) -> None:
        """Makes sure that every read ends, though the work on them did not. Lock: not taken."""
        state = self._state
        with state.lock:
            for buffer, completion in zip(buffers, completions, strict=False):
                buffer.pending = completion
            for buffer in buffers[len(completions) :]:  # started perhaps: nobody else may get the memory
                buffer.data = memoryview(bytearray(state.block_size_bytes))
                state.end_read(buffer, error)

    def _arrived(self, buffer: Buffer, completion: Completion) -> None:
        """Hears from the device that a started read is over. Lock: not taken."""
        with self._state.lock:
            self._state.end_read(buffer, completion.error)


def _kept(error: BaseException) -> Exception:
    """Returns what to keep in a buffer for others: a `KeyboardInterrupt` concerns its own thread alone."""
    return error if isinstance(error, Exception) else IOFailed("the read was interrupted")
