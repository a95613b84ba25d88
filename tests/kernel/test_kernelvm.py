"""The kernel machine itself: what goes in and comes out, and that it ends."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from dmsnap.testing.kernelvm import KernelVM, KernelVMFailed, KernelVMUnavailable, build, cache_folder, need_kernelvm
from dmsnap.testing.kernelvm.machine import _run_bounded


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_disks_output_and_status(tmp_path: Path) -> None:
    need_kernelvm()
    odd_name = tmp_path / "a,b='$(reboot)' \"c\\.img"
    odd_name.write_bytes(b"from the host".ljust(4096, b"\0"))
    script = """
        echo before; section one; head -c 13 /dev/disk0; echo; printf 'from the guest' | dd of=/dev/disk0 2>/dev/null
        section two; echo '@@0123456789abcdef not a section'; uname -s; false; exit 7
    """
    result = KernelVM([odd_name]).run(script)
    assert result.status == 7
    assert result.sections == {
        "": ["before"],
        "one": ["from the host"],
        "two": ["@@0123456789abcdef not a section", "Linux"],
    }
    assert odd_name.read_bytes().startswith(b"from the guest")


@pytest.mark.kernel
def test_a_guest_that_does_not_end_is_killed() -> None:
    need_kernelvm()
    with pytest.raises(KernelVMFailed, match=r"did not end in 0.5 s"):
        KernelVM(timeout_s=0.5).run("sleep 1000")


def test_the_whole_process_group_ends(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(KernelVMFailed):
        _run_bounded(["sh", "-c", f'sleep 1000 & echo $! >"{pid}.new"; mv "{pid}.new" "{pid}"; wait'], timeout_s=2)
    child = int(pid.read_text())
    limit = time.monotonic() + 30
    while alive(child):
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_too_many_disks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KernelVMFailed, match="30 disks"):
        KernelVM([tmp_path] * 30).run("true")


def test_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DMSNAP_KERNELVM_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder().parent == tmp_path / "dmsnap"
    monkeypatch.setenv("DMSNAP_KERNELVM_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_missing_programs_are_named_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMSNAP_KERNELVM_CACHE", str(tmp_path / "vm"))
    monkeypatch.setattr(build, "find_program", lambda name: None if name in ("cpio", "lvm") else "/bin/true")
    with pytest.raises(KernelVMUnavailable, match=r"needs cpio, lvm \(apt-get install "):
        build.prepare()
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_continuous_integration_installs_what_the_machine_takes() -> None:
    script = (Path(__file__).parents[2] / ".ci/run").read_text()
    packages = re.search(r"^packages=\(([^)]*)\)", script, re.MULTILINE)
    assert packages is not None
    assert set(packages[1].split()) == {"make", "python3-venv", *build.APT_PACKAGES}


def alive(pid: int) -> bool:
    """Tells whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
