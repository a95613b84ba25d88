"""Bytes and change lists on their way out of a snapshot."""

from dmsnap.transfer.changes import ChangedRange, changed_ranges
from dmsnap.transfer.copying import Progress, ReaderGone
from dmsnap.transfer.raw import (
    CannotWrite,
    ExportResult,
    OutputInTheWay,
    OutputIsInput,
    OutputIsStore,
    TargetTooSmall,
    export_raw,
)

__all__ = [
    "CannotWrite",
    "ChangedRange",
    "ExportResult",
    "OutputInTheWay",
    "OutputIsInput",
    "OutputIsStore",
    "Progress",
    "ReaderGone",
    "TargetTooSmall",
    "changed_ranges",
    "export_raw",
]
