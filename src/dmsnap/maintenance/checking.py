"""Checking a store: what it holds, and everything that is wrong or odd with it, as values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.maintenance.events import Exceptions
from dmsnap.maintenance.fitting import fitting_chunk_sizes
from dmsnap.maintenance.judging_header import chunk_size_doubt, judge_header
from dmsnap.maintenance.judging_records import Geometry, Place, RecordFacts, first_garbage, judge_records
from dmsnap.maintenance.progress import Progress, telling
from dmsnap.maintenance.reading import read_events
from dmsnap.maintenance.record_findings import early_end, end_lost, record_findings
from dmsnap.maintenance.room_findings import (
    chunks_near_the_end,
    invalid,
    leaked,
    may_have_been_under_way,
    room_findings,
)
from dmsnap.maintenance.surveying import Numbers, Survey, Surveyor, data_index
from dmsnap.store.finding import Finding, Kind, Severity, worst_first
from dmsnap.store.format import FIRST_DATA_CHUNK, MAGIC, RECORD_BYTES, SECTOR_BYTES, VERSION, Header, area_chunk
from dmsnap.store.load_trace import LoadTrace, recorded
from dmsnap.store.loading import TruncatedStore

__all__ = ["Areas", "CheckReport", "Examined", "NewLoad", "check_store", "examine", "fitting_behind"]

_LOOKED_AT_BYTES = 1 << 16
_MOST_UNREADABLE = 4
_BEHIND_BYTES = 1 << 20
"""How much of an area behind its end marker is looked at."""

NewLoad = Callable[[], LoadTrace]
"""Makes a new trace, of one reading of the areas."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check has found.

    Attributes:
        name: What the COW device is called.
        valid: Whether the header says so; true where the whole header is lost.
        chunk_size_bytes: By which the areas were read: the header's, unless a finding says otherwise; None where none
            is known, and then the numbers below are 0.
        exceptions: Records up to the end marker, or up to where they stop being records.
        areas: Metadata areas in use, the one with the end marker included.
        used_chunks: Chunks with data that records point at.
        leaked_chunks: Chunks that nothing points at, below the last one that is used.
        left_chunks: Chunks for data that are left behind the last one that is used.
        findings: What is wrong or odd, the worst first; empty for a sound store.
    """

    name: str
    valid: bool
    chunk_size_bytes: int | None
    exceptions: int
    areas: int
    used_chunks: int
    leaked_chunks: int
    left_chunks: int
    findings: tuple[Finding, ...]

    @property
    def damaged(self) -> bool:
        """Whether any finding is damage."""
        return any(finding.severity is Severity.DAMAGE for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """Returns the fields under the same names, as JSON types; names and meanings are stable."""
        return asdict(self) | {"findings": [asdict(finding) for finding in self.findings]}


def check_store(
    device: BlockDevice,
    *,
    origin: BlockDevice | None = None,
    prefetch: str | int = "auto",
    new_load: NewLoad | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Checks a store, reading its metadata once. Damage never raises: it is told.

    Of data it looks only at chunks near the end of an invalid store, to tell whether it was full: 128 MiB at most.

    Args:
        device: The COW device; it is never written to.
        origin: What the snapshot was taken of, where it is known; only its size counts.
        prefetch: As for `dmsnap.store.open_store`.
        new_load: Gives a trace for each time that the areas are read: twice where the header's chunk size is wrong.
        progress: Hears how far through the device that has come.

    Raises:
        NotAStore, EmptyStore: Nothing looks like a store.
        IOFailed: The header cannot be read.
        BadPrefetch: No such policy.
    """
    examined = examine(device, origin=origin, prefetch=prefetch, new_load=new_load, progress=progress)
    found = examined.areas
    if found is None:
        return CheckReport(device.name, False, None, 0, 0, 0, 0, 0, examined.findings)
    return CheckReport(
        name=device.name,
        valid=examined.header.valid != 0,
        chunk_size_bytes=found.geometry.chunk_bytes,
        exceptions=found.survey.count,
        areas=found.survey.count // found.geometry.per_area + 1,
        used_chunks=found.facts.used,
        leaked_chunks=found.facts.leaked,
        left_chunks=max(0, found.geometry.capacity - found.facts.highest - 1),
        findings=examined.findings,
    )


