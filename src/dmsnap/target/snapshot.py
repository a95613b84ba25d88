"""The snapshot target, reading: an origin as it was, seen through the exceptions of a COW store."""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice

__all__ = ["SnapshotDevice"]


class SnapshotDevice(BlockDevice):
    """A snapshot of ``origin`` whose old content lies in ``store``; reading only."""
