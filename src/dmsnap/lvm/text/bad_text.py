"""The error of text that breaks the grammar."""

from __future__ import annotations

from dmsnap.errors import DmsnapError

__all__ = ["BadText"]


class BadText(DmsnapError):
    """Text that is not LVM2's, and the ``line`` and ``column`` (in characters, from 1) where it stops being so."""

    def __init__(self, what: str, text: str, position: int) -> None:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        super().__init__(
            f"line {line}, column {column} of the metadata: {what}",
            hint="the text is damaged, or not LVM2's",
            line=line,
            column=column,
        )
