"""The transient store: exceptions that live as long as the snapshot is active, and nothing on disk to say so."""

from __future__ import annotations

import numpy as np

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice
from dmsnap.store.exception_store import ExceptionStore, NewRun, Usage
from dmsnap.store.format import check_chunk_size
from dmsnap.store.growing_table import GrowingTable
from dmsnap.store.table import ExceptionTable

__all__ = ["TransientStore"]


class TransientStore(ExceptionStore):
    """Copies from the first sector of the COW device on; what lies there is not looked at (Linux dm-snap-transient).

    Args:
        device: The COW device.
        chunk_size_sectors: Chunk size in sectors; there is no default.

    Raises:
        BadChunkSize: By the kernel's rules.
    """

    kind = "N"

    def __init__(self, device: BlockDevice, chunk_size_sectors: int) -> None:
        check_chunk_size(chunk_size_sectors, device.logical_block_size_bytes)
        self.device = device
        self.chunk_size_sectors = chunk_size_sectors
        self.valid = True
        self.table = GrowingTable(ExceptionTable(np.empty(0, np.uint32), np.empty(0, np.uint32), None))
        self.chunk_zero_bytes = -self.chunk_size_bytes
        self._next_free = 0

    def allocate(self, first: int, count: int) -> list[NewRun]:
        count = min(count, self.device.size_bytes // self.chunk_size_bytes - self._next_free)
        if count <= 0:
            return []
        run = NewRun(first, self._next_free + 1, count)
        self._next_free += count
        return [run]

    def give_back(self, runs: list[NewRun]) -> None:
        for _, cow, length in reversed(runs):
            if self._next_free + 1 == cow + length:
                self._next_free = cow - 1

    def record(self, runs: list[NewRun]) -> None:  # noqa: ARG002 - nothing is kept
        return

    def commit(self) -> bool:
        return False

    def drop(self) -> None:
        self.valid = False

    def usage(self) -> Usage:
        return Usage(self._next_free * self.chunk_size_sectors, self.device.size_bytes // SECTOR_BYTES, 0)

    def close(self) -> None:
        return
