"""A host that is full beneath a sparse file: told apart from a medium that fails, and nothing is lost."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmsnap.block import FileDevice, IOFailed, OutOfRoom
from dmsnap.block import file as file_module
from dmsnap.testing import need, need_tool

MIB = 1 << 20


@pytest.fixture
def small_filesystem(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 2 MiB."""
    mount, umount = need_tool("mount"), need_tool("umount")
    need(os.geteuid() == 0, "mounting needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True, text=True)
    need(mounted.returncode == 0, f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run([umount, folder], check=True)


@pytest.fixture
def no_file_over_1_mib() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("fua", [False, True])
def test_a_full_host_is_out_of_room_and_keeps_what_there_is(small_filesystem: Path, fua: bool) -> None:
    (small_filesystem / "other").write_bytes(bytes(MIB))
    path = small_filesystem / "sparse.img"
    path.touch()
    os.truncate(path, 16 * MIB)
    content = os.urandom(MIB // 2)
    with FileDevice(path, writable=True) as device:
        device.write_at(0, content, fua=fua)
        with pytest.raises(OutOfRoom, match=r"no space left on device \(make room on the filesystem") as caught:
            device.write_at(8 * MIB, bytes(range(256)) * 4096, fua=fua)
        assert caught.value.errno == errno.ENOSPC
        assert device.read_at(0, MIB // 2) == content
        device.write_at(0, content[::-1], fua=fua)  # what has its room can be written
        (small_filesystem / "other").unlink()
        device.write_at(8 * MIB, bytes(range(256)) * 4096, fua=fua)
        assert device.read_at(0, MIB // 2) == content[::-1]
        assert device.read_at(8 * MIB, MIB) == bytes(range(256)) * 4096


@pytest.mark.usefixtures("no_file_over_1_mib")
@pytest.mark.parametrize("fua", [False, True])
def test_a_limit_of_file_sizes_is_out_of_room(tmp_path: Path, fua: bool) -> None:
    path = tmp_path / "sparse.img"
    path.write_bytes(bytes(MIB))
    with FileDevice(path, writable=True) as device, pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_module, "medium_size", lambda fd: 4 * MIB)  # the limit also forbids to make it so long
        with pytest.raises(OutOfRoom, match="allows no larger file") as caught:
            device.write_at(MIB - 512, bytes(1024), fua=fua)
        assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, OutOfRoom),
        (errno.EDQUOT, OutOfRoom),
        (errno.EFBIG, OutOfRoom),
        (errno.EIO, IOFailed),
        (errno.EROFS, IOFailed),
    ],
    ids=errno.errorcode.get,
)
def test_the_kind_of_error_tells_a_full_host_from_a_broken_medium(path, monkeypatch, number, kind) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    for call in ("pwrite", "pwrite_durably", "_datasync", "punch_hole"):
        monkeypatch.setattr(file_module, call, fail)
    with FileDevice(path, writable=True) as device:
        for request in (
            lambda: device.write_at(512, bytes(512)),
            lambda: device.write_at(512, bytes(512), fua=True),
            lambda: device.zero(512, 512),
            device.flush,
        ):
            with pytest.raises(IOFailed) as caught:
                request()
            assert type(caught.value) is kind
            assert caught.value.errno == number
