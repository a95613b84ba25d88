"""Two snapshots of one origin side by side: which ranges have content in the one, in the other, in both, and differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from dmsnap.block.contract import BlockDevice
from dmsnap.maintenance.gathering import BATCH_BYTES
from dmsnap.maintenance.progress import Progress

__all__ = ["DiffRange", "Side", "compared", "joined", "side_by_side"]

Side = Literal["a", "b", "both"]
Range = tuple[int, int]
"""First byte, and byte after the last."""


class DiffRange(NamedTuple):
    """A range of the origin that at least one of two stores keeps content for.

    Attributes:
        offset: First byte.
        length: Bytes.
        where: Which store does: ``a``, ``b`` or ``both``.
        differs: Whether the two snapshots read differently there; None where that was not compared.
    """

    offset: int
    length: int
    where: Side
    differs: bool | None = None

    def to_json(self) -> dict[str, object]:
        """Returns the object of ``diff --json``."""
        return self._asdict()


def side_by_side(a: Iterable[Range], b: Iterable[Range]) -> Iterator[DiffRange]:
    """Yields what is in one list of ranges and what in both, ascending.

    Args:
        a: Ascending; none touches the next.
        b: Likewise.
    """
    left, right = iter(a), iter(b)
    one, other = next(left, None), next(right, None)
    while one is not None and other is not None:
        if one[0] < other[0]:
            stop = min(one[1], other[0])
            yield DiffRange(one[0], stop - one[0], "a")
            one = (stop, one[1]) if stop < one[1] else next(left, None)
        elif other[0] < one[0]:
            stop = min(other[1], one[0])
            yield DiffRange(other[0], stop - other[0], "b")
            other = (stop, other[1]) if stop < other[1] else next(right, None)
        else:
            stop = min(one[1], other[1])
            yield DiffRange(one[0], stop - one[0], "both")
            one = (stop, one[1]) if stop < one[1] else next(left, None)
            other = (stop, other[1]) if stop < other[1] else next(right, None)
    rest: tuple[tuple[Range | None, Iterator[Range], Side], ...] = ((one, left, "a"), (other, right, "b"))
    for begun, more, where in rest:
        if begun is not None:
            yield DiffRange(begun[0], begun[1] - begun[0], where)
            yield from (DiffRange(first, stop - first, where) for first, stop in more)


def compared(
    ranges: Iterable[DiffRange],
    a: BlockDevice,
    b: BlockDevice,
    unit_bytes: int,
    *,
    origin_known: bool,
    progress: Progress | None = None,
) -> Iterator[DiffRange]:
    """Yields ranges with ``differs`` known, cut where it changes; `joined` makes the fewest of them.

    Args:
        ranges: Ascending.
        a: The one snapshot; it has all of the ranges.
        b: The other.
        unit_bytes: How much is found equal or different at once; the ranges begin at multiples of it. Memory is some
            16 MiB, whatever it is.
        origin_known: Whether the snapshots have their origin; without it, only what both stores keep is compared.
        progress: Hears after each batch how far through the snapshots it has come.

    Raises:
        IOFailed, DamagedException: A snapshot cannot be read there.
    """
    batch: list[DiffRange] = []
    size = 0
    for piece in _pieces(ranges, max(unit_bytes, BATCH_BYTES // 2)):
        if batch and size + piece.length > BATCH_BYTES:
            yield from _compared(batch, a, b, unit_bytes, origin_known=origin_known)
            if progress is not None:
                progress(piece.offset, a.size_bytes)
            batch, size = [], 0
        batch.append(piece)
        size += -(-piece.length // unit_bytes) * unit_bytes
    if batch:
        yield from _compared(batch, a, b, unit_bytes, origin_known=origin_known)


def joined(ranges: Iterable[DiffRange]) -> Iterator[DiffRange]:
    """Joins ranges that follow each other and are alike in the rest."""
    held: DiffRange | None = None
    for each in ranges:
        if held is not None and held.offset + held.length == each.offset and held[2:] == each[2:]:
            held = held._replace(length=held.length + each.length)
            continue
        if held is not None:
            yield held
        held = each
    if held is not None:
        yield held


def _pieces(ranges: Iterable[DiffRange], most: int) -> Iterator[DiffRange]:
    for each in ranges:
        for at in range(0, each.length, most):
            yield each._replace(offset=each.offset + at, length=min(most, each.length - at))


def _compared(
    batch: list[DiffRange], a: BlockDevice, b: BlockDevice, unit_bytes: int, *, origin_known: bool
) -> Iterator[DiffRange]:
    """Reads both sides of some ranges at once; each gets room in whole units, of which a last one may stay zero."""
    wanted = [each for each in batch if origin_known or each.where == "both"]
    units = [-(-each.length // unit_bytes) for each in wanted]
    contents = [np.zeros((sum(units), unit_bytes // 8), np.uint64) for _ in (a, b)]
    reads = []
    for device, content in zip((a, b), contents, strict=True):
        octets, requests, at = content.reshape(-1).view(np.uint8).data, [], 0
        for each, count in zip(wanted, units, strict=True):
            requests.append((each.offset, octets[at : at + each.length]))
            at += count * unit_bytes
        reads += device.start_reads(requests) if requests else []
    for read in reads:
        read.wait()
    differs = (contents[0] != contents[1]).any(axis=1)
    at = 0
    for each in batch:
        if not origin_known and each.where != "both":
            yield each
            continue
        count = -(-each.length // unit_bytes)
        yield from _cut(each, differs[at : at + count], unit_bytes)
        at += count


def _cut(whole: DiffRange, differs: np.ndarray, unit_bytes: int) -> Iterator[DiffRange]:
    starts = np.flatnonzero(np.diff(differs, prepend=~differs[:1])).tolist()
    for begin, end in zip(starts, [*starts[1:], len(differs)], strict=True):
        offset = begin * unit_bytes
        length = min(end * unit_bytes, whole.length) - offset
        yield DiffRange(whole.offset + offset, length, whole.where, bool(differs[begin]))
