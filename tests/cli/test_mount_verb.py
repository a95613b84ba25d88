"""``dmsnap mount``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmsnap.serve.fuse import NoFuse
from dmsnap.serve.fuse.libfuse import check_fuse
from dmsnap.testing import need, need_tool
from dmsnap.testing.lvm_fixtures import LVMFixture, load_lvm_fixture


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """An empty directory to mount on; afterwards nothing is mounted there and no process serves it."""
    fusermount = need_tool("fusermount3")
    try:
        check_fuse()
    except NoFuse as error:
        need(False, str(error))
    folder = tmp_path / "mounted"
    folder.mkdir()
    yield folder
    left = servers(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    subprocess.run([fusermount, "-u", "-q", "-z", folder], check=False, capture_output=True)
    assert not left, "a process is left"


def servers(folder: Path) -> list[int]:
    """The processes that were started in the background to mount there."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"--announce" in words and os.fsencode(folder) in words:
                found.append(int(process.name))
    return found


@contextlib.contextmanager
def ending(folder: Path) -> Iterator[int]:
    """Gives the process that serves a folder; afterwards it is to end, in time."""
    (pid,) = servers(folder)
    watched = os.pidfd_open(pid)
    try:
        yield pid
        assert select.select([watched], [], [], 30)[0], "it goes on"
    finally:
        os.close(watched)


def unmount(folder: Path) -> None:
    subprocess.run(["fusermount3", "-u", folder], check=True)


