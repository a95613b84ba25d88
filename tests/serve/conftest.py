"""What tests of mounts share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmsnap.serve.fuse import NoFuse
from dmsnap.serve.fuse.libfuse import check_fuse
from dmsnap.testing import need, need_tool


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """An empty directory to mount on, that is unmounted however the test ends."""
    fusermount = need_tool("fusermount3")
    try:
        check_fuse()
    except NoFuse as error:
        need(False, str(error))
    folder = tmp_path / "mounted"
    folder.mkdir()
    yield folder
    subprocess.run([fusermount, "-u", "-q", "-z", folder], check=False, capture_output=True)
