"""The zero target: reads as zeros, and what is written is forgotten (Linux dm-zero)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmsnap.block.completion import COMPLETED, Completion
from dmsnap.block.contract import BlockDevice, Extent, ExtentKind, ReadRequest

__all__ = ["ZeroDevice"]


class ZeroDevice(BlockDevice):
    """One hole of ``size_bytes``. Writes succeed and change nothing."""

    def __init__(self, size_bytes: int, *, name: str = "zero") -> None:
        self.name = name
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def _read_into(self, offset: int, view: memoryview) -> None:  # noqa: ARG002 - it is the same everywhere
        view[:] = bytes(len(view))

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        for _, view in requests:
            view[:] = bytes(len(view))
        return [COMPLETED] * len(requests)

    def _write_at(self, offset: int, view: memoryview) -> None:
        """Forgets the data."""

    def _zero(self, offset: int, length: int) -> None:
        """Does nothing: it is zero."""

    def _flush(self) -> None:
        """Does nothing: there is nothing to be durable."""

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        yield Extent(offset, length, ExtentKind.HOLE)
