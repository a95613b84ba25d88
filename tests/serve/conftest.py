"""Servers on unix sockets, for as long as a test runs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dmsnap.serve.nbd import Export, Server

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
