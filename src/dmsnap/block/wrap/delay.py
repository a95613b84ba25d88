"""A device that takes its time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import SimpleQueue
from time import monotonic, sleep

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, ReadRequest
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = ["DelayDevice"]

_Batch = tuple[float, list[tuple[Completion, Completion]]]
"""When reads are due, by the monotonic clock; for each the completion of the device below and the caller's."""


class DelayDevice(Wrapper):
    """Completes every read not before ``delay_seconds`` after it was asked for, as a slow disk or network would.

    Started reads overlap fully, however many there are. The data is read when the read is asked for. Since every read
    waits equally long, reads fall due in the order they came: one thread, one queue and a sleep are the whole clock.
    Everything but reads passes at once.
    """

    def __init__(self, device: BlockDevice, delay_seconds: float) -> None:
        super().__init__(device)
        self.delay_seconds = delay_seconds
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._clock: threading.Thread | None = None
        self._lock = threading.Lock()

    def _read_into(self, offset: int, view: memoryview) -> None:
        due = monotonic() + self.delay_seconds
        try:
            super()._read_into(offset, view)
        finally:
            _sleep_until(due)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        due = monotonic() + self.delay_seconds
        below = super()._start_reads(requests)
        above = [Completion() for _ in below]
        self._queue.put((due, list(zip(below, above, strict=True))))
        with self._lock:
            if self._clock is None:
                self._clock = threading.Thread(target=self._run, name=f"{self.name}-delay", daemon=True)
                self._clock.start()
        return above

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            due, reads = batch
            _sleep_until(due)
            for below, above in reads:
                if below.done:
                    above.finish(below.error)
                else:
                    below.add_done_callback(lambda done, above=above: above.finish(done.error))  # type: ignore[misc]
            del batch, reads

    def _close(self) -> None:
        self._queue.put(None)
        if self._clock is not None and self._clock is not threading.current_thread():
            self._clock.join()
        super()._close()


def _sleep_until(due: float) -> None:
    if (remaining := due - monotonic()) > 0:
        sleep(remaining)
