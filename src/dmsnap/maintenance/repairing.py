"""Repairing a store into another one, which kernels load: what can be saved of it, and what is to be told of the rest.

The store is read as a check reads it; a stream of sound events is made of that. Copies keep their chunks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dmsnap.block.contract import BlockDevice, IOFailed
from dmsnap.errors import DmsnapError
from dmsnap.maintenance.checking import Areas, Examined, NewLoad, examine
from dmsnap.maintenance.events import BATCH_RECORDS, Begin, Data, End, Events, Exceptions
from dmsnap.maintenance.judging_records import judge_records
from dmsnap.maintenance.progress import Progress
from dmsnap.maintenance.reading import read_data
from dmsnap.maintenance.reading_behind import survey_beyond
from dmsnap.maintenance.repair_report import LastRecord, RepairReport
from dmsnap.maintenance.salvaging import judge_fates
from dmsnap.maintenance.writing import write_events
from dmsnap.store.finding import Finding, Kind, Severity
from dmsnap.store.format import MAGIC, VERSION, area_chunk, record_place

__all__ = ["ALL", "CannotRepair", "NotAccepted", "Repair", "repair"]

ALL = "all"
"""Accepts every damage."""

_OF_RECORDS = {
    Kind.TRUNCATED,
    Kind.OUTSIDE_COW,
    Kind.INTO_METADATA,
    Kind.TOP_BITS,
    Kind.SHARED_COPY,
}
"""Damage to records whose origin chunks are known. Of two for one chunk, one may have been another chunk's."""


class CannotRepair(DmsnapError):
    """Nothing is left that a store could be made of."""


class NotAccepted(DmsnapError):
    """The result would be doubtful, and nobody said that it may be; nothing was written.

    Attributes:
        report: What was found, and what would be done.
    """

    def __init__(self, report: RepairReport) -> None:
        words = [kind.value for kind in report.refused]
        super().__init__(
            f"{report.name}: not repaired, since the result is doubtful by: {', '.join(words)}",
            hint=f"to have it so: {' '.join(f'--accept {word}' for word in words)}",
            kinds=tuple(words),
        )
        self.report = report


def repair(
    device: BlockDevice,
    out: BlockDevice,
    *,
    origin: BlockDevice | None = None,
    accept: Collection[str] = (),
    prefetch: str | int = "auto",
) -> RepairReport:
    """Writes what can be saved of a store to another device, which is large enough and reads as zeros.

    As `Repair`, which tells how large that is, and its `Repair.write`.
    """
    return Repair(device, origin=origin, accept=accept, prefetch=prefetch).write(out)


