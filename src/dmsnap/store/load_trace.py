"""A record of one load: when each area was asked for, arrived and was used, and what the loader waited for.

It listens to the bufio client that loading uses (`dmsnap.bufio.Trace`), on the clock of the store's device: of a
simulated device it holds simulated times. Events are kept in arrays, 17 bytes each, and only so many of them.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from dmsnap.block.contract import BlockDevice
from dmsnap.bufio import BufioClient, Counters
from dmsnap.errors import DmsnapError
from dmsnap.store.format import exceptions_per_area

__all__ = ["MOST_EVENTS", "LoadEvent", "LoadTrace", "recorded"]

MOST_EVENTS = 1 << 20
"""Events that a load keeps unless told otherwise: some 260,000 areas, in 17 MiB."""

_EVENTS = (
    "prefetch",
    "miss",
    "arrived",
    "wait",
    "hit",
    "release",
    "forget",
    "evict",
    "drop",
    "new",
    "write",
    "written",
)
_CODES = {name: code for code, name in enumerate(_EVENTS)}


def recorded(
    trace: LoadTrace | None, device: BlockDevice, prefetch: str | int
) -> contextlib.AbstractContextManager[None]:
    """Returns what is to be around a load: `LoadTrace.recording`, or nothing where nobody records."""
    return contextlib.nullcontext() if trace is None else trace.recording(device, prefetch)


class LoadEvent(NamedTuple):
    """Something that happened to a piece of an area.

    Attributes:
        seconds: When, since the load began.
        event: ``prefetch`` and ``miss`` (a read starts: ahead of demand, on demand), ``arrived`` (a read ended),
            ``hit`` and ``wait`` (the loader asked for a piece that was there, or under way), ``release``, ``forget``
            (used up), ``evict`` (to make room), ``drop`` (its read had failed).
        area: The metadata area.
        block: The piece's number, in the load's ``block_size_bytes`` from the beginning of the store.
    """

    seconds: float
    event: str
    area: int
    block: int


class LoadTrace:
    """What happens while one store is loaded: give it to `dmsnap.store.open_store`, of one load only.

    Args:
        most_events: How many events to keep, the first ones; those that follow are counted.

    Attributes:
        device: What the store's device is called.
        prefetch: The policy, as it was asked for.
        started: When the load began, in seconds of the device's clock, which begins anywhere.
        header_seconds: When the header was read and the first area could be asked for, since the beginning; None if
            it did not come to that.
        seconds: How long the load took, with all that is made of the areas; 0 until it is over.
        chunk_size_bytes: Size of a chunk, and so of an area; 0 until the header is read.
        block_size_bytes: Size of what is read at once: a chunk, or the pieces of a large one.
        areas: How many areas the store turned out to have; None if the load did not come to its end.
        counters: What bufio counted; pieces that lie past the store's end count as read for nothing.
        left_out: How many events were not kept.
        error: What the load failed with, in one line; None if it did not.
    """

    def __init__(self, most_events: int = MOST_EVENTS) -> None:
        self.device = ""
        self.prefetch: str | int = ""
        self.started = 0.0
        self.header_seconds: float | None = None
        self.seconds = 0.0
        self.chunk_size_bytes = self.block_size_bytes = 0
        self.areas: int | None = None
        self.counters = Counters()
        self._past_end = 0
        self.left_out = 0
        self.error: str | None = None
        self._room = most_events
        self._times, self._codes, self._blocks = array("d"), array("B"), array("Q")
        self._client: BufioClient | None = None

    def __len__(self) -> int:
        return len(self._blocks)

    def note(self, time: float, event: str, block: int) -> None:
        """Hears of an event; a `dmsnap.bufio.Trace`."""
        if self._room > 0:
            self._room -= 1
            self._times.append(time)
            self._codes.append(_CODES[event])
            self._blocks.append(block)
        else:
            self.left_out += 1

    @contextlib.contextmanager
    def recording(self, device: BlockDevice, prefetch: str | int) -> Iterator[None]:
        """Is around a load, whatever that ends with."""
        self.device, self.prefetch = device.name, prefetch
        self.started = device.clock()
        try:
            yield
        except BaseException as error:
            message = error.message if isinstance(error, DmsnapError) else str(error)
            self.error = message or ("interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__)
            raise
        finally:
            self.seconds = device.clock() - self.started
            if self._client is not None:
                counters = self.counters = self._client.counters
                counters.hits -= self._past_end
                counters.prefetch_wasted += self._past_end
            self._client = None

    def reading(self, client: BufioClient, chunk_size_bytes: int) -> None:
        """Is told when the header is read, and which client reads the areas."""
        self._client = client
        self.chunk_size_bytes = chunk_size_bytes
        self.block_size_bytes = client.block_size_bytes
        self.header_seconds = client.device.clock() - self.started

    def ended(self, areas: int, past_end: int) -> None:
        """Is told how many areas there are, and how many pieces behind them were taken along."""
        self.areas, self._past_end = areas, past_end

    def events(self) -> Iterator[LoadEvent]:
        """Yields the events that were kept, in the order in which bufio told of them."""
        if not self._blocks:
            return
        per_chunk = self.chunk_size_bytes // self.block_size_bytes
        stride = (exceptions_per_area(self.chunk_size_bytes // 512) + 1) * per_chunk
        # Not strict: of a load that was interrupted the last reads may still arrive, in a thread of the device.
        for time, code, block in zip(self._times, self._codes, self._blocks, strict=False):
            yield LoadEvent(time - self.started, _EVENTS[code], (block - per_chunk) // stride, block)
