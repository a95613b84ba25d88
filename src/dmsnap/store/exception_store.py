"""What every writable exception store offers a snapshot, in the kernel's words: prepare, commit, drop, usage.

Source: Linux dm-exception-store, the two store types of dm-snapshot ("P" persistent, "N" transient).
"""

from __future__ import annotations

import abc
from typing import NamedTuple

from dmsnap.block.contract import SECTOR_BYTES, BlockDevice, IOFailed
from dmsnap.store.finding import Finding
from dmsnap.store.growing_table import GrowingTable

__all__ = ["AreaBeyondDevice", "ExceptionStore", "NewRun", "StoreFull", "Usage"]


class StoreFull(IOFailed):
    """There is no chunk left for another exception."""


class AreaBeyondDevice(IOFailed):
    """A metadata area filled up and the next one would lie past the end of the COW device."""


class NewRun(NamedTuple):
    """Consecutive origin chunks that were given consecutive chunks of the COW device.

    Attributes:
        origin: First chunk on the origin.
        cow: First chunk on the COW device.
        length: Number of chunks.
    """

    origin: int
    cow: int
    length: int


class Usage(NamedTuple):
    """The numbers of the kernel's status line, in sectors of 512 bytes."""

    allocated_sectors: int
    total_sectors: int
    metadata_sectors: int


class ExceptionStore(abc.ABC):
    """Where the exceptions of one snapshot go.

    `allocate`, `give_back`, `record` and `usage` only work in memory; the caller serialises them. `commit` and `drop`
    write, and may be called by any thread at any time.

    Attributes:
        device: The COW device.
        chunk_size_sectors: Chunk size in sectors.
        kind: ``P``, ``PO`` (persistent, with user space that knows of overflow) or ``N`` (transient).
        valid: Whether the snapshot can still be had; `drop` ends it.
        table: The exceptions that are complete.
        chunk_zero_bytes: Where on the COW device its chunk 0 begins. In a transient store that is before the device:
            it numbers its chunks from 1, as 0 means in a table that there is no copy to be had.
        findings: What was odd in the records when the store was loaded.
    """

    device: BlockDevice
    chunk_size_sectors: int
    kind: str
    valid: bool
    table: GrowingTable
    chunk_zero_bytes: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def chunk_size_bytes(self) -> int:
        """Chunk size in bytes."""
        return self.chunk_size_sectors * SECTOR_BYTES

    @abc.abstractmethod
    def allocate(self, first: int, count: int) -> list[NewRun]:
        """Gives ``count`` origin chunks from ``first`` chunks of the COW device, in order.

        Returns:
            What was given: less than asked for, perhaps nothing, where the device is full. A device that grew is seen.
        """

    @abc.abstractmethod
    def give_back(self, runs: list[NewRun]) -> None:
        """Takes back what `allocate` gave and nobody recorded; only what was given last can be given again."""

    @abc.abstractmethod
    def record(self, runs: list[NewRun]) -> None:
        """Takes exceptions whose copies are written, in the order of their allocation; `commit` makes them durable.

        A call that was interrupted can be made again.

        Raises:
            AreaBeyondDevice: A metadata area would lie outside the device; none of ``runs`` was taken.
        """

    @abc.abstractmethod
    def commit(self) -> bool:
        """Makes everything recorded before the call durable, and the copies before it.

        Returns:
            Whether the device was flushed: not where there was nothing to be committed, or the store is not valid.

        Raises:
            IOFailed: The device failed. What was to be committed is still there to be tried again.
        """

    @abc.abstractmethod
    def drop(self) -> None:
        """Invalidates the snapshot, for good and as durably as the device allows; it never raises `IOFailed`.

        On return it is done, whoever began it. If the device could not be written to, another call tries again.
        """

    @abc.abstractmethod
    def usage(self) -> Usage:
        """Returns the numbers of the status line."""

    @abc.abstractmethod
    def close(self) -> None:
        """Lets go of memory; commits nothing. The device stays the caller's."""