class Examined(NamedTuple):
    """A store as a check sees it, which a repair goes on from.

    Attributes:
        header: By which the areas were read; with a chunk size that is worth nothing where they were not.
        findings: What is wrong or odd, the worst first.
        areas: What they hold; None where no chunk size is known.
    """

    header: Header
    findings: tuple[Finding, ...]
    areas: Areas | None


def examine(
    device: BlockDevice,
    *,
    origin: BlockDevice | None = None,
    prefetch: str | int = "auto",
    older: bool = False,
    new_load: NewLoad | None = None,
    progress: Progress | None = None,
) -> Examined:
    """As `check_store`, with all that was read.

    Args:
        device: The COW device.
        origin: As for `check_store`.
        prefetch: As for `check_store`.
        older: Of an empty store in the place of an old one of another chunk size, read the old one.
        new_load: As for `check_store`.
        progress: As for `check_store`.

    Raises:
        NotAStore, EmptyStore, IOFailed, BadPrefetch: As `check_store`.
    """
    block_bytes = SECTOR_BYTES if origin is None else origin.logical_block_size_bytes
    header, findings = judge_header(device, block_bytes)
    if header is None:
        return Examined(Header(MAGIC, 0, VERSION, 0), tuple(findings), None)
    origin_bytes = None if origin is None else origin.size_bytes
    found = _check_areas(device, header, origin_bytes, prefetch, new_load, progress)
    if not findings and (found.senseless or found.unsound):
        doubt = chunk_size_doubt(device, header, garbage=found.garbage or found.unsound > 0, records=found.unsound)
        if doubt is not None:
            findings.append(doubt[1])
            other = doubt[0]
            if older:
                other = header._replace(chunk_size_sectors=fitting_chunk_sizes(device)[0].chunk_size_sectors)
            if other != header:
                header = other
                found = _check_areas(device, header, origin_bytes, prefetch, new_load, progress)
    findings += found.findings
    return Examined(header, worst_first(findings), found)


class Areas(NamedTuple):
    """What the areas hold, read by one chunk size.

    Attributes:
        survey: The records, up to where they stop being any.
        facts: Of these.
        geometry: By which they were judged.
        findings: What is wrong or odd with them.
        read: How many records were read in all.
        stopped: Whether reading them ended before an end marker.
    """

    survey: Survey
    facts: RecordFacts
    geometry: Geometry
    findings: list[Finding]
    read: int
    stopped: bool

    @property
    def senseless(self) -> bool:
        """Whether there are no records, or nothing but what cannot be records."""
        return not self.survey.count

    @property
    def unsound(self) -> int:
        """How many records there are, if not one of them can be."""
        return 0 if self.facts.used or self.facts.lost.count else self.survey.count

    @property
    def garbage(self) -> bool:
        """Whether something was read, or should have been, and it cannot be records."""
        return self.senseless and (self.read > 0 or self.stopped)


def _check_areas(
    device: BlockDevice,
    header: Header,
    origin_bytes: int | None,
    prefetch: str | int,
    new_load: NewLoad | None,
    progress: Progress | None,
) -> Areas:
    geometry = Geometry.of(header.chunk_size_sectors, device.size_bytes, origin_bytes)
    survey, stopped = _surveyed(device, header, geometry, prefetch, new_load, progress)
    end = first_garbage(survey, geometry)
    findings = [] if stopped is None else [stopped]
    whole, read = stopped is None, survey.count
    if end < read:
        survey, findings = survey.up_to(end), [end_lost(end, read, geometry)]
    facts = judge_records(survey, geometry)
    findings += record_findings(facts, geometry)
    if whole and end == read and (behind := _behind_the_end(device, survey, facts, geometry)).count:
        findings.append(early_end(end, behind, geometry))
    if not header.valid:
        findings.append(invalid(facts, geometry, reached_the_end=_reached_the_end(device, facts, geometry)))
    elif not any(finding.severity is Severity.DAMAGE for finding in findings):
        findings += room_findings(facts, geometry, survey.count)
    if facts.leaked and not facts.lost.count:
        findings.append(leaked(facts))
    return Areas(survey, facts, geometry, findings, read, not whole)


