"""Extents, from what a server says of its contexts.

``base:allocation`` says what reads as zeros, ``qemu:allocation-depth`` which layer of a chain answers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from dmsnap.block.contract import Extent, ExtentKind
from dmsnap.block.nbd.handshake import ALLOCATION, DEPTH
from dmsnap.block.nbd.request import Broken
from dmsnap.block.nbd.wire import AllocationFlag

__all__ = ["Status", "extents_of", "whole_blocks"]

Status = Mapping[str, tuple[struct.Struct, bytes]]
"""For each context the layout of an entry and the entries, as they came."""

DEEPEST = 1 << 20
"""No chain has more layers than this; a server that says so is not believed."""

_Piece = tuple[int, int]
"""Where it ends, and the context's value up to there."""


def extents_of(offset: int, length: int, ask: Callable[[int, int], Status]) -> Iterator[Extent]:
    """Yields what a range holds, asking as it goes; neighbours may be alike.

    Args:
        offset: Of the range, in bytes.
        length: Of the range.
        ask: Asks the server for the status from a byte on, for at most so many bytes.

    Raises:
        Broken: The server's extents are no extents.
    """
    end = offset + length
    while offset < end:
        status = ask(offset, end - offset)
        rows = {name: _row(offset, end, *entries) for name, entries in status.items()}
        allocation, depth = rows.get(ALLOCATION), rows.get(DEPTH)
        flags, layer = next(allocation) if allocation else (end, 0), next(depth) if depth else (end, 1)
        while True:
            stop = min(flags[0], layer[0])
            hole = flags[1] & AllocationFlag.ZERO or (allocation is None and not layer[1])
            kind = ExtentKind.HOLE if hole else ExtentKind.DATA
            # Layer 0 is none: nothing in the whole chain holds it, so it does not come from the device itself.
            yield Extent(offset, stop - offset, kind, layer[1] or 2)
            offset = stop
            try:
                flags = next(allocation) if allocation and flags[0] == stop else flags
                layer = next(depth) if depth and layer[0] == stop else layer
            except StopIteration:
                break
            if offset == end:
                break


def _row(offset: int, end: int, layout: struct.Struct, entries: bytes) -> Iterator[_Piece]:
    """The extents of one context, cut at ``end``, which only the last may cross."""
    for length, value in layout.iter_unpack(entries):
        if not length or offset >= end:
            raise Broken("extents that are empty or outside what was asked for")
        if value > DEEPEST:
            raise Broken(f"an extent's state of {value}")
        offset = min(offset + length, end)
        yield offset, value


def whole_blocks(extents: Iterator[Extent], block: int) -> Iterator[Extent]:
    """Moves borders to multiples of ``block``: one with any data is data, and of the layer nearest to the device.

    Args:
        extents: In a row, which begins and ends at multiples of ``block``.
        block: Bytes; a power of two.
    """
    shared: list[Extent] = []  # what lies in the block that is not complete yet
    for extent in extents:
        begin, end = extent.offset, extent.offset + extent.length
        if shared:
            border = min(end, (begin + block - 1) & -block)
            shared.append(extent._replace(length=border - begin))
            if border & (block - 1):
                continue
            yield _one_block(shared, block)
            shared, begin = [], border
        middle = end & -block
        if begin < middle:
            yield extent._replace(offset=begin, length=middle - begin)
        if max(begin, middle) < end:
            begin = max(begin, middle)
            shared.append(extent._replace(offset=begin, length=end - begin))


def _one_block(parts: list[Extent], block: int) -> Extent:
    data = [part for part in parts if part.kind is ExtentKind.DATA]
    kind = ExtentKind.DATA if data else ExtentKind.HOLE
    return Extent(parts[0].offset, block, kind, min(part.depth for part in data or parts))
