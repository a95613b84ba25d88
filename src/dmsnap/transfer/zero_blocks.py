"""Finding the zeros in data, so that they need not be written."""

from __future__ import annotations

import numpy as np

__all__ = ["ZERO_BLOCK_BYTES", "data_spans"]

ZERO_BLOCK_BYTES = 4096
"""Zeros are left out in blocks of this size: the page, and what filesystems allocate."""


def data_spans(view: memoryview) -> list[tuple[int, int]]:
    """Returns which parts of ``view`` are not zeros, as (first byte, byte after the last), in whole blocks.

    Only blocks whose first eight bytes are zeros are looked at in full: data costs next to nothing.

    Args:
        view: A multiple of 512 bytes long; the last block may be short.
    """
    words = np.frombuffer(view, np.uint64)
    per_block = ZERO_BLOCK_BYTES // 8
    suspects = np.flatnonzero(words[::per_block] == 0)
    if not len(suspects):
        return [(0, len(view))]
    used = np.ones(-(-len(words) // per_block), np.bool_)
    if len(words) % per_block and suspects[-1] == len(used) - 1:
        used[-1] = words[-(len(words) % per_block) :].any()
        suspects = suspects[:-1]
    blocks = words[: len(words) // per_block * per_block].reshape(-1, per_block)
    if len(suspects) < len(blocks):  # else spare the copy that picking them makes
        blocks = blocks[suspects]
    used[suspects] = np.bitwise_or.reduce(blocks, axis=1) != 0
    edges = np.flatnonzero(np.diff(used.view(np.int8), prepend=0, append=0)) * ZERO_BLOCK_BYTES
    pairs = np.minimum(edges, len(view)).reshape(-1, 2).tolist()
    return [(first, stop) for first, stop in pairs]
