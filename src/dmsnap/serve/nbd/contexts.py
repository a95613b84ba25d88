"""Metadata contexts: what a client can learn of a range without reading it.

``base:allocation`` tells holes, ``qemu:allocation-depth`` which layer answers (1 the device itself, 2 what lies behind
it, 0 nothing stored anywhere), ``qemu:dirty-bitmap:NAME`` what the device itself stores: the changed ranges of a
snapshot, in the words that backup programs know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import NamedTuple

from dmsnap.block.contract import Extent, ExtentKind
from dmsnap.block.nbd.wire import AllocationFlag
from dmsnap.serve.nbd.export import Export

__all__ = ["Context", "Status", "contexts_of", "listed", "most_extents", "selected", "status_of"]

MOST_EXTENTS = 1 << 15
"""In one reply, for each context; clients take up to 2^20."""
STATUS_SECONDS = 0.5
"""After so long a reply is sent with what is known; the client asks on from there."""
Status = list[tuple[int, int]]
"""Consecutive extents: bytes, and what the context says of them."""

_HOLE = int(AllocationFlag.HOLE | AllocationFlag.ZERO)


class Context(NamedTuple):
    """One metadata context of an export.

    Attributes:
        number: What stands for it in replies.
        name: In full.
        says: Its 32 bits for an extent.
    """

    number: int
    name: str
    says: Callable[[Extent], int]


def contexts_of(export: Export) -> tuple[Context, ...]:
    """Every context of an export; the numbers are the same for as long as the server runs."""
    layered = export.dirty_bitmap is not None

    def depth(extent: Extent) -> int:
        stored = extent.kind is ExtentKind.DATA or (layered and extent.depth == 1)
        return extent.depth if stored else 0

    contexts = [
        Context(1, "base:allocation", lambda extent: _HOLE if extent.kind is ExtentKind.HOLE else 0),
        Context(2, "qemu:allocation-depth", depth),
    ]
    if layered:
        contexts.append(Context(3, f"qemu:dirty-bitmap:{export.dirty_bitmap}", lambda extent: int(extent.depth == 1)))
    return tuple(contexts)


def listed(contexts: Sequence[Context], queries: Sequence[str]) -> list[Context]:
    """What answers a list of queries: ``base:``, ``qemu:`` and ``qemu:dirty-bitmap:`` stand for all that follows."""
    wild = tuple(query for query in queries if query in ("base:", "qemu:", "qemu:dirty-bitmap:"))
    return [context for context in contexts if not queries or context.name in queries or context.name.startswith(wild)]


def selected(contexts: Sequence[Context], queries: Sequence[str]) -> list[Context]:
    """What a client selects: by full names; others mean nothing."""
    return [context for context in contexts if context.name in queries]


def most_extents(export: Export, length: int) -> int:
    """How many extents `status_of` may return at most for each context of a range of ``length`` bytes."""
    return min(MOST_EXTENTS, -(-length // export.least_block_bytes))


def status_of(
    export: Export, contexts: Sequence[Context], offset: int, length: int, *, only_first: bool = False
) -> list[Status]:
    """What each context says of a range, from its start; maybe not to its end, but of at least one extent.

    Args:
        export: Whose device is asked.
        contexts: One list is returned for each.
        offset: Of the first byte.
        length: Bytes, at least one block.
        only_first: One extent for each context.

    Raises:
        DmsnapError: As the device's `extents`.
    """
    statuses: list[Status] = [[] for _ in contexts]
    ended: set[int] = set()
    until = monotonic() + STATUS_SECONDS
    for extent in export.device.extents(offset, length):
        for number, (status, context) in enumerate(zip(statuses, contexts, strict=True)):
            says = context.says(extent)
            if number in ended:
                continue
            if status and status[-1][1] == says:
                status[-1] = (status[-1][0] + extent.length, says)
            elif status and only_first:
                ended.add(number)
            else:
                status.append((extent.length, says))
        if len(ended) == len(statuses) or monotonic() > until or max(map(len, statuses)) >= MOST_EXTENTS:
            break
    return statuses
