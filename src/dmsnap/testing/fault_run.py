"""Programs of requests to an origin and its snapshots, run again and again with one I/O error at a time.

A program is data: steps for one client that does one thing after another. `run` carries it out on devices that may
fail; `faults_of` says every single request that a run without errors made, each of which can then be made to fail.
What comes out is judged against the plain model: what became of each step, who is invalid, what can be read, and what
a new process finds on the devices.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from dmsnap.block import BlockDevice, IOFailed, MemoryDevice
from dmsnap.block.wrap import FaultDevice
from dmsnap.block.wrap.fault import FaultOp, Request
from dmsnap.store import create_store, open_store
from dmsnap.store.transient import TransientStore
from dmsnap.store.writable import PersistentStore
from dmsnap.target.exceptions import SyncMode
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.writable_snapshot import WritableSnapshot

__all__ = ["ORIGIN", "Failure", "FaultRun", "SnapshotPlan", "Step", "failures_of", "filling", "steps_of"]

ORIGIN = "origin"
SECTOR_BYTES = 512

Action = Literal["read", "write", "zero", "discard", "flush"]


class Step(NamedTuple):
    """One request: what, to which device (``"origin"`` or a snapshot's name), and where, in sectors."""

    action: Action
    device: str
    sector: int = 0
    sectors: int = 0


class SnapshotPlan(NamedTuple):
    """A snapshot of a program: its store's kind, chunk size in sectors, and size in chunks."""

    kind: str
    chunk_sectors: int
    cow_chunks: int


class Failure(NamedTuple):
    """The request that is to fail: on whose device (of a snapshot, the COW device), the kind, and which of its kind."""

    device: str
    op: FaultOp
    number: int


def filling(step: int, sectors: int) -> bytes:
    """Returns what step number ``step`` writes."""
    return random.Random(step).randbytes(sectors * SECTOR_BYTES)  # noqa: S311 - data of a fixed seed


class FaultRun:
    """The devices of one run.

    Args:
        size_sectors: Of the origin.
        plans: The snapshots, by name.
        sync: Their sync mode.
        failure: What is to fail; nothing without it.
        error: The error to fail with.

    Attributes:
        disk: The origin's medium, which never fails.
        media: The same of each COW device, by the snapshot's name.
        snapshots: The devices to read and write.
        origin: The origin, in use.
        asked: Each request that reached a device that may fail: whose, the request, and the step it was made for.
        failed_in: The step that was under way when the failure came, or None.
    """

    def __init__(
        self,
        size_sectors: int,
        plans: dict[str, SnapshotPlan],
        *,
        sync: SyncMode = "commit",
        failure: Failure | None = None,
        error: Callable[[str], IOFailed] = IOFailed,
    ) -> None:
        self.failure, self.error = failure, error
        self.asked: list[tuple[str, Request, int]] = []
        self.failed_in: int | None = None
        self.step = -1
        self.resting = False
        self.disk = MemoryDevice(filling(-1, size_sectors), name=ORIGIN)
        below = _Failing(self, ORIGIN, self.disk)
        self.media: dict[str, MemoryDevice] = {}
        self.snapshots: dict[str, WritableSnapshot] = {}
        in_use = OriginSnapshots()
        for name, plan in plans.items():
            medium = MemoryDevice(plan.cow_chunks * plan.chunk_sectors * SECTOR_BYTES, name=name)
            self.media[name] = medium
            if plan.kind != "N":
                create_store(medium, plan.chunk_sectors)
            cow = _Failing(self, name, medium)
            snapshot = WritableSnapshot(below, _store(cow, plan), sync=sync, name=name, discard_zeroes_cow=True)
            self.snapshots[name] = snapshot
            in_use.add(snapshot.exceptions, snapshot.size_bytes)
        self.origin = OriginDevice(below, in_use)

    def do(self, number: int, step: Step) -> IOFailed | None:
        """Carries out one step; returns its error."""
        self.step = number
        device: BlockDevice = self.origin if step.device == ORIGIN else self.snapshots[step.device]
        offset, length = step.sector * SECTOR_BYTES, step.sectors * SECTOR_BYTES
        try:
            match step.action:
                case "read":
                    device.read_at(offset, length)
                case "write":
                    device.write_at(offset, filling(number, step.sectors))
                case "zero":
                    device.zero(offset, length)
                case "discard":
                    device.discard(offset, length)
                case "flush":
                    device.flush()
        except IOFailed as error:
            return error
        finally:
            self.step = -1
        return None

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Lets a test look at the devices: meanwhile nothing is noted and nothing fails."""
        self.resting = True
        try:
            yield
        finally:
            self.resting = False

    def refuse(self, owner: str, request: Request) -> IOFailed | None:
        """Notes a request, and returns its error if it is the one to fail."""
        if self.resting:
            return None
        self.asked.append((owner, request, self.step))
        if self.failure != (owner, request.op, request.number):
            return None
        self.failed_in = self.step
        return self.error(f"{owner}: {request.op} {request.number} failed on demand")


def failures_of(run: FaultRun) -> Iterator[Failure]:
    """Yields every request that a run made, as one that could fail."""
    for owner, request, _ in run.asked:
        yield Failure(owner, request.op, request.number)


def steps_of(run: FaultRun, steps: Sequence[Step]) -> list[IOFailed | None]:
    """Carries out a program; returns the error of each step, None where it went well."""
    return [run.do(number, step) for number, step in enumerate(steps)]


class _Failing(FaultDevice):
    """A device whose faults a run decides on, error and all."""

    def __init__(self, run: FaultRun, owner: str, device: BlockDevice) -> None:
        super().__init__(device)
        self._run = run
        self._owner = owner

    def _refused(self, op: FaultOp, offset: int, length: int) -> IOFailed | None:
        with self._lock:
            if not self._run.resting:
                self._numbers[op] += 1
            request = Request(op, offset, length, self._numbers[op])
        return self._run.refuse(self._owner, request)


def _store(cow: BlockDevice, plan: SnapshotPlan) -> PersistentStore | TransientStore:
    if plan.kind == "N":
        return TransientStore(cow, plan.chunk_sectors)
    return PersistentStore(open_store(cow), overflow=plan.kind == "PO")
