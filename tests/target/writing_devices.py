"""Snapshots, origins and merges on memory, and devices that hold up a test's I/O where it says."""

import random
import threading
from collections.abc import Callable

from dmsnap.block import BlockDevice, MemoryDevice
from dmsnap.block.wrap import LogDevice, ReadOnlyWrapper
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.store import create_store, open_store
from dmsnap.store.exception_store import ExceptionStore
from dmsnap.store.transient import TransientStore
from dmsnap.store.writable import PersistentStore
from dmsnap.target.origin import OriginDevice, OriginSnapshots
from dmsnap.target.writable_snapshot import WritableSnapshot

PATIENCE_SECONDS = 20
"""How long a test waits for what must come; reaching it is a failure."""


def make_store(cow: BlockDevice, kind: str = "P", chunk_sectors: int = 8) -> ExceptionStore:
    """A new store of any kind on a device."""
    if kind == "N":
        return TransientStore(cow, chunk_sectors)
    create_store(cow, chunk_sectors)
    return PersistentStore(open_store(cow), overflow=kind == "PO")


def make_snapshot(origin: BlockDevice, cow_bytes: int = 1 << 20, kind="P", chunk_sectors=8, **options):
    """A new snapshot on a COW device of memory."""
    return WritableSnapshot(origin, make_store(MemoryDevice(cow_bytes, name="cow"), kind, chunk_sectors), **options)


def in_use(origin: BlockDevice, *snapshots: WritableSnapshot) -> OriginDevice:
    """The origin to write to while it has snapshots."""
    device = OriginDevice(origin, OriginSnapshots())
    for snapshot in snapshots:
        device.snapshots.add(snapshot.exceptions, snapshot.size_bytes)
    return device


def loaded_again(snapshot: WritableSnapshot) -> WritableSnapshot:
    """What a new process would find on the devices of a snapshot."""
    return WritableSnapshot(snapshot.origin, PersistentStore(open_store(snapshot.store.device)))


class GateDevice(Wrapper):
    """Holds up requests at gates: each gate the first request of one kind in one range.

    Attributes:
        arrived: Released for each request that is held up.
    """

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.arrived = threading.Semaphore(0)
        self._gates: list[tuple[str, int, int, threading.Event]] = []

    def shut(self, op: str, offset: int = 0, length: int = 1 << 62) -> threading.Event:
        """Shuts a gate for "read", "write" or "flush"; returns what opens it when set."""
        gate = threading.Event()
        self._gates.append((op, offset, offset + length, gate))
        return gate

    def wait_for_one(self) -> None:
        """Returns when a request has come to a gate."""
        assert self.arrived.acquire(timeout=PATIENCE_SECONDS), "nobody came"

    def _pass(self, op: str, offset: int, length: int) -> None:
        for item in list(self._gates):
            kind, start, end, gate = item
            if kind == op and offset < end and start < offset + max(1, length):
                self._gates.remove(item)
                self.arrived.release()
                assert gate.wait(PATIENCE_SECONDS), f"{op} at {offset} was never let through"

    def _read_into(self, offset, view):
        self._pass("read", offset, len(view))
        super()._read_into(offset, view)

    def _start_reads(self, requests):
        return BlockDevice._start_reads(self, requests)

    def _write_at(self, offset, view):
        self._pass("write", offset, len(view))
        super()._write_at(offset, view)

    def _write_durably(self, offset, view):
        self._pass("write", offset, len(view))
        super()._write_durably(offset, view)

    def _flush(self):
        self._pass("flush", 0, 0)
        super()._flush()


class Background:
    """Runs a function in a thread; `result` waits for it and returns or raises what it did."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._result: object = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function, arguments), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        try:
            self._result = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised again where the test asks
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> object:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "still blocked"
        if self._error is not None:
            raise self._error
        return self._result


CHUNK = 4096
SIZE = 32 * CHUNK
OLD = random.Random(3).randbytes(SIZE)
NEW = random.Random(4).randbytes(SIZE)


class Scene:
    """A snapshot on devices that note what is asked of them."""

    def __init__(self, cow_chunks: int = 60, kind: str = "P", cow: MemoryDevice | None = None, **options) -> None:
        self.disk = LogDevice(ReadOnlyWrapper(MemoryDevice(OLD, name="origin")))
        self.medium = cow or MemoryDevice(cow_chunks * CHUNK, name="cow")
        self.cow = LogDevice(self.medium)
        self.snapshot = WritableSnapshot(self.disk, make_store(self.cow, kind), **options)
        self.cow.events.clear()

    def asked(self) -> list[tuple]:
        """What was asked since the last call, of each device."""
        events = [("origin", *event) for event in self.disk.events] + [("cow", *event) for event in self.cow.events]
        self.disk.events.clear()
        self.cow.events.clear()
        return events
