"""The error target: every read and write fails (Linux dm-error, ``dm-target``)."""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice, IOFailed

__all__ = ["ErrorDevice"]


class ErrorDevice(BlockDevice):
    """``size_bytes`` of which none can be read or written: each request raises `IOFailed`, but for a flush.

    As in Linux a flush of it succeeds: the target takes none, and there is nothing that could be lost.
    """

    def __init__(self, size_bytes: int, *, name: str = "error") -> None:
        self.name = name
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def _read_into(self, offset: int, view: memoryview) -> None:
        raise self._failed("read", offset, len(view))

    def _write_at(self, offset: int, view: memoryview) -> None:
        raise self._failed("write", offset, len(view))

    def _zero(self, offset: int, length: int) -> None:
        raise self._failed("zero", offset, length)

    def _discard(self, offset: int, length: int) -> None:
        raise self._failed("discard", offset, length)

    def _flush(self) -> None:
        """Succeeds."""

    def _failed(self, verb: str, offset: int, length: int) -> IOFailed:
        return IOFailed(
            f"{self.name}: cannot {verb} {length} bytes at byte {offset}: the error target fails every request",
            hint="load another table",
            device=self.name,
            offset_bytes=offset,
        )
