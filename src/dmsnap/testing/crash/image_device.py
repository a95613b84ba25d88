"""A device over flat memory: made in no time, for content that is looked at once."""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice

__all__ = ["ImageDevice"]


class ImageDevice(BlockDevice):
    """Holds ``content`` without copying it; `dmsnap.block.MemoryDevice` is for all that is not small.

    Args:
        content: Taken over: it changes as the device does.
        name: For messages.
    """

    def __init__(self, content: bytearray, name: str = "image") -> None:
        self.name = name
        self.content = content
        self._view = memoryview(content)

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    def _read_into(self, offset: int, view: memoryview) -> None:
        view[:] = self._view[offset : offset + len(view)]

    def _write_at(self, offset: int, view: memoryview) -> None:
        self._view[offset : offset + len(view)] = view

    def _flush(self) -> None:
        return
