"""What tests of bad input share: the command under watch, and inputs that must not change."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dmsnap.testing.damage import ORIGIN_BYTES

TIME_LIMIT_SECONDS = 20
MEMORY_LIMIT_MIB = 300
HASHED_BYTES = 1 << 27

# The command, then what the kernel says was the most memory that this process ever had.
WATCHED = """
import sys
from dmsnap.cli import main
status = main(sys.argv[2:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
with open(int(sys.argv[1]), "w") as pipe:
    pipe.write(peak.split()[1])
sys.exit(status)
"""


@dataclass(frozen=True)
class Outcome:
    """How the command ended."""

    status: int
    stdout: str
    stderr: str

    def is_one_clear_line(self, *words: str) -> bool:
        """Asserts the contract of an error: status 1, one line on stderr with these words in it, nothing else."""
        assert self.status == 1, self
        assert self.stdout == ""
        assert self.stderr.startswith("dmsnap: ")
        assert self.stderr.count("\n") == 1
        assert self.stderr.endswith("\n")
        assert "Traceback" not in self.stderr
        assert "unexpected" not in self.stderr, "an error that nobody foresaw"
        assert self.stderr[:-1].isprintable()
        for word in words:
            assert word in self.stderr
        return True


@pytest.fixture
def dmsnap_command(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs ``dmsnap`` in the test's folder, in bounded time and memory; ``before`` are words that run it."""

    def run(*arguments: str | Path, before: tuple[str, ...] = (), folder: Path = tmp_path) -> Outcome:
        reading, writing = os.pipe()
        try:
            process = subprocess.run(
                [*before, sys.executable, "-c", WATCHED, str(writing), *map(os.fspath, arguments)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                pass_fds=(writing,),
                timeout=TIME_LIMIT_SECONDS,
                check=False,
            )
            peak_kib = os.read(reading, 100) if process.returncode in (0, 1) else b"0"
        finally:
            os.close(reading)
            os.close(writing)
        assert int(peak_kib) >> 10 < MEMORY_LIMIT_MIB
        return Outcome(process.returncode, process.stdout.decode(), process.stderr.decode())

    return run


@pytest.fixture
def unchanged() -> Callable[..., contextlib.AbstractContextManager[None]]:
    """A block in which files, and the folders that they lie in, keep their content and times."""

    def state(path: Path) -> tuple[object, ...]:
        found = path.stat()
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(HASHED_BYTES)).hexdigest()
        return digest, found.st_size, found.st_blocks, found.st_mtime_ns, found.st_ctime_ns

    @contextlib.contextmanager
    def watch(*paths: Path) -> Iterator[None]:
        before = [state(path) for path in paths]
        names = [sorted(path.parent.iterdir()) for path in paths]
        yield
        assert [state(path) for path in paths] == before
        assert [sorted(path.parent.iterdir()) for path in paths] == names

    return watch


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """An origin whose every sector tells its place."""
    path = tmp_path / "origin.img"
    path.write_bytes(b"".join(number.to_bytes(4, "big") * 128 for number in range(ORIGIN_BYTES // 512)))
    return path


@pytest.fixture
def put_huge(tmp_path: Path) -> Callable[[Path, int], int]:
    """Lengthens a file by a hole to some size, or to what the filesystem allows; returns what it is now."""

    def put(path: Path, size: int) -> int:
        while True:
            try:
                os.truncate(path, size)
            except OSError:
                size = size // 2 & -512
                assert size > 1 << 32, "no filesystem for huge files"
            else:
                return size

    return put
