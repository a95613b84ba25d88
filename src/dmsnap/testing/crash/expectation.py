"""What the clients of an origin and its snapshots were promised so far: what a crash image is judged by.

Every snapshot and the origin are disks with a volatile write cache. What a client wrote may be there after a crash from
the moment on that the write was asked for; it is there once a flush returned that was asked for afterwards. Nothing
else is ever there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES
from dmsnap.testing.crash.recorder import Recorder
from dmsnap.testing.crash.volatile_disk import VolatileDisk

__all__ = ["Client", "Expectation", "ExpectedSnapshot"]

ORIGIN = "origin"


class _Taken(NamedTuple):
    name: str
    disk: int


class _Found(NamedTuple):
    name: str
    disk: int
    content: bytes
    valid: bool


class _Created(NamedTuple):
    name: str


class _Doomed(NamedTuple):
    name: str


class _Merging(NamedTuple):
    name: str


class _Merged(NamedTuple):
    name: str


class _Written(NamedTuple):
    name: str
    offset: int
    data: bytes
    sure: bool


class _Flushed(NamedTuple):
    name: str
    begun: int


class _Secured(NamedTuple):
    name: str
    number: int
    offset: int
    length: int


class _Recorded(NamedTuple):
    name: str
    chunks: frozenset[int]


_Note = _Taken | _Found | _Created | _Doomed | _Merging | _Merged | _Written | _Flushed | _Secured | _Recorded


class Client:
    """Tells a recorder what it asks of an origin and its snapshots, and what it is answered.

    The origin's name is ``"origin"``; a snapshot's is any other.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def takes(self, name: str, cow_disk: int) -> None:
        """A snapshot is being taken, on a COW device; until `took` its store may still be no store."""
        self._note(_Taken(name, cow_disk))

    def finds(self, name: str, cow_disk: int, content: bytes, *, valid: bool = True) -> None:
        """A snapshot, or the origin, is put to use, and reads as ``content``; all that is durable."""
        self._note(_Found(name, cow_disk, content, valid))

    def took(self, name: str) -> None:
        """The snapshot is there."""
        self._note(_Created(name))

    def may_lose(self, name: str) -> None:
        """From now on the snapshot's store may be found invalid."""
        self._note(_Doomed(name), narrows=False)

    def merges(self, name: str) -> None:
        """The snapshot is being merged into the origin: whoever asks now sees its content, as one device."""
        self._note(_Merging(name), narrows=False)

    def merged(self, name: str) -> None:
        """The snapshot is merged: the origin has its content, and there is no such snapshot any more."""
        self._note(_Merged(name))

    def writes(self, name: str, offset: int, data: bytes) -> None:
        """A write was asked for: it may be there or not, even if it fails."""
        self._note(_Written(name, offset, data, sure=False), narrows=False)

    def wrote(self, name: str, offset: int, data: bytes) -> None:
        """The write returned well."""
        self._note(_Written(name, offset, data, sure=True), narrows=False)

    def secures(self, name: str, offset: int, length: int) -> None:
        """What was written to a range so far is durable, flushed or not (the last write was with FUA, for instance)."""
        self._note(_Secured(name, len(self._recorder.events), offset, length))

    def records(self, name: str, chunks: Iterable[int]) -> None:
        """These chunks of a snapshot have durable exceptions, until it is merged."""
        self._note(_Recorded(name, frozenset(chunks)))

    def flushes(self) -> int:
        """A flush is asked for; returns what to tell `flushed`."""
        return len(self._recorder.events)

    def flushed(self, name: str, begun: int) -> None:
        """The flush returned well."""
        self._note(_Flushed(name, begun))

    def _note(self, note: _Note, *, narrows: bool = True) -> None:
        self._recorder.mark(note, narrows=narrows)


class ExpectedSnapshot:
    """What may be found of one snapshot.

    Attributes:
        cow_disk: Number of its COW device.
        disk: What it may read as.
        created: Whether there must be a store; before, there may be none, or an empty one.
        may_be_invalid: Whether the store may be marked invalid.
        recorded: Chunks that must have an exception.
    """

    def __init__(self, cow_disk: int, disk: VolatileDisk) -> None:
        self.cow_disk = cow_disk
        self.disk = disk
        self.created = False
        self.may_be_invalid = False
        self.recorded: frozenset[int] = frozenset()


class Expectation:
    """What is right after a crash at one moment; `note` goes on to the next.

    Args:
        origin: What the origin holds when all begins.
        origin_disk: Its number among the devices.

    Attributes:
        origin: What may be read of the origin device itself, while nothing is being merged.
        snapshots: By name, those that are there.
        merging: Name of the snapshot that is being merged; a sector of the origin may hold its content too.
        merged: By name, the COW devices of those that were: their stores are empty.
    """

    def __init__(self, origin: bytes, origin_disk: int = 0) -> None:
        self.origin = VolatileDisk(origin)
        self.origin_disk = origin_disk
        self.snapshots: dict[str, ExpectedSnapshot] = {}
        self.merging: str | None = None
        self.merged: dict[str, int] = {}

    def note(self, value: object, number: int) -> None:
        """Takes in the mark of a `Client`, event ``number``; any other value means nothing."""
        match value:
            case _Taken(name, disk):
                self.snapshots[name] = ExpectedSnapshot(disk, self.origin.copy())
            case _Found(name, disk, content, valid):
                self._find(name, disk, content, valid=valid)
            case _Created(name):
                self.snapshots[name].created = True
            case _Doomed(name):
                self.snapshots[name].may_be_invalid = True
            case _Merging(name):
                self.merging = name
                self.snapshots[name].recorded = frozenset()
            case _Merged(name):
                snapshot = self.snapshots.pop(name)
                self.origin, self.merged[name] = snapshot.disk, snapshot.cow_disk
                self.merging = None
            case _Written(name, offset, data, sure):
                self._disk(name).write(offset, data, number, sure=sure)
            case _Flushed(name, begun):
                self._disk(name).settle(begun)
            case _Secured(name, until, offset, length):
                sectors = range(offset // SECTOR_BYTES, (offset + length) // SECTOR_BYTES)
                self._disk(name).settle(until, sectors)
            case _Recorded(name, chunks):
                self.snapshots[name].recorded |= chunks

    def _find(self, name: str, disk: int, content: bytes, *, valid: bool) -> None:
        if name == ORIGIN:
            self.origin, self.merging = VolatileDisk(content), None
            return
        found = self.snapshots[name] = ExpectedSnapshot(disk, VolatileDisk(content))
        found.created, found.may_be_invalid = True, not valid

    def _disk(self, name: str) -> VolatileDisk:
        return self.origin if name == ORIGIN else self.snapshots[name].disk
