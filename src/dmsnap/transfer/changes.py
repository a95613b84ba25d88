"""Which byte ranges of the origin a snapshot keeps: the list that ``map`` prints."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ChangedRange"]


class ChangedRange(NamedTuple):
    """A range of the origin for which the store keeps content of its own.

    Attributes:
        offset: First byte.
        length: Bytes.
        exists: False where the snapshot's content is known to be zeros.
    """

    offset: int
    length: int
    exists: bool

    def to_json(self) -> dict[str, object]:
        """Returns the object of ``map --json``, as in ``rbd diff --format json`` with a JSON boolean."""
        return {"offset": self.offset, "length": self.length, "exists": self.exists}
