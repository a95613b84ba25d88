"""The snapshot-origin target: an origin in use, whose old content is copied out before it is overwritten.

Source: Linux dm-snapshot. Before a write, each snapshot of the origin gets an exception for every chunk of it that has
none, those with the largest chunks first. Nothing a snapshot does makes the writer fail; it only waits.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from dmsnap.block.contract import BlockDevice
from dmsnap.block.loan import Loan
from dmsnap.block.wrap.wrapper import Wrapper
from dmsnap.target.exceptions import Exceptions

__all__ = ["OriginDevice", "OriginSnapshots"]


class OriginSnapshots:
    """The snapshots of one origin that are in use.

    Adding and removing them is safe at any time; but whether a write that is under way is copied out to a snapshot that
    is being added is not defined, so writers should be suspended (as for Linux).
    """

    def __init__(self) -> None:
        self._snapshots: tuple[tuple[Exceptions, int], ...] = ()
        self._lock = threading.Lock()

    def add(self, exceptions: Exceptions, size_bytes: int) -> None:
        """Adds a snapshot that covers the first ``size_bytes`` of the origin."""
        with self._lock:
            snapshots = [*self._snapshots, (exceptions, size_bytes)]
            snapshots.sort(key=lambda item: -item[0].store.chunk_size_bytes)  # stable: equal sizes as they came
            self._snapshots = tuple(snapshots)

    def remove(self, exceptions: Exceptions) -> None:
        """Takes a snapshot away; one that is not there is no error."""
        with self._lock:
            self._snapshots = tuple(item for item in self._snapshots if item[0] is not exceptions)

    def __len__(self) -> int:
        return len(self._snapshots)

    def copy_out(self, ranges: list[tuple[int, int]]) -> None:
        """Makes the old content of byte ranges *(start, end)* of the origin durable in every snapshot.

        Raises:
            IOFailed: The host has no room for a copy; nothing was lost, and nothing must be overwritten.
        """
        for exceptions, size in self._snapshots:
            chunk = exceptions.store.chunk_size_bytes
            chunks = [(start // chunk, (min(end, size) - 1) // chunk + 1) for start, end in ranges if start < size]
            if chunks:
                exceptions.copy_out(chunks)


class OriginDevice(Wrapper):
    """An origin to write to while it has snapshots; everything but writes passes straight through.

    Closing it leaves ``device`` open: its snapshots read from it.

    Args:
        device: The origin.
        snapshots: Its snapshots, shared by all who write to this origin.
    """

    def __init__(self, device: BlockDevice, snapshots: OriginSnapshots | None = None) -> None:
        super().__init__(device)
        self.snapshots = OriginSnapshots() if snapshots is None else snapshots

    def _lend(self, ranges: Sequence[tuple[int, int]]) -> Loan | None:
        return self.device._lend(ranges)

    def _write_at(self, offset: int, view: memoryview) -> None:
        self.snapshots.copy_out([(offset, offset + len(view))])
        self.device.write_at(offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self.snapshots.copy_out([(offset, offset + len(view))])
        self.device.write_at(offset, view, fua=True)

    def _zero(self, offset: int, length: int) -> None:
        self.snapshots.copy_out([(offset, offset + length)])
        self.device.zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        """Does nothing: what a discarded range reads as is not defined, but the snapshots' old content is."""

    def _close(self) -> None:
        return
