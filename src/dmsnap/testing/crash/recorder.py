"""The crash device: what several devices were asked, in one order, so that a crash can be put anywhere in it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from dmsnap.block.memory import MemoryDevice
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = [
    "Change",
    "Event",
    "FlushBegun",
    "FlushEnded",
    "Forced",
    "Grown",
    "Mark",
    "RecordedDevice",
    "Recorder",
    "Timeline",
]


class Change(NamedTuple):
    """A write, a zero, or (not ``sure``) a discard, which may leave zeros or what was there.

    Attributes:
        disk: Number of the device.
        offset: First byte.
        data: What is there afterwards.
        sure: See `dmsnap.testing.crash.volatile_disk.Version`.
    """

    disk: int
    offset: int
    data: bytes
    sure: bool = True


class FlushBegun(NamedTuple):
    """A flush of device ``disk`` was asked for."""

    disk: int


class FlushEnded(NamedTuple):
    """A flush of device ``disk`` returned; ``begun`` is the number of events before its `FlushBegun`."""

    disk: int
    begun: int


class Forced(NamedTuple):
    """What the first ``number`` events left in a range is durable: a write with "force unit access" returned."""

    disk: int
    number: int
    offset: int
    length: int


class Grown(NamedTuple):
    """Device ``disk`` became longer by ``content``, durably."""

    disk: int
    content: bytes


class Mark(NamedTuple):
    """Something that a test notes: what a client of the devices was promised, for instance.

    Attributes:
        value: Of any kind.
        narrows: Whether fewer contents are right after a crash than before it, so that everything that a crash may
            leave has to be judged anew.
    """

    value: Any
    narrows: bool = True


Event = Change | FlushBegun | FlushEnded | Forced | Grown | Mark


class Timeline(NamedTuple):
    """All that happened.

    Attributes:
        names: Of the devices, by number.
        initial: What each held, durably, when it was made.
        events: In the order in which they took effect.
    """

    names: tuple[str, ...]
    initial: tuple[bytes, ...]
    events: Sequence[Event]


class Recorder:
    """Makes devices and notes what is done to them. Many threads may use them, and marks, at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.events: list[Event] = []
        self._names: list[str] = []
        self._initial: list[bytes] = []

    def device(self, content: bytes | bytearray, name: str, *, logical_block_size_bytes: int = 512) -> RecordedDevice:
        """Returns a new device in memory that holds ``content``, all of it durable."""
        with self.lock:
            self._names.append(name)
            self._initial.append(bytes(content))
            memory = MemoryDevice(content, logical_block_size_bytes=logical_block_size_bytes, name=name)
            return RecordedDevice(memory, self, len(self._names) - 1)

    def mark(self, value: object, *, narrows: bool = True) -> None:
        """Adds a `Mark` behind all that happened so far."""
        with self.lock:
            self.events.append(Mark(value, narrows))

    def timeline(self) -> Timeline:
        """Returns what happened so far."""
        with self.lock:
            return Timeline(tuple(self._names), tuple(self._initial), tuple(self.events))


class RecordedDevice(Wrapper):
    """A device whose changes and flushes are noted; each change takes effect at once, in the order of the notes.

    Args:
        device: Where the content is.
        recorder: Whose order it takes part in.
        number: Among the recorder's devices.
    """

    def __init__(self, device: MemoryDevice, recorder: Recorder, number: int) -> None:
        super().__init__(device)
        self.number = number
        self._memory = device
        self._recorder = recorder

    def grow(self, content: bytes) -> None:
        """Makes the device longer, by durable content."""
        with self._recorder.lock:
            self._recorder.events.append(Grown(self.number, content))
            size = self._memory.size_bytes
            self._memory.grow(size + len(content))
            self._memory.write_at(size, content)

    def _write_at(self, offset: int, view: memoryview) -> None:
        with self._recorder.lock:
            self._recorder.events.append(Change(self.number, offset, bytes(view)))
            super()._write_at(offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        events = self._recorder.events
        with self._recorder.lock:
            events.append(Change(self.number, offset, bytes(view)))
            number = len(events)
            super()._write_at(offset, view)
        with self._recorder.lock:
            events.append(Forced(self.number, number, offset, len(view)))

    def _zero(self, offset: int, length: int) -> None:
        with self._recorder.lock:
            self._recorder.events.append(Change(self.number, offset, bytes(length)))
            super()._zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        with self._recorder.lock:
            self._recorder.events.append(Change(self.number, offset, bytes(length), sure=False))
            super()._discard(offset, length)

    def _flush(self) -> None:
        with self._recorder.lock:
            begun = len(self._recorder.events)
            self._recorder.events.append(FlushBegun(self.number))
        super()._flush()
        with self._recorder.lock:
            self._recorder.events.append(FlushEnded(self.number, begun))
