"""Extents as streams: what every device's `extents` shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dmsnap.block.contract import Extent

__all__ = ["joined"]


def joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Joins neighbours of one kind and depth, lazily, and drops empty ones.

    Args:
        extents: In order and without gaps.
    """
    held: Extent | None = None
    for extent in extents:
        if not extent.length:
            continue
        if held is None:
            held = extent
        elif held.kind is extent.kind and held.depth == extent.depth:
            held = held._replace(length=held.length + extent.length)
        else:
            yield held
            held = extent
    if held is not None:
        yield held
