"""What tests of serving share: NBD servers on unix sockets, and places to mount on."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dmsnap.serve.fuse import NoFuse
from dmsnap.serve.fuse.libfuse import check_fuse
from dmsnap.serve.nbd import Export, Server
from dmsnap.testing import need, need_tool

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers for exports, on unix sockets (whose paths are short); stops them, and none may have crashed."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nbd"))

        def start(*exports: Export, **options: Any) -> Server:
            server = Server(exports, **options)
            server.listen_unix(os.path.join(folder, f"s{len(servers)}"))
            stack.enter_context(server)
            servers.append(server)
            return server

        servers: list[Server] = []
        yield start
    for server in servers:
        assert server.counters.crashes == 0
        assert server.counters.connections == 0


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
