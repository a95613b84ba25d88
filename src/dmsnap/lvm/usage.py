"""``Data%`` of a snapshot, a thin volume or its pool, to the digit as lvs prints it.

LVM2 counts in millionths of a percent, never 0 or 100 unless that is exact, prints two decimals of a number in single
precision, and there again never 0.00 or 100.00 unless exact. Source: LVM2 2.03 as it behaves (libdevmapper's reports).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmsnap.target.status import Status

__all__ = ["data_percent", "percent_of"]

_ONE_PERCENT = 1_000_000
_ALL = 100 * _ONE_PERCENT
_LEAST_SHOWN = _ONE_PERCENT // 100
_LARGEST = (1 << 31) - 1


def data_percent(status: Status) -> str:
    """Returns what lvs shows as ``data_percent`` (and ``snap_percent``) of an active snapshot with this status.

    A snapshot that is invalid or has overflowed shows as full, ``100.00``. One whose merge failed, or that cannot tell,
    shows nothing: the empty string. More than full shows as such.
    """
    if status.state in ("Merge failed", "Unknown"):
        return ""
    millionths = _ALL if status.state else _millionths(status)
    return _shown(millionths)


def percent_of(part: int, whole: int) -> str:
    """Returns what lvs shows as ``data_percent`` of what has so much in use of a whole."""
    return _shown(_ratio(part, whole))


def _shown(millionths: int) -> str:
    if 0 < millionths < _LEAST_SHOWN:
        millionths = _LEAST_SHOWN
    elif _ALL - _LEAST_SHOWN < millionths < _ALL:
        millionths = _ALL - _LEAST_SHOWN
    return f"{_single(_single(millionths) / _ONE_PERCENT):.2f}"


def _millionths(status: Status) -> int:
    used, total = status.allocated_sectors, status.total_sectors
    if used == status.metadata_sectors or (not used and total):
        return 0
    return _ratio(used, total)


def _ratio(used: int, total: int) -> int:
    """Returns millionths of a percent; nothing of nothing is all."""
    if not used and total:
        return 0
    if used == total or not total:
        return _ALL
    millionths = int(_ALL * (used / total))
    return {0: 1, _ALL: _ALL - 1}.get(millionths, min(millionths, _LARGEST))


def _single(number: float) -> float:
    """Rounds a number to single precision."""
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded
