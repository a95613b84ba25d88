"""Judging records, all together: which cannot be, which are not alone, and where they stop being records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.maintenance.surveying import Numbers, Survey, data_index
from dmsnap.store.format import SECTOR_BYTES, data_capacity, exceptions_per_area
from dmsnap.store.ranking import sort_in_place

__all__ = [
    "Geometry",
    "Place",
    "RecordFacts",
    "Strays",
    "first_garbage",
    "judge_records",
    "judge_strays",
    "shared_copies",
]

_LEAST_GARBAGE = 4
_SOUND_BEFORE = 16
"""Of so many records before garbage, one may be damaged."""
_IN_FLIGHT = 2048
"""Copies that kernels have under way at once: old ones put their records into any order."""
_MAX_DEVICE_BYTES = 1 << 63
"""No Linux block device is larger (loff_t is signed)."""

_PART = 1 << 16
"""Records that are looked at together: what is made of them stays in the processor's cache."""

Mask = npt.NDArray[np.bool_]


class Geometry(NamedTuple):
    """What limits the numbers in a record.

    Attributes:
        chunk_bytes: Size of a chunk.
        per_area: Records in a metadata area.
        cow_chunks: Whole chunks on the COW device.
        capacity: How many of them can hold data.
        origin_chunks: Chunks of the origin, the last one perhaps a part; None where no origin is known.
        possible_chunks: Of the largest origin that there can be.
    """

    chunk_bytes: int
    per_area: int
    cow_chunks: int
    capacity: int
    origin_chunks: int | None
    possible_chunks: int

    @classmethod
    def of(cls, chunk_size_sectors: int, cow_size_bytes: int, origin_size_bytes: int | None) -> Geometry:
        """Returns that of a store."""
        size = chunk_size_sectors * SECTOR_BYTES
        chunks, per_area = cow_size_bytes // size, exceptions_per_area(chunk_size_sectors)
        origin = None if origin_size_bytes is None else -(-origin_size_bytes // size)
        return cls(size, per_area, chunks, data_capacity(chunks, per_area), origin, _MAX_DEVICE_BYTES // size)


@dataclass(frozen=True, slots=True)
class Place:
    """Some records.

    Attributes:
        count: How many.
        first: The number of the first of them; 0 where there is none.
    """

    count: int = 0
    first: int = 0


class RecordFacts(NamedTuple):
    """What there is to tell of the records of a store.

    Attributes:
        lost: Copies past the end of the device, where a kernel would have put them.
        outside_cow: Other copies past the end.
        into_metadata: Copies in the header or in an area.
        top_bits: Copies with bits 56-63.
        outside_origin: Records for chunks that the origin does not have, though there may be such chunks.
        impossible_origin: Records for chunks that no device has.
        duplicate_origin: Records for an origin chunk that an earlier one is for.
        shared_copies: Records with a copy that another one has.
        out_of_order: Records whose copy lies before that of the record before.
        used: Chunks with data on the device that records point at, each counted once.
        highest: The index of the last of them among all that can hold data; -1 for none.
        skew: By how much a copy lies elsewhere than a kernel since 1.12.0 puts it, at most, in chunks for data.
    """

    lost: Place
    outside_cow: Place
    into_metadata: Place
    top_bits: Place
    outside_origin: Place
    impossible_origin: Place
    duplicate_origin: Place
    shared_copies: Place
    out_of_order: Place
    used: int
    highest: int
    skew: int

    @property
    def leaked(self) -> int:
        """Chunks for data below the highest that is used which no record points at, nor should one that is damaged."""
        broken = self.outside_cow.count + self.into_metadata.count + self.top_bits.count + self.shared_copies.count
        return max(0, self.highest + 1 - self.used - broken)


@dataclass(frozen=True, slots=True)
class Strays:
    """The strays of a survey, looked at by their copies.

    Attributes:
        index: The copies, counted among the chunks that can hold data.
        top_bits: Those with bits 56-63.
        outside: Those past the end of the device.
        metadata: Those in the header or an area.
    """

    index: npt.NDArray[np.int64]
    top_bits: Mask
    outside: Mask
    metadata: Mask


def judge_strays(survey: Survey, geometry: Geometry) -> Strays:
    """Judges each stray by itself."""
    copies = survey.copies
    strays = Strays(np.empty(len(copies), np.int64), *(np.zeros(len(copies), bool) for _ in range(3)))
    for part in _parts(copies):
        some = copies[part]
        strays.index[part] = data_index(some, geometry.per_area)
        past = some >= geometry.cow_chunks
        if some.dtype == np.uint64:
            strays.top_bits[part] = some >> np.uint64(56) != 0
        strays.outside[part] = past & ~strays.top_bits[part]
        in_metadata = (some % some.dtype.type(geometry.per_area + 1) == 1) | (some == 0)
        strays.metadata[part] = in_metadata & ~past
    return strays


def _parts(numbers: Numbers) -> Iterator[slice]:
    """Divides them, so that what is made of a part on the way takes little memory."""
    for begin in range(0, len(numbers), _PART):
        yield slice(begin, min(begin + _PART, len(numbers)))


def first_garbage(survey: Survey, geometry: Geometry) -> int:
    """Returns from which record on most cannot be, while nearly all before can: all of them, where there is no such.

    That is what is seen where the end marker is lost, and what lies behind is taken for records.
    """
    strays = judge_strays(survey, geometry)
    bad = shared_copies(survey, strays)
    for part in _parts(bad):
        places = survey.places[part].astype(np.int64)
        beyond_reach = strays.index[part] > places + (places >> 3) + _IN_FLIGHT  # else a store that was cut short
        bad[part] |= strays.top_bits[part] | strays.metadata[part] | (strays.outside[part] & beyond_reach)
    numbers = survey.places[bad].astype(np.int64)
    if survey.count and int(survey.origin.max()) >= geometry.possible_chunks:
        numbers = np.union1d(numbers, np.flatnonzero(survey.origin >= geometry.possible_chunks))
    before = np.arange(len(numbers))
    from_here = len(numbers) - before
    garbage = (2 * from_here > survey.count - numbers) & (_SOUND_BEFORE * before <= numbers)
    garbage &= from_here >= _LEAST_GARBAGE
    return int(numbers[np.argmax(garbage)]) if garbage.any() else survey.count


def judge_records(survey: Survey, geometry: Geometry) -> RecordFacts:
    """Returns what there is to tell, in time and memory in proportion to the records."""
    strays = judge_strays(survey, geometry)
    places = survey.places
    sound = ~(strays.top_bits | strays.outside | strays.metadata)
    skew = max((int(_distance(places, strays, part)[sound[part]].max(initial=0)) for part in _parts(places)), default=0)
    near = strays.outside.copy()
    for part in _parts(places):
        near[part] &= _distance(places, strays, part) <= 2 * skew
    shared = shared_copies(survey, strays)
    in_order = survey.count - len(places)
    past = max(0, survey.count - geometry.capacity)
    past_in_order = past - (len(places) - int(np.searchsorted(places, geometry.capacity)))
    lost = _place(places, near)
    if past > 0 and past_in_order:
        first = _first_in_order(places, geometry.capacity)
        lost = Place(lost.count + past_in_order, min(first, lost.first) if lost.count else first)
    highest = max(
        _last_in_order(places, min(survey.count, geometry.capacity)), int(strays.index[sound].max(initial=-1))
    )
    outside_origin, impossible = _origins(survey, geometry)
    return RecordFacts(
        lost=lost,
        outside_cow=_place(places, strays.outside & ~near),
        into_metadata=_place(places, strays.metadata),
        top_bits=_place(places, strays.top_bits),
        outside_origin=outside_origin,
        impossible_origin=impossible,
        duplicate_origin=_repeated(survey.origin),
        shared_copies=_place(places, shared),
        out_of_order=_descents(survey, strays.index, sound & ~shared),
        used=in_order - max(0, past_in_order) + int(np.count_nonzero(sound & ~shared)),
        highest=highest,
        skew=skew,
    )


def _place(places: Numbers, mask: Mask) -> Place:
    count = int(np.count_nonzero(mask))
    return Place(count, int(places[np.argmax(mask)])) if count else Place()


def _distance(places: Numbers, strays: Strays, part: slice) -> npt.NDArray[np.int64]:
    """How far copies lie from where a kernel puts them."""
    return np.abs(strays.index[part] - places[part].astype(np.int64))


def shared_copies(survey: Survey, strays: Strays) -> Mask:
    """Tells which strays have a copy that another record has: one in its place, or an earlier stray."""
    places, copies = survey.places, survey.copies
    shared = np.zeros(len(copies), bool)
    for part in _parts(copies):
        index = strays.index[part]
        taken = (index >= 0) & (index < survey.count) & ~strays.metadata[part] & ~strays.top_bits[part]
        wanted = index[taken].astype(places.dtype)
        there = np.searchsorted(places, wanted)
        there[there == len(places)] = 0
        taken[taken] = places[there] != wanted
        shared[part] = taken
    if not (copies[1:] > copies[:-1]).all():
        order = np.argsort(copies, kind="stable")
        ordered = copies[order]
        shared[order[1:][ordered[1:] == ordered[:-1]]] = True
    return shared


def _origins(survey: Survey, geometry: Geometry) -> tuple[Place, Place]:
    """Records beyond the origin, and such as are beyond any."""
    limit = geometry.possible_chunks if geometry.origin_chunks is None else geometry.origin_chunks
    if not survey.count or int(survey.origin.max()) < limit:
        return Place(), Place()
    beyond = np.flatnonzero(survey.origin >= limit)
    impossible = survey.origin[beyond] >= geometry.possible_chunks
    return _place(beyond, ~impossible), _place(beyond, impossible)


def _repeated(origin: Numbers) -> Place:
    """Records for a chunk that an earlier record is for, without keeping more than one sorted copy of the numbers."""
    above, below = origin[1:], origin[:-1]
    if all((above[part] > below[part]).all() for part in _parts(above)):
        return Place()
    if int(origin.max()) < origin.nbytes and _all_differ(origin):
        return Place()
    ordered = origin.copy()
    sort_in_place(ordered)
    above, below = ordered[1:], ordered[:-1]
    repeated = [above[part][above[part] == below[part]] for part in _parts(above)]
    count = sum(map(len, repeated))
    if not count:
        return Place()
    chunks = np.unique(np.concatenate(repeated))
    del ordered, above, below, repeated
    places = np.flatnonzero(np.isin(origin, chunks))
    affected = origin[places]
    order = np.argsort(affected, kind="stable")
    repeats = order[1:][affected[order[1:]] == affected[order[:-1]]]
    return Place(count, int(places[repeats.min()]))


def _all_differ(numbers: Numbers) -> bool:
    """Whether no number is there twice, by a mark for each that may be: faster than sorting dense ones."""
    seen = np.zeros(int(numbers.max()) + 1, bool)
    for part in _parts(numbers):
        seen[numbers[part]] = True
    return int(np.count_nonzero(seen)) == len(numbers)


def _descents(survey: Survey, index: npt.NDArray[np.int64], sound: Mask) -> Place:
    """Records whose copy lies before the copy of the record before them; those that are not sound do not count."""
    count, first = 0, survey.count
    place_before, index_before = -2, -1
    for part in _parts(survey.places):
        places = survey.places[part].astype(np.int64)
        here = np.where(sound[part], index[part], places)
        adjacent = np.diff(places, prepend=place_before) == 1
        before = np.where(adjacent, np.append(index_before, here[:-1]), places - 1)
        behind = int(survey.places[part.stop]) if part.stop < len(survey.places) else survey.count
        alone = np.diff(places, append=behind) != 1  # one in its place comes next
        numbers = np.concatenate((places[here < before], places[alone & (here > places + 1)] + 1))
        count += len(numbers)
        first = min(first, int(numbers.min(initial=first)))
        place_before, index_before = int(places[-1]), int(here[-1])
    return Place(count, first) if count else Place()


def _first_in_order(places: Numbers, begin: int) -> int:
    """The first number from ``begin`` on that is not a stray's."""
    behind = places[np.searchsorted(places, begin) :].astype(np.int64)
    gaps = behind != np.arange(begin, begin + len(behind))
    return begin + (int(np.argmax(gaps)) if gaps.any() else len(behind))


def _last_in_order(places: Numbers, end: int) -> int:
    """The last number below ``end`` that is not a stray's; -1 for none."""
    below = places[: np.searchsorted(places, end)].astype(np.int64)
    gaps = (below != np.arange(end - len(below), end))[::-1]
    return end - 1 - (int(np.argmax(gaps)) if gaps.any() else len(below))
