"""What every wrapper is made of: a device that forwards everything to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, Extent, ReadRequest

__all__ = ["Wrapper"]


class Wrapper(BlockDevice):
    """Forwards everything to ``device``; a subclass overrides the hooks it is about.

    It forwards from hook to hook, so that a request is checked once, by the outermost wrapper. It owns the device:
    closing the one closes the other.

    Attributes:
        device: What is wrapped.
    """

    def __init__(self, device: BlockDevice) -> None:
        self.device = device
        self.name = device.name
        self.logical_block_size_bytes = device.logical_block_size_bytes
        self.read_only = device.read_only

    @property
    def size_bytes(self) -> int:
        return self.device.size_bytes

    @property
    def failed_flushes(self) -> int:
        return self._failed_flushes + self.device.failed_flushes

    @property
    def zeroes_quickly(self) -> bool:
        return self.device.zeroes_quickly

    def clock(self) -> float:
        return self.device.clock()

    def _read_into(self, offset: int, view: memoryview) -> None:
        self.device._read_into(offset, view)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        return self.device._start_reads(requests)

    def _prefetch(self, offset: int, length: int) -> None:
        self.device._prefetch(offset, length)

    def _write_at(self, offset: int, view: memoryview) -> None:
        self.device._write_at(offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self.device._write_durably(offset, view)

    def _zero(self, offset: int, length: int) -> None:
        self.device._zero(offset, length)

    def _discard(self, offset: int, length: int) -> None:
        self.device._discard(offset, length)

    def _flush(self) -> None:
        self.device._flush()

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        return self.device._extents(offset, length)

    def _close(self) -> None:
        self.device.close()
