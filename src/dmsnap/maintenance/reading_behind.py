"""Reading on where the records seem to end, or an area cannot be read: what lies behind may still be had.

A kernel zeroes the next area before it fills one up. So behind a full area there is one of the same store, while what
lies behind a part of one may be of an older store, and is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.maintenance.checking import Areas, fitting_behind
from dmsnap.maintenance.events import BATCH_RECORDS, Exceptions
from dmsnap.maintenance.judging_records import Geometry
from dmsnap.maintenance.surveying import Survey, Surveyor
from dmsnap.store.format import RECORD_BYTES, SECTOR_BYTES, area_chunk, areas_on

__all__ = ["survey_beyond"]

_PIECE_BYTES = 1 << 20
_MOST_UNREADABLE = 64
"""Areas in a row."""

_Records = npt.NDArray[np.uint64]


def survey_beyond(device: BlockDevice, areas: Areas) -> Survey:
    """Returns the records of some areas, and those behind them that fit.

    Records between these that cannot be had are zeros: their number, and so the place of those behind, is known.
    """
    survey, geometry = areas.survey, areas.geometry
    surveyor = Surveyor(geometry.per_area)
    for begin in range(0, survey.count, BATCH_RECORDS):
        surveyor.add(Exceptions(begin, survey.records(begin, begin + BATCH_RECORDS, geometry.per_area)))
    for event in _records_behind(device, survey.count, areas.facts.skew, geometry):
        surveyor.add(event)
    return surveyor.survey()


def _records_behind(device: BlockDevice, first: int, skew: int, geometry: Geometry) -> Iterator[Exceptions]:
    area, index = divmod(first, geometry.per_area)
    missing = unreadable = 0
    while area < areas_on(geometry.cow_chunks, geometry.per_area) and unreadable < _MOST_UNREADABLE:
        unreadable += 1
        for begin, records in _pieces(device, area, index, geometry):
            number = area * geometry.per_area + begin
            if records is None:
                missing += min(_PIECE_BYTES // RECORD_BYTES, geometry.per_area - begin)
                continue
            fits = np.flatnonzero(fitting_behind(records, number, skew, geometry))
            if not len(fits):
                missing += len(records)
                continue
            yield from _zeros(number - missing, missing)
            yield Exceptions(number, records[: fits[-1] + 1])
            missing, unreadable = len(records) - 1 - int(fits[-1]), 0
        if missing and records is not None:
            return
        area, index = area + 1, 0


def _pieces(device: BlockDevice, area: int, index: int, geometry: Geometry) -> Iterator[tuple[int, _Records | None]]:
    """Yields the records of an area from one on, piece by piece, each with its index; None for an unreadable one."""
    block = max(SECTOR_BYTES, device.logical_block_size_bytes)
    at = area_chunk(area, geometry.per_area) * geometry.chunk_bytes
    while index < geometry.per_area:
        begin = index * RECORD_BYTES & -block
        length = min(_PIECE_BYTES, geometry.chunk_bytes - begin)
        skipped = index - begin // RECORD_BYTES
        try:
            yield index, np.frombuffer(device.read_at(at + begin, length), "<u8").reshape(-1, 2)[skipped:]
        except IOFailed:
            yield index, None
        index += length // RECORD_BYTES - skipped


def _zeros(first: int, count: int) -> Iterator[Exceptions]:
    for begin in range(first, first + count, BATCH_RECORDS):
        yield Exceptions(begin, np.zeros((min(BATCH_RECORDS, first + count - begin), 2), np.uint64))
