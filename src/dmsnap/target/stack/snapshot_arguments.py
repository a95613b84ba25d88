"""The arguments of snapshot and snapshot-merge: ``<origin> <COW> <P|PO|N> <chunk sectors> [<features> <feature>…]``.

Source: Linux dm-snapshot and dm-exception-store 6.1: what is checked, in which order, with which words.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import NamedTuple

from dmsnap.block.contract import BlockDevice
from dmsnap.store.format import BadChunkSize, check_chunk_size
from dmsnap.target.stack.context import TableContext
from dmsnap.target.stack.numbers import scanned, strict
from dmsnap.target.stack.refusals import TargetRefused
from dmsnap.target.table import FEATURES, NO_STORE_TYPE, NO_ZEROES_FOR_PASSDOWN, UNKNOWN_FEATURE

__all__ = ["SnapshotArguments", "parse_snapshot"]

_NO_STORE = "Couldn't create exception store"


class SnapshotArguments(NamedTuple):
    """What a table line of a snapshot says.

    Attributes:
        origin: The device.
        origin_name: As on the line.
        cow: The COW device.
        cow_name: As on the line.
        kind: ``P``, ``PO`` or ``N``.
        chunk_sectors: Chunk size; 0 where the line leaves it open.
        features: In the order of `FEATURES`.
    """

    origin: BlockDevice
    origin_name: str
    cow: BlockDevice
    cow_name: str
    kind: str
    chunk_sectors: int
    features: tuple[str, ...]


def parse_snapshot(context: TableContext, arguments: Sequence[str], *, writes_origin: bool) -> SnapshotArguments:
    """Reads the arguments and opens the devices.

    Args:
        context: Of the table.
        arguments: From the line.
        writes_origin: Whether the origin has to be writable, as for a merge; the COW device always has.

    Raises:
        TargetRefused: With the kernel's words.
    """
    if len(arguments) < 4:
        hint = "write: snapshot <origin> <COW> <P|PO|N> <chunk sectors>"
        raise TargetRefused("requires 4 or more arguments", hint=hint)
    origin_name, cow_name, kind, chunk = arguments[:4]
    features = _features(arguments[4:])
    origin = context.device(origin_name, "Cannot get origin device", writable=writes_origin)
    cow = context.device(cow_name, "Cannot get COW device", writable=True)
    if cow is origin:
        raise TargetRefused("COW device cannot be the same as origin device", reason=f"both are {origin.name}")
    kind = kind.upper()
    if kind[:1] not in ("P", "N"):
        raise TargetRefused(_NO_STORE, reason=NO_STORE_TYPE, hint="use P, PO or N")
    sectors = _chunk_size(chunk, origin, cow)
    if kind.startswith("P") and len(kind) > 1 and kind[1] != "O":
        raise TargetRefused(_NO_STORE, reason=f"Unsupported persistent store option: {arguments[2][1:81]}")
    return SnapshotArguments(
        origin, origin_name, cow, cow_name, "N" if kind.startswith("N") else kind[:2], sectors, features
    )


def _features(arguments: Sequence[str]) -> tuple[str, ...]:
    """Reads ``<number> <feature>…``; more words than the number says are not looked at."""
    if not arguments:
        return ()
    count = scanned(arguments[0], 32)
    if count is None or count > len(FEATURES) or count > len(arguments) - 1:
        raise TargetRefused(
            "Invalid number of feature arguments", errno.EINVAL, reason=f"{arguments[0][:80]!r}", hint="use 0, 1 or 2"
        )
    given = {word.lower() for word in arguments[1 : count + 1]}
    if not given <= set(FEATURES):
        raise TargetRefused(UNKNOWN_FEATURE, hint=f"use {' and '.join(FEATURES)}")
    if given == {FEATURES[1]}:
        raise TargetRefused(NO_ZEROES_FOR_PASSDOWN, hint="name both")
    return tuple(feature for feature in FEATURES if feature in given)


def _chunk_size(text: str, origin: BlockDevice, cow: BlockDevice) -> int:
    sectors = strict(text, 32)
    if sectors is None:
        raise TargetRefused(_NO_STORE, reason=f"Invalid chunk size: {text[:80]!r}", hint="in sectors, decimal")
    if sectors:
        try:
            check_chunk_size(sectors, cow.logical_block_size_bytes, origin.logical_block_size_bytes)
        except BadChunkSize as error:
            raise TargetRefused(_NO_STORE, reason=error.message, hint=error.hint) from error
    return sectors
