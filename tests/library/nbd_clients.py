"""NBD clients that exist already, for tests of what is served."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from dmsnap.testing.tools import need_tool

__all__ = ["client", "copy_of", "exports_at", "extents_of", "qemu_io"]


def client(tool: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a client to its end, in bounded time."""
    return subprocess.run([need_tool(tool), *map(str, words)], capture_output=True, text=True, timeout=20, check=False)


def qemu_io(uri: str, *commands: str) -> str:
    """Runs commands of qemu-io on an export and returns what it says; fails if one of them failed."""
    ended = client("qemu-io", "-f", "raw", *[word for command in commands for word in ("-c", command)], uri)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def copy_of(uri: str, target: Path) -> bytes:
    """Copies an export to a file with nbdcopy and returns the bytes."""
    ended = client("nbdcopy", uri, target)
    assert ended.returncode == 0, ended.stderr
    return target.read_bytes()


def exports_at(address: str) -> dict[str, dict[str, object]]:
    """What nbdinfo finds, by name."""
    ended = client("nbdinfo", "--list", "--json", address)
    assert ended.returncode == 0, ended.stderr
    return {export["export-name"]: export for export in json.loads(ended.stdout)["exports"]}


def extents_of(uri: str, context: str) -> list[tuple[int, int, int]]:
    """Offset, length and type of the extents of a metadata context."""
    ended = client("nbdinfo", f"--map={context}", "--json", uri)
    assert ended.returncode == 0, ended.stderr
    return [(extent["offset"], extent["length"], extent["type"]) for extent in json.loads(ended.stdout)]
