"""Stores that may be read and not written: what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dmsnap.block.medium import CannotOpen
from dmsnap.errors import DmsnapError
from dmsnap.library.volumes.address import paths_named

__all__ = ["hint_at_read_only"]


def hint_at_read_only(error: DmsnapError, stores: Iterable[str]) -> None:
    """Gives the error of opening stores for writing the hint that fits, if it is that one of them may only be read."""
    if isinstance(error, CannotOpen) and any(
        _can_only_be_read(path) for store in stores for path in paths_named(store)
    ):
        error.hint = "to look, --read-only is enough"


def _can_only_be_read(path: str) -> bool:
    return os.access(path, os.R_OK) and not os.access(path, os.W_OK)
