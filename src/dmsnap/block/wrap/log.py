"""A record of what was asked of a device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, Extent, ReadRequest
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = ["Event", "LogDevice", "LogOp"]

LogOp = Literal["read", "start_read", "write", "write_durably", "zero", "discard", "flush", "extents", "close"]


class Event(NamedTuple):
    """One request, in bytes; a flush and a close have no range."""

    op: LogOp
    offset: int = 0
    length: int = 0


class LogDevice(Wrapper):
    """Notes every request, in the order they came and before it is carried out, so that failed ones are there too.

    Requests that the contract refuses (out of range, misaligned, read-only) never reach a device and are not noted.

    Args:
        device: What to listen to.
        limit: Keep only so many, the latest; all without it.

    Attributes:
        events: What was asked, oldest first. Clear it freely.
    """

    def __init__(self, device: BlockDevice, *, limit: int | None = None) -> None:
        super().__init__(device)
        self.events: deque[Event] = deque(maxlen=limit)

    def ranges(self, *ops: LogOp) -> list[tuple[int, int]]:
        """Returns (offset, length) of every event of the given kinds, in order."""
        return [(event.offset, event.length) for event in self.events if event.op in ops]

    def _read_into(self, offset: int, view: memoryview) -> None:
        self.events.append(Event("read", offset, len(view)))
        super()._read_into(offset, view)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        self.events.extend([Event("start_read", offset, len(view)) for offset, view in requests])
        return super()._start_reads(requests)

    def _write_at(self, offset: int, view: memoryview) -> None:
        self.events.append(Event("write", offset, len(view)))
        super()._write_at(offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self.events.append(Event("write_durably", offset, len(view)))
        super()._write_durably(offset, view)

    def _zero(self, offset: int, length: int) -> None:
        self.events.append(Event("zero", offset, length))
        super()._zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        self.events.append(Event("discard", offset, length))
        super()._discard(offset, length)

    def _flush(self) -> None:
        self.events.append(Event("flush"))
        super()._flush()

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        self.events.append(Event("extents", offset, length))
        return super()._extents(offset, length)

    def _close(self) -> None:
        self.events.append(Event("close"))
        super()._close()
