"""A device that fails when it is told to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, IOFailed, ReadRequest
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = ["Fault", "FaultDevice", "FaultOp", "Request", "fail_nth", "fail_range"]

FaultOp = Literal["read", "write", "zero", "discard", "flush"]


class Request(NamedTuple):
    """What a fault decides on: the kind, the range in bytes, and which of its kind this is, from 1."""

    op: FaultOp
    offset: int
    length: int
    number: int


Fault = Callable[[Request], bool]
"""Says whether a request fails."""


def fail_nth(op: FaultOp, *numbers: int) -> Fault:
    """Returns a fault of the given requests of one kind, from 1; of every one where no number is given."""
    return lambda request: request.op == op and (not numbers or request.number in numbers)


def fail_range(offset: int, length: int, *ops: FaultOp) -> Fault:
    """Returns a fault of every request that touches a range, of the given kinds (read and write where none is)."""
    kinds = ops or ("read", "write")
    return lambda request: (
        request.op in kinds and request.offset < offset + length and offset < request.offset + request.length
    )


class FaultDevice(Wrapper):
    """Raises `IOFailed` for requests that any of its faults picks, before the device below hears of them.

    Waiting and started reads are numbered together, in the order they were asked for. Nothing is random: the same
    requests fail the same way.

    Attributes:
        faults: Tried in order; add and remove freely.
    """

    def __init__(self, device: BlockDevice, *faults: Fault) -> None:
        super().__init__(device)
        self.faults = list(faults)
        self._numbers: Counter[FaultOp] = Counter()
        self._lock = threading.Lock()

    def _refused(self, op: FaultOp, offset: int, length: int) -> IOFailed | None:
        with self._lock:
            self._numbers[op] += 1
            request = Request(op, offset, length, self._numbers[op])
        if not any(fault(request) for fault in tuple(self.faults)):
            return None
        return IOFailed(
            f"{self.name}: {op} {request.number} ({length} bytes at byte {offset}) failed on demand",
            device=self.name,
            offset_bytes=offset,
        )

    def _allow(self, op: FaultOp, offset: int, length: int) -> None:
        if (error := self._refused(op, offset, length)) is not None:
            raise error

    def _read_into(self, offset: int, view: memoryview) -> None:
        self._allow("read", offset, len(view))
        super()._read_into(offset, view)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        errors = [self._refused("read", offset, len(view)) for offset, view in requests]
        allowed = [request for request, error in zip(requests, errors, strict=True) if error is None]
        started = iter(super()._start_reads(allowed) if allowed else ())
        return [next(started) if error is None else Completion.failed(error) for error in errors]

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._allow("write", offset, len(view))
        super()._write_at(offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self._allow("write", offset, len(view))
        super()._write_durably(offset, view)

    def _zero(self, offset: int, length: int) -> None:
        self._allow("zero", offset, length)
        super()._zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        self._allow("discard", offset, length)
        super()._discard(offset, length)

    def _flush(self) -> None:
        self._allow("flush", 0, 0)
        super()._flush()
