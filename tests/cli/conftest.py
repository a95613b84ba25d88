"""What CLI tests share: running the command as a program, and the demo's store as input."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmsnap.cli.sample import Notebook

TIME_LIMIT_SECONDS = 30


@dataclass(frozen=True)
class Files:
    """A store and its origin on disk, in a folder of their own."""

    folder: Path
    store: Path
    origin: Path
    notebook: Notebook


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The notebook sample, laid out as files."""
    notebook = Notebook.load()
    store, origin = tmp_path / "monday.cow", tmp_path / "notebook.img"
    store.write_bytes(notebook.store)
    origin.write_bytes(notebook.origin())
    return Files(tmp_path, store, origin, notebook)


class Run:
    """Runs ``dmsnap`` in a folder as a shell would, in bounded time, without a terminal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *arguments: str | Path, **keywords: object) -> subprocess.CompletedProcess[str]:
        """Returns the finished process; stdout and stderr are text."""
        options: dict[str, object] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | keywords
        return subprocess.run(
            [sys.executable, "-m", "dmsnap", *map(os.fspath, arguments)],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            timeout=TIME_LIMIT_SECONDS,
            check=False,
            **options,  # type: ignore[call-overload]
        )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The command, run in the test's own folder."""
    return Run(tmp_path)
