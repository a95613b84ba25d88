"""What the fixtures of CLI tests hand out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dmsnap.cli.sample import Notebook


@dataclass(frozen=True)
class Files:
    """A store and its origin on disk, in a folder of their own."""

    folder: Path
    store: Path
    origin: Path
    notebook: Notebook


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        returncode: The exit status.
        raw: What it wrote to stdout.
        stderr: What it wrote to stderr.
    """

    returncode: int
    raw: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """What it wrote to stdout, as text."""
        return self.raw.decode()
