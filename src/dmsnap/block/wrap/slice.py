"""A part of a device, as a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice, Extent, ReadRequest
from dmsnap.block.wrap.wrapper import Wrapper

__all__ = ["SliceDevice"]


class SliceDevice(Wrapper):
    """A window of ``length`` bytes that begins at byte ``offset`` of ``device``; nothing outside it can be reached.

    Raises:
        BadRequest: The window lies outside the device, or not in multiples of its logical block size.
    """

    def __init__(self, device: BlockDevice, offset: int, length: int) -> None:
        super().__init__(device)
        device._check(offset, length)
        self._offset = offset
        self._length = length

    @property
    def size_bytes(self) -> int:
        return self._length

    def _read_into(self, offset: int, view: memoryview) -> None:
        self.device._read_into(self._offset + offset, view)

    def _start_reads(self, requests: Sequence[ReadRequest]) -> list[Completion]:
        return self.device._start_reads([(self._offset + offset, view) for offset, view in requests])

    def _as_memory(self, stop: int) -> memoryview | None:
        memory = self.device._as_memory(self._offset + stop)
        return None if memory is None else memory[self._offset :]

    def _lent_in_vain(self, *, unreadable: bool) -> None:
        self.device._lent_in_vain(unreadable=unreadable)

    def _prefetch(self, offset: int, length: int) -> None:
        self.device._prefetch(self._offset + offset, length)

    def _write_at(self, offset: int, view: memoryview) -> None:
        self.device._write_at(self._offset + offset, view)

    def _write_durably(self, offset: int, view: memoryview) -> None:
        self.device._write_durably(self._offset + offset, view)

    def _zero(self, offset: int, length: int) -> None:
        self.device._zero(self._offset + offset, length)

    def _discard(self, offset: int, length: int) -> None:
        self.device._discard(self._offset + offset, length)

    def _extents(self, offset: int, length: int) -> Iterator[Extent]:
        for extent in self.device._extents(self._offset + offset, length):
            yield extent._replace(offset=extent.offset - self._offset)