class Repair:
    """What can be made of a store; nothing is written yet, and never to the store itself.

    Args:
        device: The COW device.
        origin: What the snapshot was taken of, where it is known; only its size counts.
        accept: The kinds of damage whose doubts are accepted, or ``all``. With ``chunk-size`` itself among them, an old
            store is brought back whose place an empty one has taken.
        prefetch: As for `dmsnap.store.open_store`.
        least_bytes: How large the new store is to be at least.
        new_load: As for `dmsnap.maintenance.checking.check_store`.
        progress: As there.

    Attributes:
        report: What was found, and what would be done.

    Raises:
        NotAStore, EmptyStore: Nothing looks like a store.
        CannotRepair: Nobody knows its chunk size, and there are no records.
        IOFailed: The header cannot be read.
        BadPrefetch: No such policy.
    """

    def __init__(
        self,
        device: BlockDevice,
        *,
        origin: BlockDevice | None = None,
        accept: Collection[str] = (),
        prefetch: str | int = "auto",
        least_bytes: int = 0,
        new_load: NewLoad | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._device = device
        self._accept = frozenset(str(word) for word in accept)
        older = Kind.CHUNK_SIZE.value in self._accept
        examined = examine(device, origin=origin, prefetch=prefetch, older=older, new_load=new_load, progress=progress)
        if examined.areas is None:
            raise CannotRepair(
                f"{device.name}: cannot be repaired: its chunk size is lost, and there are no records to tell it",
                hint="make a new store with 'dmsnap create', or look for a copy",
                device=device.name,
            )
        areas = _with_what_is_behind(device, examined.areas, examined.findings)
        self._survey, self._geometry = areas.survey, areas.geometry
        self._header = examined.header._replace(magic=MAGIC, version=VERSION, valid=examined.header.valid or 1)
        missing = Kind.UNREADABLE if examined.areas.stopped else Kind.EARLY_END
        self._fates = judge_fates(areas.survey, areas.facts.skew, areas.geometry, missing)
        self.report = self._report(examined, areas, least_bytes, resurrected=older)

    def _report(self, examined: Examined, areas: Areas, least_bytes: int, *, resurrected: bool) -> RepairReport:
        geometry, fates = self._geometry, self._fates
        needed = tuple(
            dict.fromkeys(finding.kind for finding in examined.findings if finding.severity is Severity.DAMAGE)
        )
        if resurrected and any(finding.kind is Kind.CHUNK_SIZE for finding in examined.findings):
            needed = tuple(dict.fromkeys((Kind.CHUNK_SIZE, *needed)))
        exceptions = self._survey.count - len(fates.lost)
        chunks = max(area_chunk(exceptions // geometry.per_area, geometry.per_area), self._highest()) + 1
        return RepairReport(
            name=self._device.name,
            written=False,
            chunk_size_bytes=geometry.chunk_bytes,
            size_bytes=max(self._device.size_bytes, chunks * geometry.chunk_bytes, least_bytes),
            exceptions=exceptions,
            findings=examined.findings,
            needed=needed,
            refused=self._refused(needed),
            rest_doubtful=not _OF_RECORDS.issuperset(needed) or not fates.known.all(),
            last_record=None if examined.header.valid else _last_record(areas),
            fates=fates,
            geometry=geometry,
        )

    def _refused(self, needed: tuple[Kind, ...]) -> tuple[Kind, ...]:
        return () if ALL in self._accept else tuple(kind for kind in needed if kind.value not in self._accept)

    def _highest(self) -> int:
        """The last chunk with a copy that stays."""
        highest = 0
        for _, records in self._kept():
            highest = max(highest, int(records[:, 1].max(initial=0)))
        return highest

    def write(self, out: BlockDevice, progress: Progress | None = None) -> RepairReport:
        """Writes the new store.

        Args:
            out: Of at least ``report.size_bytes``, reading as zeros.
            progress: Called as ``progress(done_bytes, total_bytes)`` for the copies.

        Raises:
            NotAccepted: Something is doubtful and not accepted; that copies cannot be read comes out only here, and
                then the new store is not whole.
            DoesNotFit, IOFailed, ReadOnlyDevice: About ``out``.
        """
        if self.report.refused:
            raise NotAccepted(self.report)
        unreadable: list[tuple[int, int, int]] = []
        exceptions = write_events(self.events(unreadable, progress), out)
        report = self.report
        if unreadable:
            report = self._with_unreadable(unreadable)
            if report.refused:
                raise NotAccepted(report)
        return replace(report, written=True, exceptions=exceptions)

    def events(self, unreadable: list[tuple[int, int, int]], progress: Progress | None = None) -> Events:
        """Yields the new store. The data of each batch comes before its records, so that these are without lost ones.

        Args:
            unreadable: Gets number, origin and COW chunk of records whose copies cannot be read.
            progress: As for `write`.
        """
        total = self.report.exceptions * self._geometry.chunk_bytes
        done = first = 0
        yield Begin(self._header, self.report.size_bytes)
        for numbers, records in self._kept():
            bad: set[int] = set()
            for data in self._copies(records[:, 1], bad):
                yield data
                done += len(data.data)
                if progress is not None:
                    progress(min(done, total), total)
            if bad:
                lost = np.isin(records[:, 1], np.array(sorted(bad), np.uint64))
                columns = (numbers[lost], records[lost, 0], records[lost, 1])
                unreadable += zip(*(column.tolist() for column in columns), strict=True)
                records = records[~lost]
            yield Exceptions(first, records)
            first += len(records)
        yield End(first)

    def _kept(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]]:
        """Yields the records that stay, with their old numbers, batch by batch."""
        fates = self._fates
        for begin in range(0, self._survey.count, BATCH_RECORDS):
            records = self._survey.records(begin, begin + BATCH_RECORDS, self._geometry.per_area)
            numbers = np.arange(begin, begin + len(records))
            judged = slice(*np.searchsorted(fates.numbers, (begin, begin + len(records))).tolist())
            records[fates.numbers[judged] - begin, 1] = fates.copies[judged]
            kept = records[:, 1] != 0
            yield numbers[kept], records[kept]

    def _copies(self, chunks: npt.NDArray[np.uint64], bad: set[int]) -> Iterator[Data]:
        """Yields the content of some chunks; those that cannot be read go into ``bad``."""
        size = self._geometry.chunk_bytes
        try:
            yield from read_data(self._device, size, chunks)
        except IOFailed:  # then each by itself
            for chunk in chunks.tolist():
                try:
                    yield Data(chunk, memoryview(self._device.read_at(chunk * size, size)))
                except IOFailed:
                    bad.add(chunk)

    def _with_unreadable(self, lost: list[tuple[int, int, int]]) -> RepairReport:
        report = self.report
        number, origin, chunk = lost[0]
        copies = "1 copy" if len(lost) == 1 else f"{len(lost)} copies"
        finding = Finding(
            Kind.UNREADABLE,
            Severity.DAMAGE,
            f"{copies} of origin chunks cannot be read, the first that of chunk {origin}",
            "copy the device with ddrescue, and repair the copy",
            len(lost),
            *divmod(number, self._geometry.per_area),
            chunk * self._geometry.chunk_bytes,
        )
        needed = tuple(dict.fromkeys((*report.needed, Kind.UNREADABLE)))
        columns = np.array(lost, np.uint64)
        self._fates = self._fates.with_lost(columns[:, 0].astype(np.int64), columns[:, 1], Kind.UNREADABLE)
        self.report = replace(
            report,
            exceptions=report.exceptions - len(lost),
            findings=(*report.findings, finding),
            needed=needed,
            refused=self._refused(needed),
            fates=self._fates,
        )
        return self.report

    def kept_origins(self) -> npt.NDArray[np.uint64]:
        """Returns the origin chunks that the new store has, ascending."""
        return np.sort(np.concatenate([records[:, 0] for _, records in self._kept()] or [np.empty(0, np.uint64)]))


def _with_what_is_behind(device: BlockDevice, areas: Areas, findings: tuple[Finding, ...]) -> Areas:
    if not {Kind.EARLY_END, Kind.UNREADABLE}.intersection(finding.kind for finding in findings):
        return areas
    survey = survey_beyond(device, areas)
    return areas._replace(survey=survey, facts=judge_records(survey, areas.geometry))


def _last_record(areas: Areas) -> LastRecord | None:
    survey, geometry = areas.survey, areas.geometry
    if not survey.count:
        return None
    number = survey.count - 1
    left = max(0, geometry.capacity - areas.facts.highest - 1)
    place = record_place(number, geometry.per_area, geometry.chunk_bytes)
    return LastRecord(number, *place, int(survey.origin[number]), left)
