"""Which ranges of a repaired snapshot's content are certain, doubtful or lost; also as a map file of GNU ddrescue.

Source of the format: the manual of GNU ddrescue, "Mapfile structure".
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dmsnap.maintenance.repairing import Repair

__all__ = ["JudgedRange", "Trust", "judged_ranges", "rescue_map"]


class Trust(enum.StrEnum):
    """What there is to say of some content, in the characters of a ddrescue map file."""

    CERTAIN = "+"
    """A copy in the store, or a chunk of the origin that has not changed since."""
    DOUBTFUL = "?"
    """It may be something else than the snapshot held."""
    LOST = "-"
    """The snapshot held something else; what is seen is the origin as it is now."""


class JudgedRange(NamedTuple):
    """A range of the snapshot.

    Attributes:
        offset: First byte.
        length: Bytes.
        trust: How far its content can be trusted.
    """

    offset: int
    length: int
    trust: Trust


def judged_ranges(repair: Repair, size_bytes: int) -> Iterator[JudgedRange]:
    """Yields ranges from 0 to the end of a snapshot, each as long as can be.

    Args:
        repair: After it was written.
        size_bytes: The snapshot's size: its origin's.
    """
    fates, chunk_bytes = repair.report.fates, repair.report.chunk_size_bytes
    kept = repair.kept_origins()
    doubtful = np.unique(fates.origin[fates.copies != 0])
    lost = np.setdiff1d(fates.origin[(fates.copies == 0) & fates.known], kept)
    rest = Trust.CERTAIN
    special = [(doubtful, Trust.DOUBTFUL), (lost, Trust.LOST)]
    if repair.report.rest_doubtful:
        rest = Trust.DOUBTFUL
        special.append((np.setdiff1d(kept, doubtful), Trust.CERTAIN))
    chunks = np.concatenate([part for part, _ in special])
    codes = np.repeat(np.arange(len(special)), [len(part) for part, _ in special])
    order = np.argsort(chunks)
    order = order[: int(np.searchsorted(chunks[order], np.uint64(-(-size_bytes // chunk_bytes))))]
    chunks, codes = chunks[order], codes[order]
    starts = np.flatnonzero(np.append(True, (np.diff(chunks) != 1) | (np.diff(codes) != 0)))[: len(chunks)]
    ends = np.append(starts[1:], len(chunks))[: len(starts)]

    def pieces() -> Iterator[tuple[int, Trust]]:
        """Where pieces end."""
        for first, last, code in zip(
            chunks[starts].tolist(), chunks[ends - 1].tolist(), codes[starts].tolist(), strict=True
        ):
            yield first * chunk_bytes, rest
            yield (last + 1) * chunk_bytes, special[code][1]
        yield size_bytes, rest

    begin = end = 0
    trust = rest
    for stop, of in pieces():
        if of is not trust and stop > end:
            if end > begin:
                yield JudgedRange(begin, end - begin, trust)
            begin, trust = end, of
        end = max(end, min(stop, size_bytes))
    if end > begin:
        yield JudgedRange(begin, end - begin, trust)


def rescue_map(ranges: Iterator[JudgedRange]) -> Iterator[str]:
    """Yields the lines of a map file, with which ddrescue can go on from another copy."""
    yield "# Mapfile. Created by dmsnap repair\n"
    yield "# +: certain, ?: doubtful, -: lost\n"
    yield "# current_pos  current_status  current_pass\n"
    yield "0x00000000     +               1\n"
    yield "#      pos        size  status\n"
    for offset, length, trust in ranges:
        yield f"0x{offset:08X}  0x{length:08X}  {trust.value}\n"
