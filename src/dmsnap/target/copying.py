"""Copies of origin chunks on their way into the COW device."""

from __future__ import annotations

from dmsnap.block.contract import BlockDevice
from dmsnap.store.exception_store import ExceptionStore, NewRun

__all__ = ["copy_chunks", "copy_range"]

_PIECE_BYTES = 1 << 20


def copy_chunks(origin: BlockDevice, store: ExceptionStore, run: NewRun) -> None:
    """Copies whole chunks to where their exceptions will point.

    Of the origin's last chunk only what there is is copied; the rest of the copy stays as it was (Linux dm-snapshot).
    """
    size = store.chunk_size_bytes
    start = run.origin * size
    length = min((run.origin + run.length) * size, origin.size_bytes) - start
    copy_range(origin, start, store.device, store.chunk_zero_bytes + run.cow * size, length)


def copy_range(source: BlockDevice, at: int, target: BlockDevice, to: int, length: int) -> None:
    """Copies bytes from one device to another, in pieces of bounded size."""
    if length <= 0:
        return
    buffer = memoryview(bytearray(min(length, _PIECE_BYTES)))
    for done in range(0, length, _PIECE_BYTES):
        piece = buffer[: length - done]
        source.read_into(at + done, piece)
        target.write_at(to + done, piece)