def _surveyed(
    device: BlockDevice,
    header: Header,
    geometry: Geometry,
    prefetch: str | int,
    new_load: NewLoad | None,
    progress: Progress | None,
) -> tuple[Survey, Finding | None]:
    """Returns what can be read of the records, and what stopped it before their end."""
    surveyor = Surveyor(geometry.per_area)
    stopped = None
    load = None if new_load is None else new_load()
    try:
        with recorded(load, device, prefetch):
            for event in telling(read_events(device, header=header, prefetch=prefetch, trace=load), progress):
                if isinstance(event, Exceptions):
                    surveyor.add(event)
    except TruncatedStore:
        survey = surveyor.survey()
        return survey, _past_the_end(survey.count // geometry.per_area, geometry)
    except IOFailed as error:
        advice = "copy the device with ddrescue, and repair the copy; the areas behind were not looked at"
        where = {name: error.fields.get(name) for name in ("area", "offset_bytes")}
        stopped = Finding(Kind.UNREADABLE, Severity.DAMAGE, error.message, advice, **where)  # type: ignore[arg-type]
    return surveyor.survey(), stopped


def _reached_the_end(device: BlockDevice, facts: RecordFacts, geometry: Geometry) -> bool:
    """Whether chunks near the end of an invalid store, which no record points at, hold data: it was full, if so.

    The last ones alone say little: a file system's journal and its tables of inodes are zeros before their first use.
    """
    left = geometry.capacity - facts.highest - 1
    near = chunks_near_the_end(geometry)
    if left <= near or not may_have_been_under_way(left, geometry):
        return False
    nothing = bytes(min(geometry.chunk_bytes, _LOOKED_AT_BYTES))
    unreadable = 0
    for index in reversed(range(geometry.capacity - near, geometry.capacity)):
        chunk = index + index // geometry.per_area + FIRST_DATA_CHUNK
        try:
            if bytes(device.read_at(chunk * geometry.chunk_bytes, len(nothing))) != nothing:
                return True
        except IOFailed:  # each may take a disk that fails half a minute
            unreadable += 1
            if unreadable == _MOST_UNREADABLE:
                break
    return False


def _past_the_end(area: int, geometry: Geometry) -> Finding:
    offset = area_chunk(area, geometry.per_area) * geometry.chunk_bytes
    return Finding(
        Kind.CHAIN_PAST_THE_END,
        Severity.DAMAGE,
        f"the records go on in metadata area {area}, at byte {offset}, past the end of the device: no kernel loads it",
        "get the whole of the store; 'dmsnap repair' makes one of what is here",
        area=area,
        offset_bytes=offset,
    )


def _behind_the_end(device: BlockDevice, survey: Survey, facts: RecordFacts, geometry: Geometry) -> Place:
    """Finds records that fit behind the end marker, in the rest of its area or the first part of that.

    Later areas say nothing: what lies there may be of an older store, which kernels leave as it was.
    """
    area, index = divmod(survey.count, geometry.per_area)
    begin = area_chunk(area, geometry.per_area) * geometry.chunk_bytes
    block = max(SECTOR_BYTES, device.logical_block_size_bytes)
    first = index * RECORD_BYTES & -block
    length = min(geometry.chunk_bytes - first, _BEHIND_BYTES)
    try:
        records = np.frombuffer(device.read_at(begin + first, length), "<u8").reshape(-1, 2)
    except IOFailed:  # it could be read a moment ago
        return Place()
    behind = records[index - first // RECORD_BYTES + 1 :]
    fits = fitting_behind(behind, survey.count + 1, facts.skew, geometry)
    count = int(np.count_nonzero(fits))
    return Place(count, survey.count + 1 + int(np.argmax(fits))) if count else Place()


def fitting_behind(records: Numbers, first: int, skew: int, geometry: Geometry) -> npt.NDArray[np.bool_]:
    """Tells which records behind an end marker go on with those before it.

    Args:
        records: Shape (n, 2).
        first: Number of the first of them.
        skew: Of the records before.
        geometry: Of the store.
    """
    copies = records[:, 1]
    places = np.arange(first, first + len(records))
    fits = np.abs(data_index(copies, geometry.per_area) - places) <= 2 * skew
    fits &= (copies < geometry.cow_chunks) & (copies > 1) & (copies % np.uint64(geometry.per_area + 1) != 1)
    fits &= records[:, 0] < geometry.possible_chunks
    return np.asarray(fits)
