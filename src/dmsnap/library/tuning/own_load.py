"""Loading by dmsnap, for the time it takes: really where there is a store, else rehearsed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dmsnap.library.tuning.measured_device import BadMeasure, MeasuredDevice
from dmsnap.library.tuning.places import Places
from dmsnap.library.tuning.rehearsal import Loading, load, rehearse
from dmsnap.library.tuning.used_areas import guess_used_areas

__all__ = ["LoadEstimate", "OwnLoad", "load_by_dmsnap"]

MOST_REHEARSED = 8192
"""Areas: enough for `auto` to find its depth, and then to show what it comes to."""


@dataclass(frozen=True, slots=True)
class LoadEstimate:
    """How long a load takes.

    Attributes:
        seconds: Most likely.
        least_seconds: Where all of it goes as fast as the fastest sample.
        most_seconds: Where all of it goes as slowly as the slowest.
    """

    seconds: float
    least_seconds: float
    most_seconds: float


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """What came of a load by dmsnap.

    Attributes:
        measured: The device; its areas are now those in use, as far as that is known.
        areas_known: Whether they are.
        places: Where to read next.
        loading: How it went.
        rehearsed: Whether no real store was loaded.
        again: How another load of the same store went, after trials had read its areas too.
    """

    measured: MeasuredDevice
    areas_known: bool
    places: Places
    loading: Loading
    rehearsed: bool
    again: Loading | None = None

    @property
    def complete(self) -> bool:
        """Whether all of a real store was loaded."""
        return self.loading.finished and not self.rehearsed

    @property
    def again_seconds(self) -> float:
        """How much time to leave for `repeated`."""
        return 1.5 * self.loading.seconds if self.complete else 0.0

    def repeated(self, sampled_areas: int, until: float) -> OwnLoad:
        """Loads a store once more, if most samples were of areas read before: its device may be faster at that."""
        if not self.complete or 2 * self.places.reread <= sampled_areas:
            return self
        again = load(self.measured.device, self.measured.chunk_size_sectors, "auto", until)
        return replace(self, again=again) if again.finished else self

    def time(self) -> LoadEstimate | None:
        """Returns how long all areas take; None if nothing was read in the time."""
        areas, marks = self.measured.areas, self.loading.marks
        done, seconds = self.loading.areas, self.loading.seconds
        if not done:
            return None
        if self.again is not None:
            return LoadEstimate(self.again.seconds, min(seconds, self.again.seconds), max(seconds, self.again.seconds))
        if done >= areas:
            return LoadEstimate(seconds, seconds, seconds)
        # What is left goes on as the second half did: by then the depth is found. Its own two halves tell the spread.
        quarters = [next(mark for mark in marks if mark[0] >= done * part / 4) for part in (2, 3, 4)]
        middle, late, end = quarters
        rates = [_rate(middle, end), _rate(middle, late), _rate(late, end), seconds / done]
        known = [rate for rate in rates if rate is not None]
        left = areas - done
        return LoadEstimate(seconds + left * known[0], seconds + left * min(known), seconds + left * max(known))


def load_by_dmsnap(measured: MeasuredDevice, share: float, until: float, *, longest: int, seed: int) -> OwnLoad:
    """Loads the store, or rehearses one.

    Args:
        measured: The device.
        share: When to stop loading, by the device's clock.
        until: When to stop everything.
        longest: The most places that will be wanted at once afterwards.
        seed: Of where they are.

    Raises:
        BadMeasure: The device has nothing but holes.
        TruncatedStore, IOFailed: The store cannot be loaded, nor could a kernel.
    """
    device, sectors = measured.device, measured.chunk_size_sectors
    areas, known, used = measured.areas, True, 0
    if measured.valid_store:
        loading = load(device, sectors, "auto", share)
        used = areas = loading.areas
        if not loading.finished:
            guess = guess_used_areas(device, sectors, used, until)
            known, areas = False, min(guess, measured.areas_on_device)
    places = Places(device, sectors, areas, used=used, longest=longest, until=until, seed=seed)
    if not measured.valid_store:
        rehearsed = places.take(min(areas, MOST_REHEARSED))
        if not rehearsed and device.clock() < until:
            raise BadMeasure(
                f"{device.name}: nothing but holes, which take no time to read",
                hint="measure the device that the file lies on, or a file that was written",
                device=device.name,
            )
        loading = rehearse(device, sectors, "auto", rehearsed, share) if rehearsed else Loading((), finished=False)
    return OwnLoad(replace(measured, areas=areas), known, places, loading, not measured.valid_store)


def _rate(begin: tuple[int, float], end: tuple[int, float]) -> float | None:
    """Seconds an area between two marks; None where there is nothing between them."""
    return (end[1] - begin[1]) / (end[0] - begin[0]) if end[0] > begin[0] else None
