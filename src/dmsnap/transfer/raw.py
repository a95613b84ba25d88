"""A device's content as a raw image: sparse, and under its name only when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

__all__ = ["ExportResult", "Progress"]

Progress = Callable[[int, int], None]
"""``progress(done_bytes, total_bytes)``."""


class ExportResult(NamedTuple):
    """What was exported.

    Attributes:
        size_bytes: The image's size.
        written_bytes: How much of that was written; the rest are holes.
    """

    size_bytes: int
    written_bytes: int