@contextlib.contextmanager
def in_foreground(files, directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A mount in the foreground, once it says where the file is."""
    words = ["mount", "--foreground", *options, files.store, directory, "--origin", files.origin]
    process = subprocess.Popen(
        [sys.executable, "-m", "dmsnap", *map(os.fspath, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == os.fsencode(directory / "monday") + b"\n"
        yield process
    finally:
        process.kill()
        process.communicate()


# -- in the background ------------------------------------------------------------------------------------------------


def test_it_returns_when_the_file_is_there_and_ends_with_the_mount(program, run, files, directory: Path) -> None:
    process = program("mount", files.store, directory, "--origin", files.origin)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout == f"{directory / 'monday'}\n"
    assert (directory / "monday").read_bytes() == files.notebook.snapshot()
    with ending(directory):
        with open(directory / "monday", "r+b") as file:
            file.write(b"tuesday")
        unmount(directory)
    assert run("export", files.store, "-", "--origin", files.origin).raw.startswith(b"tuesday")
    assert run("info", files.store, "--origin", files.origin).returncode == 0
    assert files.origin.read_bytes() == files.notebook.origin()


def test_read_only_leaves_the_store_as_it_is(program, files, directory: Path) -> None:
    before = files.store.read_bytes(), files.store.stat().st_mtime_ns
    assert program("mount", "--read-only", files.store, directory, "--origin", files.origin).returncode == 0
    with ending(directory):
        with pytest.raises(OSError, match="Read-only file system"):
            os.open(directory / "monday", os.O_RDWR)
        assert (directory / "monday").stat().st_mode & 0o777 == 0o400
        unmount(directory)
    assert (files.store.read_bytes(), files.store.stat().st_mtime_ns) == before


def test_a_signal_unmounts_it(program, run, files, directory: Path) -> None:
    program("mount", files.store, directory, "--origin", files.origin)
    with open(directory / "monday", "r+b", buffering=0) as file, ending(directory) as pid:
        file.write(b"tuesday")  # it is in use, and nobody has flushed
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            file.close()
    assert list(directory.iterdir()) == []
    assert run("export", files.store, "-", "--origin", files.origin).raw.startswith(b"tuesday")


def test_it_holds_nothing_of_whoever_started_it(program, files, directory: Path) -> None:
    assert program("mount", files.store.name, directory, "--origin", files.origin.name).returncode == 0
    with ending(directory) as pid:
        process = Path("/proc", str(pid))
        assert (process / "cwd").readlink() == Path("/")
        assert [str((process / "fd" / number).readlink()) for number in "012"] == ["/dev/null"] * 3
        assert os.getsid(pid) == pid
        assert not [link for link in (process / "fd").iterdir() if "pipe" in str(link.readlink())]
        unmount(directory)


def test_after_a_kill_it_says_how_to_go_on(program, files, directory: Path) -> None:
    program("mount", files.store, directory, "--origin", files.origin)
    with ending(directory) as pid:
        os.kill(pid, signal.SIGKILL)
    again = ["mount", files.store, directory, "--origin", files.origin]
    process = program(*again)
    assert process.returncode == 1
    assert process.stderr == (
        f"dmsnap: {directory}: a mount that was killed is left there (hint: unmount it: fusermount3 -u {directory})\n"
    )
    unmount(directory)
    assert program(*again).returncode == 0
    with ending(directory):
        unmount(directory)


def test_the_load_can_be_traced(program, files, directory: Path) -> None:
    words = ["mount", files.store, directory, "--origin", files.origin, "--trace", "load.json"]
    assert program(*words).returncode == 0
    assert json.loads((files.folder / "load.json").read_text())["loads"]
    with ending(directory):
        unmount(directory)


def test_others_are_let_in_only_where_that_is_asked_for(program, files, directory: Path) -> None:
    need(os.geteuid() == 0, "only root may let others in by default")
    for options, mode in ([], 0o600), (["--allow-other"], 0o644):
        assert program("mount", *options, files.store, directory, "--origin", files.origin).returncode == 0
        with ending(directory):
            (told,) = [line for line in Path("/proc/mounts").read_text().splitlines() if str(directory) in line]
            assert ("allow_other" in told) == bool(options)
            assert (directory / "monday").stat().st_mode & 0o777 == mode
            unmount(directory)


def test_names_are_only_names(program, files, directory: Path) -> None:
    name = os.fsdecode(b"\xff,\\ \x1b[31m")
    strange = files.store.rename(files.folder / f"{name}.cow")
    process = program("mount", strange, directory, "--origin", files.origin)
    assert process.returncode == 0, process.stderr
    assert b"\x1b" not in process.raw
    with ending(directory):
        assert list(directory.iterdir()) == [directory / name]
        unmount(directory)


def test_a_terminal_is_told_how_to_unmount_it(terminal, files, directory: Path) -> None:
    status, shown = terminal("mount", files.store, directory, "--origin", files.origin)
    assert status == 0
    with ending(directory):
        assert f"unmount it with: fusermount3 -u {directory}".encode() in shown
        unmount(directory)


# -- in the foreground ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_in_the_foreground_a_signal_is_its_clean_end(number: int, run, files, directory: Path) -> None:
    with in_foreground(files, directory) as process:
        with open(directory / "monday", "r+b", buffering=0) as file:
            file.write(b"tuesday")
            process.send_signal(number)
            assert process.communicate(timeout=30) == (b"", b"")
            with contextlib.suppress(OSError):
                file.close()
        assert process.returncode == 0
    assert list(directory.iterdir()) == []
    assert run("export", files.store, "-", "--origin", files.origin).raw.startswith(b"tuesday")


def test_in_the_foreground_it_ends_when_it_is_unmounted(files, directory: Path) -> None:
    with in_foreground(files, directory, "--sync", "commit") as process:
        unmount(directory)
        assert process.communicate(timeout=30) == (b"", b"")
        assert process.returncode == 0


# -- logical volumes --------------------------------------------------------------------------------------------------


@pytest.fixture
def case(tmp_path: Path) -> LVMFixture:
    """A group with an origin of 4 MiB and four snapshots of it, in ``disk0.img``."""
    return load_lvm_fixture("snapshots", tmp_path)


@pytest.mark.parametrize("volume", ["snap8", "plain"])
def test_a_logical_volume_reads_as_linux_says(volume: str, program, case: LVMFixture, directory: Path) -> None:
    before = case.images[0].read_bytes()
    process = program("mount", "--read-only", f"lvm:vgsnap/{volume}@disk0.img", directory)
    assert (process.returncode, process.stderr) == (0, "")
    with ending(directory):
        assert process.stdout == f"{directory / volume}\n"
        assert sha256(directory / volume) == case.facts.sha256[f"vgsnap-{volume}"]
        unmount(directory)
    assert case.images[0].read_bytes() == before


def test_what_is_written_to_a_snapshot_is_there_afterwards_and_only_there(
    program, run, case: LVMFixture, directory: Path
) -> None:
    assert program("mount", "lvm:vgsnap/snap8@disk0.img", directory).returncode == 0
    with ending(directory):
        with open(directory / "snap8", "r+b") as file:
            file.seek(3 << 20)
            file.write(b"tuesday")
        unmount(directory)
    for volume in ("origin", "snap4", "snap8", "snap64", "snap512", "plain"):
        content = run("export", f"lvm:vgsnap/{volume}@disk0.img", "-").raw
        if volume == "snap8":
            assert content[3 << 20 :].startswith(b"tuesday")
            content = content.replace(b"tuesday", bytes(7))
        assert hashlib.sha256(content).hexdigest() == case.facts.sha256[f"vgsnap-{volume}"]


def test_an_origin_with_snapshots_can_only_be_looked_at(program, case: LVMFixture, directory: Path) -> None:
    before = case.images[0].read_bytes()
    process = program("mount", "lvm:vgsnap/origin@disk0.img", directory)
    assert process.returncode == 1
    assert process.stderr.startswith("dmsnap: ")
    assert list(directory.iterdir()) == []
    assert program("mount", "--read-only", "lvm:vgsnap/origin@disk0.img", directory).returncode == 0
    with ending(directory):
        assert sha256(directory / "origin") == case.facts.sha256["vgsnap-origin"]
        unmount(directory)
    assert case.images[0].read_bytes() == before


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("foreground", [[], ["--foreground"]])
class TestErrors:
    """Are the same in the foreground and the background, and leave nothing behind."""

    def refused(self, program, words: list[object], status: int = 1) -> str:
        process = program("mount", *words)
        assert process.returncode == status
        assert process.stdout == ""
        assert process.stderr.startswith("dmsnap: ")
        assert process.stderr.count("\n") == 1
        assert "unexpected" not in process.stderr
        return process.stderr

    def test_no_store(self, foreground: list[str], program, files, directory: Path) -> None:
        assert "missing.cow" in self.refused(program, [*foreground, "missing.cow", directory, "--origin", files.origin])

    def test_no_origin(self, foreground: list[str], program, files, directory: Path) -> None:
        self.refused(program, [*foreground, files.store, directory], 2)
        assert "missing" in self.refused(program, [*foreground, files.store, directory, "--origin", "missing"])

    def test_not_a_store(self, foreground: list[str], program, files, directory: Path) -> None:
        files.store.write_bytes(b"no store " * 9999)
        self.refused(program, [*foreground, files.store, directory, "--origin", files.origin])

    def test_no_directory(self, foreground: list[str], program, files, directory: Path) -> None:
        told = self.refused(program, [*foreground, files.store, "missing", "--origin", files.origin])
        assert told == "dmsnap: missing: no such file or directory (hint: make it: mkdir missing)\n"

    def test_the_directory_of_the_store(self, foreground: list[str], program, files, directory: Path) -> None:
        told = self.refused(program, [*foreground, files.store, ".", "--origin", files.origin])
        assert "lies in it and would be hidden" in told

    def test_in_use(self, foreground: list[str], program, files, directory: Path) -> None:
        with in_foreground(files, directory):
            (files.folder / "second").mkdir()
            told = self.refused(program, [*foreground, files.store, "second", "--origin", files.origin])
            assert "in use by another writer" in told

    def test_a_store_that_can_only_be_read(self, foreground: list[str], run, program, files, directory: Path) -> None:
        need(os.geteuid() == 0, "setpriv takes away what only root has")
        files.store.chmod(0o444)
        words = ["mount", *foreground, files.store, directory, "--origin", files.origin]
        process = program(*words, wrapper="setpriv --bounding-set -dac_override")
        assert process.returncode == 1
        assert process.stderr.endswith("monday.cow: permission denied (hint: to look, --read-only is enough)\n")

    def test_prefetch(self, foreground: list[str], program, files, directory: Path) -> None:
        words = [*foreground, files.store, directory, "--origin", files.origin, "--prefetch", "much"]
        self.refused(program, words, 2)

    def test_nobody_listens(self, foreground: list[str], program, files, directory: Path) -> None:
        words = ["mount", *foreground, files.store, directory, "--origin", files.origin]
        process = program(*words, redirection=">&-")
        assert process.returncode == 1
        assert list(directory.iterdir()) == []

    def test_debug_shows_where(self, foreground: list[str], program, files, directory: Path) -> None:
        process = program("mount", *foreground, "missing.cow", directory, "--origin", files.origin, "--debug")
        assert process.returncode == 1
        assert "Traceback" in process.stderr
        assert process.stderr.splitlines()[-1].startswith("dmsnap: missing.cow")
