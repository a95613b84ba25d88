"""What CLI tests share: running the command, here or as a program, and the demo's store as input."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_values import Ended, Files
from served import Served

from dmsnap.cli import main
from dmsnap.cli.sample import Notebook


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The notebook sample, laid out as files."""
    notebook = Notebook.load()
    store, origin = tmp_path / "monday.cow", tmp_path / "notebook.img"
    store.write_bytes(notebook.store)
    origin.write_bytes(notebook.origin())
    return Files(tmp_path, store, origin, notebook)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ended]:
    """Runs the command in the test's own folder and in this process, without a terminal: quick."""

    def call(*arguments: str | Path) -> Ended:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            with contextlib.chdir(tmp_path), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main([os.fspath(argument) for argument in arguments])
                out.flush()
                err.flush()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return Ended(status, out.buffer.getvalue(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]

    return call


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Ended]:
    """Runs the command as a shell would, in bounded time; for what only a process of its own shows."""

    def call(*arguments: str | Path, wrapper: str = "", redirection: str = "", **keywords: int) -> Ended:
        words = [sys.executable, "-m", "dmsnap", *map(os.fspath, arguments)]
        process = subprocess.run(
            ["/bin/sh", "-c", f'exec {wrapper} "$@" {redirection}', "sh", *words],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
            **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | keywords),  # type: ignore[call-overload]
        )
        return Ended(process.returncode, process.stdout or b"", process.stderr.decode())

    return call


@pytest.fixture
def terminal(tmp_path: Path) -> Callable[..., tuple[int, bytes]]:
    """Runs the command with a terminal as stderr, and stdout unless it has another; returns status and what it got."""

    def call(
        *arguments: str | Path, environment: dict[str, str] | None = None, stdout: int | None = None
    ) -> tuple[int, bytes]:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "dmsnap", *map(os.fspath, arguments)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"} | (environment or {}),
        )
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the last writer has gone
            while part := os.read(master, 65536):
                shown += part
        os.close(master)
        return process.wait(timeout=60), shown

    return call


@pytest.fixture
def serve(files: Files) -> Iterator[Callable[..., Served]]:
    """Serves the notebook's store in the test's folder; ended at the end."""
    running: list[Served] = []

    def start(*arguments: str | Path, lines: int = 2, **keywords: Any) -> Served:
        words = [files.store, "--origin", files.origin, *arguments]
        running.append(Served(*words, lines=lines, cwd=files.folder, **keywords))
        return running[-1]

    yield start
    for each in running:
        each.__exit__(None, None, None)
