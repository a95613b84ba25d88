r"""Runs of regular segments, read in bulk: nearly all of a long text, in a tenth of the time.

What every version of LVM2 writes for linear and striped volumes, with the white space of its disks or of its backups::

    segment1 {
    start_extent = 0
    extent_count = 25

    type = "striped"
    stripe_count = 2
    stripe_size = 128

    stripes = [
    "pv0", 0,
    "pv1", 0
    ]
    }

One split by a pattern gives the numbers of a whole volume as columns, and shows that nothing stood between.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from itertools import chain, repeat
from operator import add, mul

from .section import Section

__all__ = ["StripedRun", "read_run"]

_GAP = r"[ \t\n]*+(?:\#[^\n}]*+\n[ \t\n]*+)?+"
_WHITE = r"[ \t\n]*+"
_NUMBER = r"(?:0|[1-9][0-9]{0,17}+)"  # of fewer than 64 bits, and not octal: no digit or point can follow below
_AREA = rf'"[A-Za-z0-9_.+-]++", {_NUMBER}'
_SEGMENT = re.compile(
    rf"segment([1-9][0-9]{{0,9}}+) \{{{_GAP}start_extent = ({_NUMBER}){_GAP}extent_count = ({_NUMBER}){_GAP}"
    rf'type = "striped"{_GAP}stripe_count = ({_NUMBER}){_GAP}(?:stripe_size = ({_NUMBER}){_GAP})?+'
    rf"stripes = \[{_WHITE}({_AREA}(?:,{_WHITE}{_AREA})*+){_WHITE}\]{_WHITE}\}}{_WHITE}"
)
_COLUMNS = _SEGMENT.groups + 1
_END = re.compile(r"\}[ \t\n]*+\}")  # of the last segment, and of the volume behind it


class _Names(Container[str]):
    """The names ``segment1`` … of a run."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __contains__(self, name: object) -> bool:
        number = str(name).removeprefix("segment")
        return number.isascii() and number.isdigit() and number[0] != "0" and len(number) < 12 and int(number) <= self._count


@dataclass(frozen=True, slots=True)
class StripedRun:
    """The segments 1, 2 … of a volume as columns; every list but ``areas`` has an element for each.

    Attributes:
        end: Where the run ends in the text.
        starts: ``start_extent``.
        counts: ``extent_count``.
        stripe_counts: ``stripe_count``, equal to the number of areas.
        stripe_sizes: ``stripe_size`` in sectors, None where there is none.
        names: What the sections are called.
        area_names: Of all areas, one segment after another.
        area_starts: Their first extents.
    """

    end: int
    starts: list[int]
    counts: list[int]
    stripe_counts: list[int]
    stripe_sizes: list[int | None]
    names: Container[str]
    area_names: list[str]
    area_starts: list[int]

    def __len__(self) -> int:
        return len(self.starts)

    def section(self, index: int, first_area: int) -> Section:
        """Returns segment ``index`` (from 0), whose first area is number ``first_area`` of all, as the grammar would."""
        section = Section()
        section["start_extent"] = self.starts[index]
        section["extent_count"] = self.counts[index]
        section["type"] = "striped"
        section["stripe_count"] = count = self.stripe_counts[index]
        size = self.stripe_sizes[index]
        if size is not None:
            section["stripe_size"] = size
        areas = slice(first_area, first_area + count)
        section["stripes"] = tuple(chain.from_iterable(zip(self.area_names[areas], self.area_starts[areas], strict=True)))
        return section


def read_run(text: str, start: int) -> StripedRun | None:
    """Reads the segments from ``start`` to the end of their volume, or returns None: then the grammar has to."""
    if _SEGMENT.match(text, start) is None:
        return None
    close = _END.search(text, start)
    if close is None:
        return None
    end = close.end() - 1
    columns = _SEGMENT.split(text[start:end])
    if any(columns[::_COLUMNS]):
        return None
    numbers, starts, counts, stripe_counts = (list(map(int, columns[at::_COLUMNS])) for at in range(1, 5))
    areas = columns[6::_COLUMNS]
    if numbers != list(range(1, len(numbers) + 1)):
        return None
    # An area has one comma inside, and each but the last of a segment one behind.
    commas = list(map(str.count, areas, repeat(",")))
    if list(map(add, commas, repeat(1))) != list(map(mul, stripe_counts, repeat(2))):
        return None
    words = ",".join(areas).replace("\n", "").replace("\t", "").replace(" ", "").replace('"', "").split(",")
    return StripedRun(
        end=end,
        starts=starts,
        counts=counts,
        stripe_counts=stripe_counts,
        stripe_sizes=[None if size is None else int(size) for size in columns[5::_COLUMNS]],
        names=_Names(len(numbers)),
        area_names=words[::2],
        area_starts=list(map(int, words[1::2])),
    )
