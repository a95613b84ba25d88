"""A slow model of how Linux joins records into runs and finds a chunk: a list walked from its start each time."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["linux_finds"]


def linux_finds(records: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Returns the COW chunk that is found for each origin chunk.

    Args:
        records: Pairs (origin chunk, COW chunk) in the store's order. Damaged ones, with COW chunk 0, join nothing.
    """
    lists: dict[int, list[list[int]]] = {}
    for old, new in records:
        runs = lists.setdefault(old >> 8, [])
        for place, run in enumerate(runs):
            first, copy, length = run
            if new and copy and (old, new) == (first + length, copy + length):
                run[2] += 1
                break
            if new and copy and (old, new) == (first - 1, copy - 1):
                run[:] = [old, new, length + 1]
                break
            if first > old:
                runs.insert(place, [old, new, 1])
                break
        else:
            runs.append([old, new, 1])
    found: dict[int, int] = {}
    for runs in lists.values():
        for first, copy, length in runs:
            for step in range(length):
                found.setdefault(first + step, copy + step if copy else 0)
    return found
