"""A small file for the tests of files."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 64 KiB without a hole."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(range(256)) * 256)
    return path
