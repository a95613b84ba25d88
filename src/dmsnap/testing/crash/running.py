"""Runs crash programs on the real targets over recorded devices, and notes what their users are promised."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.store import EmptyStore, create_store, open_store
from dmsnap.store.exception_store import AreaBeyondDevice, StoreFull
from dmsnap.store.writable import PersistentStore
from dmsnap.target import SnapshotDevice, SnapshotInvalid
from dmsnap.target.merging import MergeDevice
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.writable_snapshot import SnapshotOverflowed, WritableSnapshot
from dmsnap.testing.crash.cow_content import garbage, new_cow
from dmsnap.testing.crash.expectation import Client, Expectation
from dmsnap.testing.crash.image_device import ImageDevice
from dmsnap.testing.crash.program import (
    ORIGIN,
    Discard,
    Flush,
    Grow,
    Merge,
    Program,
    Reload,
    Step,
    Take,
    Write,
    Zero,
)
from dmsnap.testing.crash.recorder import Mark, Recorder, Timeline
from dmsnap.testing.crash.room import Room

__all__ = ["Run", "run"]

_LOST = SnapshotInvalid, SnapshotOverflowed, StoreFull, AreaBeyondDevice


class Run(NamedTuple):
    """What came of a program.

    Attributes:
        timeline: To be judged.
        problems: What was wrong while the power was on.
    """

    timeline: Timeline
    problems: list[str]


def run(program: Program, seed: int | str, contents: Sequence[bytes | bytearray] | None = None) -> Run:
    """Runs a program.

    Args:
        program: What to do.
        seed: For what is written.
        contents: Of the origin and the COW devices, in the order of the plans, each with a store that loads or one
            that a `Take` makes; by default snapshots were just taken.
    """
    running = _Running(program, seed, contents)
    for step in program.steps:
        running.take(step)
    return Run(running.recorder.timeline(), running.problems())


class _Running:
    def __init__(self, program: Program, seed: int | str, contents: Sequence[bytes | bytearray] | None) -> None:
        self.program = program
        self.recorder = Recorder()
        self._client = Client(self.recorder)
        self._rng = random.Random(seed)  # noqa: S311 - to be replayed
        if contents is None:
            taken = {step.name for step in program.steps if isinstance(step, Take)}
            origin = self._rng.randbytes(program.origin_sectors * SECTOR_BYTES)
            contents = [origin, *(new_cow(plan, empty=plan.name in taken) for plan in program.plans)]
        self._origin = self.recorder.device(contents[0], ORIGIN)
        self._plans = {plan.name: plan for plan in program.plans}
        self._cows = {
            plan.name: self.recorder.device(content, plan.name)
            for plan, content in zip(program.plans, contents[1:], strict=True)
        }
        self._others = OriginSnapshots()
        self._snapshots: dict[str, WritableSnapshot] = {}
        self._stores: dict[str, PersistentStore] = {}
        self._rooms: dict[str, Room] = {}
        self._there: set[str] = set()  # stores that were found or made
        self._merge: tuple[str, MergeDevice] | None = None
        self._left: set[str] = set()  # stores that were merged
        self._failed = False
        self._find()

    # -- snapshots come and go ----------------------------------------------------------------------------------------

    def _find(self) -> None:
        """Puts every snapshot to use that there is; what the devices hold is durable."""
        self._client.finds(ORIGIN, 0, bytes(self._origin.read_at(0, self._origin.size_bytes)))
        for name, cow in self._cows.items():
            try:
                store = open_store(ImageDevice(cow.read_at(0, cow.size_bytes)))
            except EmptyStore:
                continue
            if name in self._left:
                continue
            content = SnapshotDevice(self._origin, store) if store.valid else self._origin
            held = bytes(content.read_at(0, self._origin.size_bytes))
            self._client.finds(name, cow.number, held, valid=store.valid)
            self._open(name)

    def _open(self, name: str) -> None:
        self._there.add(name)
        plan, loaded = self._plans[name], open_store(self._cows[name], origin_size_bytes=self._origin.size_bytes)
        if not loaded.valid:
            return
        self._rooms[name] = Room(loaded)
        if name not in self._stores:
            self._stores[name] = PersistentStore(loaded, overflow=plan.kind == "PO")
        snapshot = self._snapshots[name] = WritableSnapshot(
            self._origin,
            self._stores[name],
            name=name,
            sync=self.program.sync,
            discard_zeroes_cow=bool(plan.discards),
            discard_passdown_origin=plan.discards == "passdown",
        )
        self._others.add(snapshot.exceptions, snapshot.size_bytes)

    def _suspend(self, name: str) -> WritableSnapshot | None:
        """Takes a snapshot out of use, committed; None if it was lost."""
        snapshot = self._snapshots.pop(name, None)
        if snapshot is not None:
            self._others.remove(snapshot.exceptions)
            snapshot.exceptions.commit()
        return snapshot

    def _take(self, name: str) -> None:
        if name in self._there:
            return
        self._origin.flush()  # a snapshot is taken of an origin that is suspended, which flushes it
        self._client.flushed(ORIGIN, self._client.flushes())
        self._client.takes(name, self._cows[name].number)
        create_store(self._cows[name], self._plans[name].chunk_sectors)
        self._open(name)
        self._client.took(name)

    def _reload(self, *, handover: bool) -> None:
        for name in list(self._snapshots):
            self._suspend(name)
        self._merge = None
        if not handover:
            for store in self._stores.values():
                store.close()
            self._stores.clear()
        for device in (self._origin, *self._cows.values()):
            device.flush()
        self._find()

    # -- steps --------------------------------------------------------------------------------------------------------

    def take(self, step: Step) -> None:
        """Takes one step."""
        match step:
            case Write(where, sector, sectors, fua):
                self._write(where, sector, sectors, self._rng.randbytes(sectors * SECTOR_BYTES), fua=fua)
            case Zero(where, sector, sectors):
                self._write(where, sector, sectors, None)
            case Discard(where, sector, sectors):
                if where in self._snapshots and self._plans[where].discards:
                    self._discard(where, sector * SECTOR_BYTES, sectors * SECTOR_BYTES)
            case Flush(where):
                self._flush(where)
            case Take(name):
                self._take(name)
            case Merge():
                self._merge_some(step)
            case Grow(name, sectors):
                self._cows[name].grow(garbage(sectors))
            case Reload(handover):
                self._reload(handover=handover)

    def _device(self, where: str) -> BlockDevice | None:
        """What is used by this name; None for a snapshot that was lost."""
        if self._merge is not None:
            name, merge = self._merge
            return merge if where == name else None if where == ORIGIN else self._snapshots.get(where)
        return OriginDevice(self._origin, self._others) if where == ORIGIN else self._snapshots.get(where)

    def _write(self, where: str, sector: int, sectors: int, data: bytes | None, *, fua: bool = False) -> None:
        device = self._device(where)
        if device is None or (isinstance(device, WritableSnapshot) and device.exceptions.overflowed):
            return
        offset, length = sector * SECTOR_BYTES, sectors * SECTOR_BYTES
        written = bytes(length) if data is None else data
        lone = where in self._snapshots
        wanted = self._wanted([where] if lone else list(self._snapshots), [(offset, length)], by_origin=not lone)
        self._client.writes(where, offset, written)
        try:
            if data is None:
                device.zero(offset, length)
            elif (
                fua or sectors % 2 or self.program.sync == "commit"
            ):  # there a first write is durable, its second half not
                device.write_at(offset, data, fua=fua)
            else:  # in two, by the call for many
                half = memoryview(data)[: length // 2], memoryview(data)[length // 2 :]
                device.write_many([(offset, half[0]), (offset + length // 2, half[1])])
        except _LOST:
            room = self._rooms[where]
            if not lone or (room.suffices(wanted[where]) and not room.traps(wanted[where])):
                raise
            self._failed = True
        else:
            self._client.wrote(where, offset, written)
            if fua:
                self._client.secures(where, offset, length)
        durable = not lone or self.program.sync == "commit"
        self._settle(wanted, durable=durable, written=(offset, length) if lone and durable else None)

    def _wanted(
        self, names: Sequence[str], ranges: Sequence[tuple[int, int]], *, by_origin: bool
    ) -> dict[str, set[int]]:
        """What exceptions snapshots need for ranges of bytes; says so where one may be lost thereby."""
        wanted = {}
        for name in names:
            room = self._rooms[name]
            wanted[name] = set().union(*(room.missing(offset, length) for offset, length in ranges))
            overflows = not room.suffices(wanted[name]) and (by_origin or self._plans[name].kind == "P")
            if overflows or room.traps(wanted[name]):
                self._client.may_lose(name)
        return wanted

    def _settle(self, wanted: dict[str, set[int]], *, durable: bool, written: tuple[int, int] | None = None) -> None:
        """Takes note of the exceptions that were made, and of snapshots that were lost.

        Args:
            wanted: What might have been made.
            durable: Whether what was made is durable.
            written: A range whose new chunks are durable where they were written wholly (the kernel makes data durable
                before a record, but of a part of a chunk only what was copied).
        """
        for name, chunks in wanted.items():
            snapshot, room = self._snapshots[name], self._rooms[name]
            if not snapshot.exceptions.valid:
                self._others.remove(snapshot.exceptions)
                del self._snapshots[name]
                continue
            made = {chunk for chunk in chunks if snapshot.exceptions.store.table.lookup(chunk) is not None}
            room.make(made)
            if durable and made:
                self._client.records(name, made)
            if written is not None:
                for chunk in sorted(room.wholly(made, *written)):
                    size = self._plans[name].chunk_sectors * SECTOR_BYTES
                    self._client.secures(name, chunk * size, size)

    def _discard(self, name: str, offset: int, length: int) -> None:
        size, end = self._plans[name].chunk_sectors * SECTOR_BYTES, offset + length
        zeroed = []
        for start in range(offset - offset % size, end, size):
            begin, stop = max(start, offset), min(start + size, end)
            if start // size in self._rooms[name].chunks:
                self._client.writes(name, begin, bytes(stop - begin))
                if stop - begin == size:
                    zeroed.append(begin)
        if self._plans[name].discards == "passdown":
            self._uncertain(offset, length)
        self._snapshots[name].discard(offset, length)
        for begin in zeroed:
            self._client.wrote(name, begin, bytes(size))

    def _uncertain(self, offset: int, length: int) -> None:
        """A range of the origin is discarded, and so whatever reads from there."""
        for at in range(offset, offset + length, SECTOR_BYTES):
            self._client.writes(ORIGIN, at, bytes(SECTOR_BYTES))
            for name in self._snapshots:
                if self._rooms[name].missing(at, SECTOR_BYTES):
                    self._client.writes(name, at, bytes(SECTOR_BYTES))

    def _flush(self, where: str) -> None:
        device = self._device(where)
        if device is None:
            return
        begun = self._client.flushes()
        device.flush()
        self._client.flushed(where, begun)
        if where in self._snapshots:
            self._client.records(where, self._rooms[where].chunks)

    # -- merging ------------------------------------------------------------------------------------------------------

    def _merge_some(self, step: Merge) -> None:
        if self._merge is None:
            if self._suspend(step.name) is None:
                return
            self._client.merges(step.name)
            merge = MergeDevice(self._origin, self._stores[step.name], others=self._others, name=step.name)
            self._merge = step.name, merge
        name, merge = self._merge
        if name != step.name:
            return
        done = 1
        while done:
            size = merge.store.chunk_size_bytes
            left = [(chunk * size, size) for chunk in self._rooms[name].chunks]
            wanted = self._wanted(list(self._snapshots), left, by_origin=True)
            done = merge.step(step.most_sectors * SECTOR_BYTES, in_order=step.in_order).chunks
            self._settle(wanted, durable=True)
            if not step.to_the_end:
                break
        if not done:
            self._client.merged(name)
            self._left.add(name)
            self._merge = None

    # -- the end ------------------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Returns what differs from what was written last."""
        expected = Expectation(self.recorder.timeline().initial[0])
        for number, event in enumerate(self.recorder.timeline().events, 1):
            if isinstance(event, Mark):
                expected.note(event.value, number)
        found = []
        devices: dict[str, BlockDevice] = {**self._snapshots}
        if self._merge is None:
            devices[ORIGIN] = self._origin
        else:
            devices[self._merge[0]] = self._merge[1]
        for name, device in devices.items():
            disk = expected.origin if name == ORIGIN else expected.snapshots[name].disk
            held = device.read_at(0, self._origin.size_bytes)
            if disk.impossible(held) or (held != disk.latest() and not self._failed):
                found.append(f"{name} does not read as what was written, without any crash")
        for name in self._left:
            left = len(open_store(self._cows[name]).table)
            if left:
                found.append(f"{name} is merged, but has {left} exceptions")
        return found
