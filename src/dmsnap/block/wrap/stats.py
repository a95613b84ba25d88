"""Counts of what passed through a device."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, ReadRequest
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = ["Count", "StatsDevice"]


@dataclass(slots=True)
class Count:
    """Requests of one kind, and the bytes they asked for; failed ones count too."""

    requests: int = 0
    bytes: int = 0


class StatsDevice(Wrapper):
    """Counts requests, bytes, and how many reads were under way at once. Safe for many threads.

    Attributes:
        reads: Waiting reads and started ones.
        started_reads: Only the started ones (they are in `reads` too).
        writes: Writes, durable ones too; likewise `zeros`, `discards`, and `flushes` (of 0 bytes).
        durable_writes: Only the durable ones.
        in_flight: Reads under way now: asked for and neither returned nor completed.
        most_in_flight: The most there were. Of a started batch, what the device had at hand when it took the batch
            counts no more once the call returns.
    """

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Starts counting from nothing; for when no read is under way."""
        self.reads, self.started_reads = Count(), Count()
        self.writes, self.durable_writes = Count(), Count()
        self.zeros, self.discards, self.flushes = Count(), Count(), Count()
        self.in_flight = self.most_in_flight = 0

    def _count(self, count: Count, length: int) -> None:
        with self._lock:
            count.requests += 1
            count.bytes += length

    @contextmanager
    def _read_under_way(self) -> Iterator[None]:
        with self._lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self._landed(None)

    def _landed(self, _: Completion | None) -> None:
        with self._lock:
            self.in_flight -= 1

    def _read_into(self, offset: int, view: memoryview) -> None:
        self._count(self.reads, len(view))
        with self._read_under_way():
            super()._read_into(offset, view)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        length = sum([len(view) for _, view in requests])
        with self._lock:
            for count in (self.reads, self.started_reads):
                count.requests += len(requests)
                count.bytes += length
        completions = super()._start_reads(requests)
        pending = [completion for completion in completions if not completion.done]
        with self._lock:
            self.in_flight += len(pending)
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        for completion in pending:
            completion.add_done_callback(self._landed)
        return completions

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._count(self.writes, len(view))
        super()._write_at(offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self._count(self.writes, len(view))
        self._count(self.durable_writes, len(view))
        super()._write_durably(offset, view)

    def _zero(self, offset: int, length: int) -> None:
        self._count(self.zeros, length)
        super()._zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        self._count(self.discards, length)
        super()._discard(offset, length)

    def _flush(self) -> None:
        self._count(self.flushes, 0)
        super()._flush()
