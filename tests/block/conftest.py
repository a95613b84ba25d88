"""A small file for the tests of files, and a ring of which a test says when its reads arrive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ring_pipe import Pipe

from dmsnap.block import uring
from dmsnap.testing import need


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 64 KiB without a hole."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * 256)
    return path


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A ring of reads of pipes; nothing is in flight afterwards."""
    ring = uring.open_ring(2)
    if ring is not None:
        ring.close()
    need(ring, "the system allows no io_uring")
    pipe = Pipe()
    yield pipe
    pipe.end()
    pipe.reads.close()
