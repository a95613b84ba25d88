"""How long a store takes to load on drives that are modelled, for each prefetch depth: ``simulate``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from dmsnap.block.completion import Completion
from dmsnap.block.contract import SECTOR_BYTES, BadRequest, BlockDevice, ReadRequest
from dmsnap.block.model import DRIVES, ModelDevice, make_drive
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.errors import DmsnapError
from dmsnap.library.opening import open_store_of
from dmsnap.library.simulation.defaults import DEFAULT_AREAS, DEFAULT_CHUNK_SIZE_BYTES, DEFAULT_DEPTHS, MOST_DEPTHS
from dmsnap.library.simulation.described_store import DescribedStore
from dmsnap.library.size_text import readable_size
from dmsnap.library.source import Source
from dmsnap.store import open_store
from dmsnap.store.prefetch import KERNEL_DEPTH, MAX_DEPTH

if TYPE_CHECKING:
    from dmsnap.store import Store

__all__ = [
    "KNEE_FACTOR",
    "BadDepths",
    "BadStart",
    "DoesNotFit",
    "InvalidStore",
    "LoadTime",
    "ModelLoads",
    "Simulation",
    "simulate",
]

KNEE_FACTOR = 1.1
"""The knee is the smallest depth that takes at most this many times as long as the best."""

Report = Callable[[int, int], None]
"""Hears how many loads are done, and of how many."""


class BadDepths(DmsnapError, ValueError):
    """Depths that cannot be simulated."""


class BadStart(DmsnapError, ValueError):
    """A place on a drive where no device begins."""


class DoesNotFit(BadRequest):
    """A device that is larger than the drive it is to lie on."""


class InvalidStore(DmsnapError):
    """A store that was invalidated: a loader reads its header and nothing more."""


@dataclass(frozen=True, slots=True)
class LoadTime:
    """One load.

    Attributes:
        depth: Areas prefetched besides the next one.
        seconds: Simulated time from the first read until the table is complete and no read is under way.
    """

    depth: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ModelLoads:
    """What loading takes on one model of a drive.

    Attributes:
        model: Its name.
        description: What it is, in one line.
        loads: With each fixed depth, ascending.
        kernel_seconds: With 12 areas ahead, as Linux since 3.14.
        auto_seconds: With ``auto``.
        auto_reads_in_flight: How many reads ``auto`` had under way at most; a fixed depth N has up to N + 1.
        best_depth: The fixed depth that took least; of equals the smallest.
        best_seconds: What it took.
        knee_depth: The smallest fixed depth that took at most 10 % longer than the best.
        knee_seconds: What it took.
    """

    model: str
    description: str
    loads: tuple[LoadTime, ...]
    kernel_seconds: float
    auto_seconds: float
    auto_reads_in_flight: int
    best_depth: int
    best_seconds: float
    knee_depth: int
    knee_seconds: float


@dataclass(frozen=True, slots=True)
class Simulation:
    """What loading a store takes, by drive and depth.

    Attributes:
        name: What the store's device is called; None for a store that was only described.
        areas: Metadata areas that are read.
        chunk_size_bytes: The chunk size, which is the size of an area.
        device_size_bytes: Of the COW device: reading ahead ends where it does.
        seed: What the drives were made from.
        room_areas: Free areas after those in use, where that was asked for.
        start_bytes: Where on each drive the COW device begins, where that was asked for.
        models: One for each drive.
        too_small: Drives left out, where none was named, since the COW device is larger.
    """

    name: str | None
    areas: int
    chunk_size_bytes: int
    device_size_bytes: int
    seed: int
    room_areas: int | None
    start_bytes: int | None
    models: tuple[ModelLoads, ...]
    too_small: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        return asdict(self)


def simulate(
    cow: Source | None = None,
    *,
    areas: int = DEFAULT_AREAS,
    chunk_size_bytes: int = DEFAULT_CHUNK_SIZE_BYTES,
    room_areas: int | None = None,
    models: Sequence[str] = (),
    depths: Sequence[int] = DEFAULT_DEPTHS,
    start_bytes: int | None = None,
    seed: int = 0,
    progress: Report | None = None,
) -> Simulation:
    """Loads a store again and again, with each depth on each drive, in simulated time.

    What loads is `dmsnap.store.open_store`, as everywhere; only the device has a model's clock. The processor's own
    time counts as none. The same arguments always give the same result.

    Args:
        cow: The store; it is read and never written. None for one as described by the next three.
        areas: How many metadata areas it has.
        chunk_size_bytes: A power of two from 512 bytes to 1 GiB.
        room_areas: How many more areas the device has room for. A loader that reads ahead does not know where the store
            ends, so past its end it reads as many areas for nothing as it looks ahead, if they are there. None means
            256, or less where these would take over 64 GiB.
        models: Names from `dmsnap.block.model.DRIVES`; none means all that the device fits on.
        depths: Fixed depths, each from 0 to 65536.
        start_bytes: Where on the drive the COW device begins. None leaves that to the drive: those that turn say a
            tenth in from the outer edge, where they are fastest.
        seed: What differs between two drives of a kind comes from it.
        progress: Called after each load.

    Raises:
        BadDepths: No depth, too many, or one out of range.
        BadStart: Not in whole sectors.
        UnknownDrive: There is no model of that name.
        BadDescription, BadChunkSize: No store can be as described.
        InvalidStore: The store was invalidated.
        DoesNotFit: The device is larger than a drive that was named, or than all.
        DmsnapError: As `open_snapshot`, for a store that cannot be loaded.
    """
    steps = _checked(depths)
    if start_bytes is not None and (start_bytes < 0 or start_bytes % SECTOR_BYTES):
        raise BadStart(f"no device begins at byte {start_bytes}", hint=f"use a multiple of {SECTOR_BYTES}")
    for model in models:
        make_drive(model)
    with ExitStack() as stack:
        if cow is None:
            device: BlockDevice = stack.enter_context(DescribedStore(areas, chunk_size_bytes, room_areas=room_areas))
            store = open_store(device)
        else:
            store = _loaded(cow, stack)
            device = store.device
        names = _fitting(device, models, start_bytes, described=cow is None)
        count = _counted(progress, len(names) * (len(steps) + 1 + (KERNEL_DEPTH not in steps)))
        results = tuple(
            _loads(name, partial(_modelled, device, name, seed, start_bytes), steps, count) for name in names
        )
        return Simulation(
            name=None if cow is None else device.name,
            areas=store.areas,
            chunk_size_bytes=store.chunk_size_bytes,
            device_size_bytes=device.size_bytes,
            seed=seed,
            room_areas=room_areas if cow is None else None,
            start_bytes=start_bytes,
            models=results,
            too_small=() if models else tuple(name for name in DRIVES if name not in names),
        )


def _modelled(device: BlockDevice, model: str, seed: int, start_bytes: int | None) -> ModelDevice:
    """The device on a new drive, at time 0; closing it is left to the device below."""
    return ModelDevice(device, make_drive(model, seed), start_bytes=start_bytes)


def _loads(model: str, modelled: Callable[[], ModelDevice], depths: Sequence[int], count: Iterator[None]) -> ModelLoads:
    """Loads with each policy on one model."""

    def load(device: BlockDevice, prefetch: str | int) -> float:
        _in_a_thread(partial(open_store, device, prefetch=prefetch))
        next(count)
        return device.clock()

    loads = tuple(LoadTime(depth, load(modelled(), depth)) for depth in depths)
    best = min(loads, key=lambda one: (one.seconds, one.depth))
    knee = next(one for one in loads if one.seconds <= best.seconds * KNEE_FACTOR)
    kernel = next((one.seconds for one in loads if one.depth == KERNEL_DEPTH), None)
    watched = _Watched(modelled())
    return ModelLoads(
        model=model,
        description=DRIVES[model].description,
        loads=loads,
        kernel_seconds=load(modelled(), "kernel") if kernel is None else kernel,
        auto_seconds=load(watched, "auto"),
        auto_reads_in_flight=watched.most_in_flight,
        best_depth=best.depth,
        best_seconds=best.seconds,
        knee_depth=knee.depth,
        knee_seconds=knee.seconds,
    )


class _Watched(Wrapper):
    """A device that knows how many reads were under way at most."""

    def __init__(self, device: BlockDevice) -> None:
        super().__init__(device)
        self.most_in_flight = 0
        self._in_flight = 0

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        started = super()._start_reads(requests)
        self._in_flight += len(started)
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        for read in started:
            read.add_done_callback(self._done)
        return started

    def _read_into(self, offset: int, view: memoryview) -> None:
        self.most_in_flight = max(self.most_in_flight, self._in_flight + 1)
        super()._read_into(offset, view)

    def _done(self, _: Completion) -> None:
        self._in_flight -= 1


def _loaded(cow: Source, stack: ExitStack) -> Store:
    store = open_store_of(cow, stack)
    if not store.valid:
        name = store.device.name
        raise InvalidStore(
            f"{name}: the snapshot is invalid, so that nothing but the header is loaded",
            hint="describe a store with --areas and --chunk-size instead",
            device=name,
        )
    return store


def _fitting(
    device: BlockDevice, models: Sequence[str], start_bytes: int | None, *, described: bool
) -> tuple[str, ...]:
    """The drives that were named, or all that a device fits on."""
    drives = {name: make_drive(name) for name in models or DRIVES}
    starts = {name: drive.start_bytes if start_bytes is None else start_bytes for name, drive in drives.items()}
    short = [name for name, drive in drives.items() if starts[name] + device.size_bytes > drive.capacity_bytes]
    if short and (models or len(short) == len(drives)):
        named = short[0] if models else max(short, key=lambda name: drives[name].capacity_bytes)
        size, whole, start = map(readable_size, (device.size_bytes, drives[named].capacity_bytes, starts[named]))
        remedies = ["a larger --model"] if models else []
        remedies += ["a smaller --start"] if start_bytes else []
        remedies += ["fewer --areas", "less --room", "a smaller --chunk-size"] if described else []
        raise DoesNotFit(
            f"{device.name}: {size} do not fit on the drive {named} of {whole}, from {start} on",
            hint=f"use {', '.join(remedies[:-1])}{' or ' if remedies[1:] else ''}{remedies[-1]}" if remedies else "",
            device=device.name,
        )
    return tuple(name for name in drives if name not in short)


def _checked(depths: Sequence[int]) -> list[int]:
    """The depths in order, each once."""
    if not 1 <= len(depths) <= MOST_DEPTHS or not all(0 <= depth <= MAX_DEPTH for depth in depths):
        raise BadDepths("no such prefetch depths", hint=f"use 1 to {MOST_DEPTHS} depths from 0 to {MAX_DEPTH}")
    return sorted(set(depths))


def _in_a_thread(work: Callable[[], object]) -> None:
    """Does something where Ctrl-C cannot stop it half-way: who waits for it stops waiting, and it ends by itself."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="simulated-load", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def _counted(progress: Report | None, total: int) -> Iterator[None]:
    """Reports each load that is done."""
    for done in range(1, total + 1):
        if progress is not None:
            progress(done, total)
        yield
