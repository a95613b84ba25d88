"""What is wrong or odd in a store, for people: in the same words whichever verb tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dmsnap.cli.text import printable

if TYPE_CHECKING:
    from dmsnap.store.finding import Finding

__all__ = ["COLOURS", "finding_line", "finding_lines"]

COLOURS = {"note": "cyan", "warning": "yellow", "damage": "red"}
"""Of severities."""


def finding_lines(findings: Iterable[Finding]) -> Iterator[tuple[str, str]]:
    """Yields what to tell of findings, in pieces: each with the severity whose colour it gets, or none."""
    for finding in findings:
        yield finding.severity.value, _title(finding)
        yield "", f": {_said(finding)}\n    {printable(finding.advice)}\n"


def finding_line(finding: Finding) -> str:
    """Returns the same on one line, without the advice."""
    return f"{_title(finding)}: {_said(finding)}"


def _title(finding: Finding) -> str:
    return f"{finding.severity.value}: {finding.kind.value}"


def _said(finding: Finding) -> str:
    return printable(finding.message) + _place(finding)


def _place(finding: Finding) -> str:
    if finding.area is not None and finding.index is not None:
        return f" (area {finding.area}, record {finding.index}, at byte {finding.offset_bytes})"
    return ""
