"""One cached block: its memory, its holds and its state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from dmsnap.block.completion import Completion
    from dmsnap.bufio.client import BufioClient
    from dmsnap.bufio.state import ClientState

__all__ = ["DIRTY", "READING", "WRITING", "Buffer"]

READING: Final = 1
"""State bit: a read into the buffer is pending; nobody may touch its content."""
WRITING: Final = 2
"""State bit: a write of the buffer is queued or on its way."""
DIRTY: Final = 4
"""State bit: the buffer holds bytes that no write has taken up yet."""


class Buffer:
    """A block in the cache, handed out by a `BufioClient` and valid until it is released.

    As a context manager it releases itself: ``with client.read(7) as buffer: …``.

    Attributes:
        client: The client it belongs to.
        block: The number of the block.
        data: The content, ``block_size_bytes`` long and writable. Changes reach the device only after `mark_dirty` (or
            `mark_partial_dirty`) of the client. The memory is used again after the last release: keep no slice of it.
        aux: The caller's own; what the client's ``aux`` factory made, else None.
    """

    # One object stands for one stay of a block in the cache and is never used again (its memory is), so a release too
    # many cannot hit a later holder.
    __slots__ = (
        "aux",
        "block",
        "changed",
        "client",
        "data",
        "dirty_end",
        "dirty_start",
        "holds",
        "pending",
        "read_error",
        "referenced",
        "state",
        "unread",
        "write_error",
    )

    dirty_start: int
    dirty_end: int

    def __init__(self, client: BufioClient, block: int, data: memoryview, state: int, holds: int) -> None:
        self.client = client
        self.block = block
        self.data = data
        self.aux: Any = None
        self.holds = holds
        self.state = state
        self.referenced = False
        self.unread = not holds  # prefetched, and nobody has asked for it yet
        self.read_error: Exception | None = None
        self.write_error: Exception | None = None
        self.changed: threading.Condition | None = None  # made by the first thread that waits for I/O
        self.pending: Completion | None = None  # of the read, where it did not end at once

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.release(self)

    def __repr__(self) -> str:
        bits = [
            name for bit, name in ((READING, "reading"), (WRITING, "writing"), (DIRTY, "dirty")) if self.state & bit
        ]
        return f"<Buffer block={self.block} holds={self.holds} {'|'.join(bits) or 'clean'}>"

    def wait_while(self, bits: int, state: ClientState) -> None:
        """Waits until no bit of ``bits`` is set. Called and returns with the client's lock taken.

        For a started read it waits at the device, where time may be simulated. That a read is over it sees for itself:
        who should have told may have been interrupted.
        """
        if self.state & bits and self.changed is None:
            self.changed = threading.Condition(state.lock)
        while self.state & bits:
            read = self.pending
            if read is None or not self.state & bits & READING:
                assert self.changed is not None
                self.changed.wait()
            elif read.done:
                state.end_read(self, read.error)
            else:
                state.lock.release()
                try:
                    read.wait()
                except Exception:  # that of the read is in `read_error`; any other means that it will never end
                    if not read.done:
                        raise
                finally:
                    state.lock.acquire()
