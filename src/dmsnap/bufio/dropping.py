"""The end of a cache: everything written, every buffer dropped, and those found out who still hold one."""

from __future__ import annotations

from dmsnap.bufio.buffer import READING, WRITING
from dmsnap.bufio.misuse import BufferLeaked
from dmsnap.bufio.state import ClientState
from dmsnap.bufio.writeback import Writeback

__all__ = ["drop_all"]


def drop_all(state: ClientState, writeback: Writeback) -> None:
    """Writes what is dirty, waits for all I/O, and drops every buffer. Lock: not taken.

    Raises:
        BufferLeaked: Buffers were held; they are dropped all the same.
    """
    writeback.write_all()
    with state.lock:
        for buffer in state.cache.buffers():
            buffer.wait_while(READING | WRITING, state)
        leaked = [buffer for buffer in state.cache.buffers() if buffer.holds]
        for buffer in leaked:
            buffer.holds = 0  # so that a late release is found out
        state.counters.prefetch_wasted += sum(buffer.unread for buffer in state.cache.buffers())
        state.empty()
    if leaked:
        blocks = tuple(sorted(buffer.block for buffer in leaked))
        raise BufferLeaked(
            f"bufio client dropped with {len(blocks)} held buffers: blocks {', '.join(map(str, blocks[:8]))}",
            hint="release every buffer before",
            blocks=blocks,
        )
