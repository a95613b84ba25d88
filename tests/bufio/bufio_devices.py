"""A device whose I/O a test can hold up, and that remembers what was asked of it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, ReadRequest

PATIENCE_SECONDS = 20
"""How long a test waits for what must come; reaching it is a failure."""


class GateDevice(BlockDevice):
    """Memory whose started reads end when the test says so, and whose writes pass a gate.

    Attributes:
        content: The bytes.
        log: What reached the medium: ``(operation, offset, length)``.
        batches: The number of reads of each `start_reads`.
        pending: Started reads that have not ended: their range and completion.
        hold_reads: Whether started reads stay pending.
        read_gate, write_gate: Waiting reads and writes pass while set.
        read_waits, write_waits: Released once for each waiting read or write that arrives at its gate.
    """

    def __init__(self, size_bytes: int, *, hold_reads: bool = False) -> None:
        self.content = bytearray(size_bytes)
        self.log: list[tuple[str, int, int]] = []
        self.batches: list[int] = []
        self.pending: list[tuple[int, memoryview, Completion]] = []
        self.hold_reads = hold_reads
        self.read_gate, self.write_gate = threading.Event(), threading.Event()
        self.read_gate.set()
        self.write_gate.set()
        self.read_waits, self.write_waits = threading.Semaphore(0), threading.Semaphore(0)

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def operations(self, name: str) -> list[tuple[int, int]]:
        """Returns the ranges of one kind of operation."""
        return [(offset, length) for op, offset, length in self.log if op == name]

    def end_reads(self, error: Exception | None = None, count: int | None = None) -> None:
        """Ends pending reads, the oldest first."""
        ending, self.pending[:] = self.pending[:count], self.pending[len(self.pending[:count]) :]
        for offset, view, completion in ending:
            view[:] = self.content[offset : offset + len(view)]
            completion.finish(error)

    def _read_into(self, offset: int, view: memoryview) -> None:
        self.read_waits.release()
        assert self.read_gate.wait(PATIENCE_SECONDS)
        self.log.append(("read", offset, len(view)))
        view[:] = self.content[offset : offset + len(view)]

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        self.batches.append(len(requests))
        if not self.hold_reads:
            return super()._start_reads(requests)
        started = [(offset, view, Completion()) for offset, view in requests]
        self.log += [("start", offset, len(view)) for offset, view in requests]
        self.pending += started
        return [completion for _, _, completion in started]

    def _write_at(self, offset: int, view: memoryview) -> None:
        self.write_waits.release()
        assert self.write_gate.wait(PATIENCE_SECONDS)
        self.log.append(("write", offset, len(view)))
        self.content[offset : offset + len(view)] = view

    def _discard(self, offset: int, length: int) -> None:
        self.log.append(("discard", offset, length))

    def _flush(self) -> None:
        self.log.append(("flush", 0, 0))


class Background:
    """Runs a function in a thread; `result` waits for it and returns or raises what it did."""

    def __init__(self, function, *arguments) -> None:
        self._result = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, arguments), daemon=True)
        self._thread.start()

    def _run(self, function, arguments) -> None:
        try:
            self._result = function(*arguments)
        except BaseException as error:  # noqa: BLE001  raised again where the test asks
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self):
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "still blocked"
        if self._error is not None:
            raise self._error
        return self._result


def until_asleep(client) -> None:
    """Returns when a thread sleeps for a buffer of the client (a state it can leave only by being woken)."""
    deadline = threading.Event()
    timer = threading.Timer(PATIENCE_SECONDS, deadline.set)
    timer.start()
    try:
        while not client.counters.sleeps:
            assert not deadline.is_set(), "nobody fell asleep"
    finally:
        timer.cancel()


def until_waiting(client, waits: int = 1) -> None:
    """Returns when so many callers wait for pending reads of the client."""
    deadline = threading.Event()
    timer = threading.Timer(PATIENCE_SECONDS, deadline.set)
    timer.start()
    try:
        while client.counters.waits < waits:
            assert not deadline.is_set(), "nobody waits"
    finally:
        timer.cancel()


def touch(client, *blocks) -> None:
    """Reads and releases blocks."""
    for block in blocks:
        client.release(client.read(block))


def dirty(client, *blocks) -> None:
    """Marks blocks dirty without reading them."""
    for block in blocks:
        with client.new(block) as buffer:
            client.mark_dirty(buffer)


def is_cached(client, block) -> bool:
    """Says whether `get` finds a block."""
    buffer = client.get(block)
    if buffer is not None:
        client.release(buffer)
    return buffer is not None
