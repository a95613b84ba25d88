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

One split by a pattern gives the numbers of a whole volume as columns, and shows that nothing stood between. In a long
text they are read faster still: see `segment_shapes`.
"""

from __future__ import annotations

import re
import sys
from array import array
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat
from operator import add, eq, floordiv, mul

from .section import Section

__all__ = ["SEGMENT", "StripedRun", "read_run", "run_end"]

_GAP = r"[ \t\n]*+(?:\#[^\n}]*+\n[ \t\n]*+)?+"
_WHITE = r"[ \t\n]*+"
_NUMBER = r"(?:0|[1-9][0-9]{0,17}+)"  # of fewer than 64 bits, and not octal: no digit or point can follow below
_AREA = rf'"[A-Za-z0-9_.+-]++", {_NUMBER}'
SEGMENT = re.compile(
    rf"segment([1-9][0-9]{{0,9}}+) \{{{_GAP}start_extent = ({_NUMBER}){_GAP}extent_count = ({_NUMBER}){_GAP}"
    rf'type = "striped"{_GAP}stripe_count = ({_NUMBER}){_GAP}(?:stripe_size = ({_NUMBER}){_GAP})?+'
    rf"stripes = \[{_WHITE}({_AREA}(?:,{_WHITE}{_AREA})*+){_WHITE}\]{_WHITE}\}}{_WHITE}"
)
"""A segment; its groups are the columns of a run, the last one all areas."""
_COLUMNS = SEGMENT.groups + 1
_NUMBER_OF_NAME = re.compile(r"segment([1-9][0-9]{0,9})")
_END = re.compile(r"\}(?![ \t\n]*+segment)")


@dataclass(frozen=True, slots=True)
class StripedRun:
    """The segments 1, 2 … of a volume as columns; lists of an element for each, but of areas one for each area.

    Attributes:
        starts: ``start_extent``.
        counts: ``extent_count``.
        stripe_counts: ``stripe_count``, equal to the number of areas.
        stripe_sizes: ``stripe_size`` in sectors, -1 where there is none.
        names: What the areas lie on, each once.
        area_names: Of all areas, one segment after another: which of the names.
        area_starts: Their first extents.
        area_counts: How many extents they have; what stripes do not share evenly is rounded down.
    """

    starts: array[int]
    counts: array[int]
    stripe_counts: array[int]
    stripe_sizes: array[int]
    names: tuple[str, ...]
    area_names: array[int]
    area_starts: array[int]
    area_counts: array[int]

    def __len__(self) -> int:
        return len(self.starts)

    def has(self, name: str) -> bool:
        """Tells whether ``name`` is one of ``segment1``, ``segment2`` … here."""
        number = _NUMBER_OF_NAME.fullmatch(name)
        return number is not None and int(number[1]) <= len(self)

    def section(self, index: int, first_area: int) -> Section:
        """Returns segment ``index`` (from 0), whose first area is number ``first_area`` of all."""
        section = Section()
        section["start_extent"] = self.starts[index]
        section["extent_count"] = self.counts[index]
        section["type"] = "striped"
        section["stripe_count"] = count = self.stripe_counts[index]
        size = self.stripe_sizes[index]
        if size >= 0:
            section["stripe_size"] = size
        areas = slice(first_area, first_area + count)
        names = map(self.names.__getitem__, self.area_names[areas])
        section["stripes"] = tuple(chain.from_iterable(zip(names, self.area_starts[areas], strict=True)))
        return section


def run_end(text: str, start: int) -> int | None:
    """Returns where a run that begins at ``start`` has to end, or None if none begins there."""
    if SEGMENT.match(text, start) is None:
        return None
    end = _END.search(text, start)
    return None if end is None else end.end()


def read_run(text: str) -> StripedRun | None:
    """Reads segments, and nothing else, or returns None: then the grammar has to."""
    columns = SEGMENT.split(text)
    if any(columns[::_COLUMNS]):
        return None
    areas = columns[6::_COLUMNS]
    count = len(areas)
    if " ".join(columns[1::_COLUMNS]) != _numbers(count):
        return None
    words = _without_white_space(",".join(areas)).split(",")
    counts, sizes = columns[4::_COLUMNS], columns[5::_COLUMNS]
    if counts.count("1") == count:  # nearly always
        stripe_counts, regular = array("q", [1]) * count, len(words) == 2 * count
    else:
        # An area has one comma inside, and each but the last of a segment one behind.
        stripe_counts = array("q", map(int, counts))
        commas = map(add, map(str.count, areas, repeat(",")), repeat(1))
        regular = all(map(eq, commas, map(mul, stripe_counts, repeat(2))))
    if not regular:
        return None
    extents = array("q", map(int, columns[3::_COLUMNS]))
    names = {sys.intern(name): index for index, name in enumerate(dict.fromkeys(words[::2]))}
    return StripedRun(
        starts=array("q", map(int, columns[2::_COLUMNS])),
        counts=extents,
        stripe_counts=stripe_counts,
        stripe_sizes=array("q", [-1 if size is None else int(size) for size in sizes] if any(sizes) else [-1] * count),
        names=tuple(names),
        area_names=array("q", map(names.__getitem__, words[::2])),
        area_starts=array("q", map(int, words[1::2])),
        area_counts=array("q", chain.from_iterable(map(repeat, map(floordiv, extents, stripe_counts), stripe_counts))),
    )


@lru_cache(maxsize=64)
def _numbers(count: int) -> str:
    """The numbers from 1 to ``count``, with blanks between them."""
    return " ".join(map(str, range(1, count + 1)))


def _without_white_space(areas: str) -> str:
    for character in '\n\t "':
        areas = areas.replace(character, "")
    return areas
