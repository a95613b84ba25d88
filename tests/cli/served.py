"""A server as a program of its own, for tests of the verb."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dmsnap.testing.tools import need_tool

__all__ = ["Served", "client"]


def client(tool: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a client to its end, in bounded time."""
    return subprocess.run([need_tool(tool), *map(str, words)], capture_output=True, text=True, timeout=60, check=False)


class Served:
    """``dmsnap serve …`` that runs; it is ready when this is made.

    Attributes:
        lines: What it printed first, as far as it was asked for.
        process: It.
    """

    def __init__(
        self,
        *arguments: str | Path,
        lines: int,
        cwd: Path,
        environment: dict[str, str] | None = None,
        wrapper: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "-m", "dmsnap", "serve", *map(os.fspath, arguments)],
            cwd=cwd,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )
        assert self.process.stdout is not None
        self.lines = [self.process.stdout.readline().rstrip("\n") for _ in range(lines)]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Sends a signal and returns the exit status, the rest of stdout, and stderr."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str, str]:
        """Waits for it to end by itself; returns as `end`."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with contextlib.suppress(ValueError):  # read already
            self.process.communicate(timeout=60)
