"""What becomes of each record of a damaged store: it stays, gets another copy, or is dropped.

A kernel gives out the chunks for data in a row. So where one record is damaged, and those around it leave just one
chunk over between theirs, that chunk is its copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.maintenance.judging_records import Geometry, Strays, judge_strays, shared_copies
from dmsnap.maintenance.surveying import Survey, data_index
from dmsnap.store.finding import Kind
from dmsnap.store.format import FIRST_DATA_CHUNK, record_place
from dmsnap.store.kernel_order import found_by_linux

__all__ = ["Fates", "RecordFate", "judge_fates"]

_KINDS = tuple(Kind)
_CODES = {kind: code for code, kind in enumerate(Kind)}
_SOUND = -1

_Ints = npt.NDArray[np.int64]
_Chunks = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class RecordFate:
    """What becomes of one record.

    Attributes:
        number: Of the record, counted from the beginning of the old store.
        area: Its metadata area.
        index: Its number there.
        offset_bytes: Where it lies in the old store.
        origin_chunk: Which chunk it is for; None where that is lost.
        cow_chunk: Its copy in the new store, doubtful; None where the record was dropped and the content is lost.
        kind: What was found wrong with it.
    """

    number: int
    area: int
    index: int
    offset_bytes: int
    origin_chunk: int | None
    cow_chunk: int | None
    kind: Kind


class Fates(NamedTuple):
    """The records that do not stay as they are, or are doubtful as they are; ascending.

    Attributes:
        numbers: Of the records.
        origin: Their origin chunks.
        copies: Their copies in the new store; 0 for what is lost.
        codes: Their kinds.
        known: Whether the origin chunk is.
    """

    numbers: _Ints
    origin: _Chunks
    copies: _Chunks
    codes: npt.NDArray[np.int8]
    known: npt.NDArray[np.bool_]

    @property
    def lost(self) -> _Ints:
        """Numbers of the records that are dropped."""
        return np.compress(self.copies == 0, self.numbers)

    def with_lost(self, numbers: _Ints, origin: _Chunks, kind: Kind) -> Fates:
        """Returns these and some more that are lost."""
        return _joined([_fates(numbers, origin, np.zeros(len(numbers), np.uint64), kind), self])

    def of(self, geometry: Geometry) -> Iterator[RecordFate]:
        """Yields the fates, each with its place."""
        columns = (self.numbers, self.origin, self.copies, self.codes, self.known)
        for number, origin, copy, code, known in zip(*(column.tolist() for column in columns), strict=True):
            place = record_place(number, geometry.per_area, geometry.chunk_bytes)
            yield RecordFate(number, *place, origin if known else None, copy or None, _KINDS[code])


def judge_fates(survey: Survey, skew: int, geometry: Geometry, missing: Kind = Kind.EARLY_END) -> Fates:
    """Decides about every record.

    Args:
        survey: All of them; zeros where there should be one.
        skew: As judged, see `RecordFacts`.
        geometry: Of the store.
        missing: Why there are zeros.
    """
    strays = judge_strays(survey, geometry)
    places = survey.places.astype(np.int64)
    codes = _stray_codes(survey, strays, np.abs(strays.index - places) <= 2 * skew, missing)
    impossible = np.flatnonzero(survey.origin >= geometry.possible_chunks)
    parts = [_fates(impossible, survey.origin[impossible], None, Kind.OUTSIDE_ORIGIN, known=False)]
    beyond = np.setdiff1d(np.arange(geometry.capacity, survey.count), places)
    parts.append(_fates(beyond, survey.origin[beyond], None, Kind.TRUNCATED))
    bad = codes != _SOUND
    origin = survey.origin[places[bad]].astype(np.uint64)
    unknown = (survey.copies[bad] == 0) & (origin == 0)
    copies = _copies_by_neighbours(survey, places, codes, geometry)
    copies[unknown] = 0
    parts.append(Fates(places[bad], origin, copies, codes[bad], ~unknown))
    parts.append(_sharing(survey, places, codes, strays.index))
    judged = _joined(parts)
    return _joined([_duplicates(survey, judged, geometry), judged])


def _stray_codes(survey: Survey, strays: Strays, near: npt.NDArray[np.bool_], missing: Kind) -> npt.NDArray[np.int8]:
    codes = np.full(len(survey.places), _SOUND, np.int8)
    codes[shared_copies(survey, strays)] = _CODES[Kind.SHARED_COPY]
    codes[strays.outside] = _CODES[Kind.OUTSIDE_COW]
    codes[strays.outside & near] = _CODES[Kind.TRUNCATED]
    codes[strays.metadata] = _CODES[Kind.INTO_METADATA]
    codes[strays.top_bits] = _CODES[Kind.TOP_BITS]
    codes[survey.copies == 0] = _CODES[missing]
    return codes


def _copies_by_neighbours(survey: Survey, places: _Ints, codes: npt.NDArray[np.int8], geometry: Geometry) -> _Chunks:
    """Returns, for each bad stray, the copy that its neighbours leave for it; 0 where they do not."""
    copies = np.zeros(np.count_nonzero(codes != _SOUND), np.uint64)
    wanted = codes[codes != _SOUND] != _CODES[Kind.TRUNCATED]
    numbers = places[codes != _SOUND][wanted]
    if not len(numbers):
        return copies
    starts = np.flatnonzero(np.append(True, np.diff(numbers) != 1))
    lengths = np.diff(np.append(starts, len(numbers)))
    before, behind = numbers[starts] - 1, numbers[starts] + lengths
    left = np.where(before < 0, -1, _index(survey, np.maximum(before, 0), geometry))
    at_end = behind == survey.count
    right = _index(survey, np.where(at_end, 0, behind), geometry)
    sure = at_end | (right - left == lengths + 1)
    group = np.repeat(np.arange(len(starts)), lengths)
    index = left[group] + numbers - before[group]
    impossible = (index < 0) | (index >= geometry.capacity) | _taken(survey, index, places, codes, geometry)
    sure[group[impossible]] = False
    found = np.where(sure[group], index + index // geometry.per_area + FIRST_DATA_CHUNK, 0)
    copies[wanted] = found.astype(np.uint64)
    return copies


def _index(survey: Survey, numbers: _Ints, geometry: Geometry) -> _Ints:
    return data_index(survey.copies_of(numbers, geometry.per_area), geometry.per_area)


def _taken(
    survey: Survey, index: _Ints, places: _Ints, codes: npt.NDArray[np.int8], geometry: Geometry
) -> npt.NDArray[np.bool_]:
    """Whether sound records have these chunks: those in their places, or strays."""
    in_place = (index < survey.count) & ~np.isin(index, places)
    return in_place | np.isin(index, data_index(survey.copies[codes == _SOUND], geometry.per_area))


def _sharing(survey: Survey, places: _Ints, codes: npt.NDArray[np.int8], index: _Ints) -> Fates:
    """The records that keep a copy which others point at as well: doubtful, the more so in stores of old kernels."""
    shared = codes == _CODES[Kind.SHARED_COPY]
    if not shared.any():
        return _fates(places[:0], survey.origin[:0], None, Kind.SHARED_COPY)
    strays = (codes == _SOUND) & np.isin(survey.copies, survey.copies[shared])
    in_place = np.unique(index[shared])
    in_place = in_place[(in_place >= 0) & (in_place < survey.count) & ~np.isin(in_place, places)]
    order = np.argsort(index[shared], kind="stable")
    chunks = [survey.copies[shared][order][np.searchsorted(index[shared][order], in_place)], survey.copies[strays]]
    numbers = np.concatenate((in_place, places[strays]))
    return _fates(numbers, survey.origin[numbers], np.concatenate(chunks).astype(np.uint64), Kind.SHARED_COPY)


def _duplicates(survey: Survey, judged: Fates, geometry: Geometry) -> Fates:
    """Of records for one chunk, the one that kernels read stays."""
    kept = np.ones(survey.count, np.bool_)
    kept[judged.lost] = False
    ordered = np.sort(survey.origin[kept])
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(twice):
        return _fates(judged.numbers[:0], judged.origin[:0], None, Kind.DUPLICATE)
    shift = survey.origin.dtype.type(8)
    numbers = np.flatnonzero(kept & np.isin(survey.origin >> shift, np.unique(twice >> shift)))
    origin = survey.origin[numbers].astype(np.uint64)
    copies = survey.copies_of(numbers, geometry.per_area)
    there = np.minimum(np.searchsorted(judged.numbers, numbers), max(0, len(judged.numbers) - 1))
    if len(judged.numbers):
        mended = judged.numbers[there] == numbers
        copies[mended] = judged.copies[there[mended]]
    chunks, winners = found_by_linux(origin, copies)
    order = np.argsort(chunks)
    winner = winners[order][np.searchsorted(chunks[order], origin)]
    double = np.isin(origin, twice)
    return _fates(
        numbers[double],
        origin[double],
        np.where(copies == winner, copies, np.uint64(0))[double],
        Kind.DUPLICATE,
    )


def _fates(
    numbers: npt.NDArray[Any], origin: npt.NDArray[Any], copies: _Chunks | None, kind: Kind, *, known: bool = True
) -> Fates:
    count = len(numbers)
    return Fates(
        numbers.astype(np.int64),
        origin.astype(np.uint64),
        np.zeros(count, np.uint64) if copies is None else copies,
        np.full(count, _CODES[kind], np.int8),
        np.full(count, known, np.bool_),
    )


def _joined(parts: list[Fates]) -> Fates:
    """All of them in order; of several about one record, the first."""
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    first = np.unique(columns[0], return_index=True)[1]
    return Fates(*(column[first] for column in columns))
