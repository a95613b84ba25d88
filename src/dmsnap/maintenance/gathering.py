"""Chunks from here and there on a device, read side by side into one array."""

from __future__ import annotations

from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dmsnap.block.completion import Completion
from dmsnap.block.contract import BlockDevice
from dmsnap.maintenance.distinct import Chunks

__all__ = ["BATCH_BYTES", "Gathered", "gather", "nonzero", "unlike"]

BATCH_BYTES = 8 << 20
"""What is gathered at once, or one chunk where that is larger."""

Content = npt.NDArray[np.uint64]
"""Shape (chunks, chunk bytes / 8)."""


class Gathered(NamedTuple):
    """Content that is on its way.

    Attributes:
        content: A row for each chunk; zeros past the end of the device. To be used after `wait`.
        reads: What is under way.
    """

    content: Content
    reads: list[Completion]

    def wait(self) -> Content:
        """Returns the content once it is there.

        Raises:
            IOFailed: Some of it cannot be read.
        """
        for read in self.reads:
            read.wait()
        return self.content


def gather(device: BlockDevice, chunks: Chunks, chunk_bytes: int) -> Gathered:
    """Starts to read chunks, consecutive ones together.

    Args:
        device: Each of the chunks begins on it; the last one may lie on it in part.
        chunks: Chunk numbers in any order, at least one.
        chunk_bytes: Size of a chunk.
    """
    size = device.size_bytes
    partly = (int(chunks.max()) + 1) * chunk_bytes > size
    content = (np.zeros if partly else np.empty)((len(chunks), chunk_bytes // 8), np.uint64)
    octets = content.reshape(-1).view(np.uint8).data
    starts = np.flatnonzero(np.diff(chunks, prepend=-2) != 1)
    places = starts.tolist()
    requests = []
    for chunk, begin, end in zip(chunks[starts].tolist(), places, [*places[1:], len(chunks)], strict=True):
        length = min((end - begin) * chunk_bytes, size - chunk * chunk_bytes)
        requests.append((chunk * chunk_bytes, octets[begin * chunk_bytes : begin * chunk_bytes + length]))
    requests.sort(key=itemgetter(0))  # a disk is read in one sweep
    return Gathered(content, device.start_reads(requests))


def unlike(one: Content, other: Content) -> npt.NDArray[np.bool_]:
    """Which rows differ."""
    differs: npt.NDArray[np.bool_] = (one != other).any(axis=1)
    return differs


def nonzero(content: Content) -> npt.NDArray[np.bool_]:
    """Which rows are not all zeros; only those that begin with zeros are looked at in full."""
    found: npt.NDArray[np.bool_] = content[:, 0] != 0
    rest = np.flatnonzero(~found)
    found[rest] = content[rest].any(axis=1)
    return found
