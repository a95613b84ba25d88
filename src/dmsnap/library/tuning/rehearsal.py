"""Loading rehearsed: the very loader reads areas of a device for the time it takes, whatever they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BlockDevice, IOFailed, ReadRequest
from dmsnap.block.wrap import Wrapper
from dmsnap.store.format import SECTOR_BYTES, area_chunk, exceptions_per_area
from dmsnap.store.loading import AreaReader
from dmsnap.store.prefetch import prefetch_policy

__all__ = ["Loading", "load", "rehearse"]


class TimeUp(IOFailed):
    """A read that was not begun, since the time for it is over."""


@dataclass(frozen=True, slots=True)
class Loading:
    """How a load went.

    Attributes:
        marks: Areas read and seconds since the start, again and again, ascending; the last is where it ended.
        finished: Whether it came to the end, and not its time.
    """

    marks: tuple[tuple[int, float], ...]
    finished: bool

    @property
    def areas(self) -> int:
        """Areas read."""
        return self.marks[-1][0] if self.marks else 0

    @property
    def seconds(self) -> float:
        """How long that took."""
        return self.marks[-1][1] if self.marks else 0.0


def load(device: BlockDevice, chunk_size_sectors: int, prefetch: str | int, until: float) -> Loading:
    """Reads the metadata of the store on a device, and drops it.

    Args:
        device: The COW device.
        chunk_size_sectors: Of the store.
        prefetch: The policy; a fixed depth counts pieces where chunks are so large that they are read in pieces.
        until: When to give up, by the device's clock; what is under way then is waited for.

    Raises:
        TruncatedStore, IOFailed: As `AreaReader.batches`.
    """
    return _run(_UntilDevice(device, until), chunk_size_sectors, prefetch)


def rehearse(
    device: BlockDevice,
    chunk_size_sectors: int,
    prefetch: str | int,
    places: Sequence[int],
    until: float,
    *,
    room: int = 0,
) -> Loading:
    """Does as `load` for a store of full areas that lie at ``places``, which are chunk numbers of the device.

    The last ``room`` of them are not in use: reading ahead finds them all the same, and waits for them in the end.

    Raises:
        IOFailed: A place cannot be read.
    """
    return _run(_FullAreas(device, until, chunk_size_sectors, places, room), chunk_size_sectors, prefetch)


def _run(device: BlockDevice, chunk_size_sectors: int, prefetch: str | int) -> Loading:
    marks: list[tuple[int, float]] = []
    started = device.clock()
    per_area = exceptions_per_area(chunk_size_sectors)
    reader = AreaReader(device, chunk_size_sectors, prefetch_policy(prefetch))
    try:
        for batch in reader.batches():
            areas = batch.first_area + (batch.first_index + len(batch.records)) // per_area
            marks.append((areas, device.clock() - started))
    except IOFailed as error:
        if isinstance(error.__cause__, TimeUp):
            return Loading(tuple(marks), finished=False)
        raise
    marks.append((reader.current_area + 1, device.clock() - started))
    return Loading(tuple(marks), finished=True)


class _UntilDevice(Wrapper):
    """A device that begins no read after a moment. It is not to be closed: that would close the device."""

    def __init__(self, device: BlockDevice, until: float) -> None:
        super().__init__(device)
        self._until = until

    def _read_into(self, offset: int, view: memoryview) -> None:
        self._check_time()
        super()._read_into(offset, view)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        self._check_time()
        return super()._start_reads(requests)

    def _check_time(self) -> None:
        if self.clock() >= self._until:
            raise TimeUp(f"{self.name}: the time for measuring is over")


class _FullAreas(_UntilDevice):
    """Places on a device as the areas of a store: full, but for the last one in use and those behind it."""

    def __init__(
        self, device: BlockDevice, until: float, chunk_size_sectors: int, places: Sequence[int], room: int
    ) -> None:
        super().__init__(device, until)
        self._chunk_bytes = chunk_size_sectors * SECTOR_BYTES
        self._per_area = exceptions_per_area(chunk_size_sectors)
        self._places = places
        self._full_areas = len(places) - room - 1
        self._full = bytes([1]) * min(self._chunk_bytes, 1 << 20)

    @property
    def size_bytes(self) -> int:
        return (area_chunk(len(self._places) - 1, self._per_area) + 1) * self._chunk_bytes

    def _read_into(self, offset: int, view: memoryview) -> None:
        area, at = self._find(offset)
        super()._read_into(at, view)
        self._fill(area, view)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        found = [self._find(offset) for offset, _ in requests]
        below = super()._start_reads([(at, view) for (_, at), (_, view) in zip(found, requests, strict=True)])
        return [
            self._filled(completion, area, view)
            for completion, (area, _), (_, view) in zip(below, found, requests, strict=True)
        ]

    def _find(self, offset: int) -> tuple[int, int]:
        """Returns the area that a read is of, and where it lies on the device below."""
        chunk, within = divmod(offset, self._chunk_bytes)
        area = (chunk - 1) // (self._per_area + 1)
        return area, self._places[area] * self._chunk_bytes + within

    def _fill(self, area: int, view: memoryview) -> None:
        view[:] = self._full[: len(view)] if area < self._full_areas else bytes(len(view))

    def _filled(self, below: Completion, area: int, view: memoryview) -> Completion:
        if below.done and below.error is None:
            self._fill(area, view)
            return COMPLETED
        return _Filled(self, below, area, view)


class _Filled(Completion):
    """A read of the device below, with what was read replaced by records once it is there."""

    __slots__ = ("_below",)

    def __init__(self, areas: _FullAreas, below: Completion, area: int, view: memoryview) -> None:
        super().__init__()
        self._below = below

        def arrived(completion: Completion) -> None:
            if completion.error is None:
                areas._fill(area, view)
            self.finish(completion.error)

        below.add_done_callback(arrived)

    def wait(self) -> None:
        if not self.done:
            self._below.wait()  # a model of a disk lets its time pass in there
        super().wait()
