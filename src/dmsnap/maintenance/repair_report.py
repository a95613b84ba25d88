"""What a repair tells: what was wrong, what was decided, and what of the content is lost or doubtful."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from dmsnap.maintenance.judging_records import Geometry
from dmsnap.maintenance.salvaging import Fates, RecordFate
from dmsnap.store.finding import Finding, Kind

__all__ = ["LastRecord", "RepairReport"]


@dataclass(frozen=True, slots=True)
class LastRecord:
    """Where an invalid store ends: the last thing known of it before its moment.

    Attributes:
        number: Of the last record, counted from the beginning.
        area: Its metadata area.
        index: Its number there.
        offset_bytes: Where it lies.
        origin_chunk: The last chunk that was copied and recorded.
        left_chunks: Chunks for data that were left behind its copy.
    """

    number: int
    area: int
    index: int
    offset_bytes: int
    origin_chunk: int
    left_chunks: int


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair has found and done, or would do.

    Attributes:
        name: What the COW device is called.
        written: Whether the new store was written.
        chunk_size_bytes: Of both stores.
        size_bytes: Of the new store.
        exceptions: In the new store.
        findings: What a check finds in the old store.
        needed: The kinds that have to be accepted: whatever is damage.
        refused: Those of them that were not.
        rest_doubtful: Whether chunks without a copy are doubtful: they show what the origin holds now.
        last_record: Of a store that is marked invalid and has records.
        fates: Of the records that did not stay as they were.
        geometry: Of the old store.
    """

    name: str
    written: bool
    chunk_size_bytes: int
    size_bytes: int
    exceptions: int
    findings: tuple[Finding, ...]
    needed: tuple[Kind, ...]
    refused: tuple[Kind, ...]
    rest_doubtful: bool
    last_record: LastRecord | None
    fates: Fates
    geometry: Geometry

    @property
    def lost_records(self) -> int:
        """How many records were dropped."""
        return len(self.fates.lost)

    @property
    def doubtful_records(self) -> int:
        """How many were kept, or given another copy, and may be wrong."""
        return len(self.fates.numbers) - self.lost_records

    def records(self) -> Iterator[RecordFate]:
        """Yields the records that were dropped, mended or are doubtful, in their order."""
        return self.fates.of(self.geometry)

    def to_json(self) -> dict[str, object]:
        """Returns it as JSON types; names and meanings are stable."""
        return {
            "name": self.name,
            "written": self.written,
            "chunk_size_bytes": self.chunk_size_bytes,
            "size_bytes": self.size_bytes,
            "exceptions": self.exceptions,
            "findings": [asdict(finding) for finding in self.findings],
            "needed": [kind.value for kind in self.needed],
            "refused": [kind.value for kind in self.refused],
            "rest_doubtful": self.rest_doubtful,
            "last_record": None if self.last_record is None else asdict(self.last_record),
            "lost_records": self.lost_records,
            "doubtful_records": self.doubtful_records,
            "records": [asdict(fate) for fate in self.records()],
        }
