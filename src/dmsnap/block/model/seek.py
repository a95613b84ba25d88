"""How long a drive's arm takes: seek times by distance in cylinders, as a table of seconds.

The shape is that of Ruemmler and Wilkes, "An introduction to disk drive modeling" (IEEE Computer, March 1994): short
seeks go with the square root of the distance, since the arm is speeding up or slowing down, long ones with the
distance itself; the shortest are mostly settling.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import fsum, sqrt

__all__ = ["SHORT_PART", "fitted_seeks", "measured_seeks"]

SHORT_PART = 0.2
"""What part of the full stroke counts as short in `fitted_seeks`: 383 of the 1,962 cylinders of the HP 97560, the drive
that Ruemmler and Wilkes describe."""


def measured_seeks(points: Sequence[tuple[float, float]], cylinders: int) -> list[float]:
    """Returns a table from measured points, straight lines between them.

    Args:
        points: Distance in cylinders and milliseconds, ascending, from distance 1 on; the last line goes on.
        cylinders: Of the drive; the table has an entry for each distance from 0.
    """
    table = [0.0]
    for (near, quick), (far, slow) in pairwise(points):
        slope = (slow - quick) / (far - near)
        end = cylinders if far == points[-1][0] else int(far)
        table += [(quick + slope * (distance - near)) / 1000 for distance in range(len(table), end)]
    return table


def fitted_seeks(single_ms: float, average_ms: float, full_ms: float, cylinders: int) -> list[float]:
    """Returns the table whose curve goes through three published times.

    The curve is ``single + a (sqrt(d) - 1)`` up to a fifth of the stroke and a straight line beyond. The two unknowns,
    a and the line's slope, follow from the average over all pairs of cylinders and from the full stroke.

    Args:
        single_ms: To the next cylinder.
        average_ms: Averaged over all pairs of different cylinders, as drive makers do.
        full_ms: Over all cylinders.
        cylinders: Of the drive; the table has an entry for each distance from 0.
    """
    farthest = cylinders - 1
    short = int(SHORT_PART * farthest)
    roots = [sqrt(min(distance, short)) - 1 for distance in range(1, cylinders)]
    beyond = [max(distance - short, 0) for distance in range(1, cylinders)]
    pairs = cylinders * farthest / 2
    mean_root = fsum(root * (cylinders - distance) for distance, root in enumerate(roots, 1)) / pairs
    mean_beyond = fsum(far * (cylinders - distance) for distance, far in enumerate(beyond, 1)) / pairs
    determinant = mean_root * beyond[-1] - roots[-1] * mean_beyond
    average, full = average_ms - single_ms, full_ms - single_ms
    bend = (average * beyond[-1] - full * mean_beyond) / determinant
    slope = (mean_root * full - roots[-1] * average) / determinant
    return [
        0.0,
        *((single_ms + bend * root + slope * far) / 1000 for root, far in zip(roots, beyond, strict=True)),
    ]
