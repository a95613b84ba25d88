"""A disk that fills up beneath a sparse file: the write fails, nothing is lost, and with room it goes on.

The disk is a small filesystem of its own: tmpfs, which gives out pages as they are written, and ext4, which a COW file
or an origin mostly lies on.
"""

import errno
import os
import random
import subprocess

import pytest

import dmsnap
from dmsnap.errors import DmsnapError
from dmsnap.target.merging import MergeFailed
from dmsnap.testing import need, need_tool

CHUNK = 4096
CHUNKS = 2048
DISK_BYTES = 4 << 20


class Disk:
    """A mounted folder that is filled and given room again."""

    def __init__(self, folder):
        self.folder = folder
        self.filler = folder / "filler"

    def fill(self):
        """Leaves no room."""
        with self.filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 512):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    os.fsync(file.fileno())

    def make_room(self):
        self.filler.unlink()
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)  # ext4 gives the room away once this is durable
        os.close(folder)


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request, tmp_path):
    mount, umount = need_tool("mount"), need_tool("umount")
    need(os.geteuid() == 0, "mounting needs root")
    folder, image = tmp_path / "disk", tmp_path / "disk.img"
    folder.mkdir()
    if request.param == "tmpfs":
        command = [mount, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", folder]
    else:
        with image.open("wb") as file:
            file.truncate(2 * DISK_BYTES)
        subprocess.run([need_tool("mkfs.ext4"), "-q", "-m", "0", image], check=True)
        command = [mount, "-o", "loop", image, folder]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    need(mounted.returncode == 0, f"cannot mount a {request.param}: {mounted.stderr}")
    yield Disk(folder)
    subprocess.run([umount, folder], check=True)


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.img"
    path.write_bytes(random.Random(1).randbytes(CHUNKS * CHUNK))
    return path


def content(cow, base):
    with dmsnap.open_snapshot(cow, base) as snapshot:
        return snapshot.read()


def write_until_it_fails(snapshot, model, chunks):
    for chunk in chunks:
        snapshot.write_at(chunk * CHUNK, b"2" * CHUNK)
        model[chunk * CHUNK : (chunk + 1) * CHUNK] = b"2" * CHUNK


@pytest.mark.parametrize("sync", ["flush", "commit"])
def test_writes_to_a_snapshot_fail_and_go_on(sync, disk, base):
    cow = disk.folder / "sparse.cow"
    dmsnap.create(cow, 64 << 20, CHUNK)
    model = bytearray(base.read_bytes())
    with dmsnap.open_snapshot(cow, base, "r+", sync=sync) as snapshot:
        for chunk in range(100):
            snapshot.write_at(chunk * CHUNK, b"1" * CHUNK)
        model[: 100 * CHUNK] = b"1" * 100 * CHUNK
        snapshot.flush()
        disk.fill()
        with pytest.raises(OSError, match="no space left on device") as raised:
            write_until_it_fails(snapshot, model, range(100, 600))
        assert isinstance(raised.value, DmsnapError)
        assert raised.value.hint == "make room on the filesystem that holds it"
        assert str(snapshot.status()) != "Invalid"
        snapshot.seek(0)
        assert snapshot.read() == model
        disk.make_room()
        for chunk in range(300, 500):  # into a second metadata area
            snapshot.write_at(chunk * CHUNK, b"3" * CHUNK)
        model[300 * CHUNK : 500 * CHUNK] = b"3" * 200 * CHUNK
    assert content(cow, base) == model
    assert dmsnap.info(cow, origin=base).findings == ()


def test_a_flush_without_room_for_metadata_can_be_made_again(disk, base):
    cow = disk.folder / "sparse.cow"
    dmsnap.create(cow, 64 << 20, CHUNK)
    with dmsnap.open_snapshot(cow, base, "r+") as snapshot:
        snapshot.write_at(0, b"1" * 255 * CHUNK)
        snapshot.flush()
        snapshot.write_at(255 * CHUNK, b"2" * CHUNK)  # fills the area: the next one, yet a hole, is written first
        disk.fill()
        with pytest.raises(OSError, match="no space left on device"):
            snapshot.flush()
        assert content(cow, base)[: 256 * CHUNK] == b"1" * 255 * CHUNK + base.read_bytes()[255 * CHUNK : 256 * CHUNK]
        disk.make_room()
        snapshot.flush()
        assert content(cow, base)[: 256 * CHUNK] == b"1" * 255 * CHUNK + b"2" * CHUNK


def test_a_merge_into_a_sparse_origin_stops_and_goes_on(disk, tmp_path, dmsnap_command):
    origin, cow = disk.folder / "sparse.img", tmp_path / "snap.cow"
    with origin.open("wb") as file:
        file.truncate(CHUNKS * CHUNK)
    dmsnap.create(cow, 64 << 20, CHUNK)
    chunks = random.Random(2).sample(range(CHUNKS), 600)
    with dmsnap.open_snapshot(cow, origin, "r+") as snapshot:
        for chunk in chunks:
            snapshot.write_at(chunk * CHUNK, chunk.to_bytes(8, "big") * (CHUNK // 8))
    wanted = content(cow, origin)
    disk.fill()
    with pytest.raises(MergeFailed, match="no space left on device") as raised:
        dmsnap.merge(cow, origin)
    assert raised.value.hint == "make room on the filesystem that holds it"
    assert raised.value.errno == errno.ENOSPC
    dmsnap_command("merge", cow, "--origin", origin).is_one_clear_line("no space left", "make room on the filesystem")
    assert dmsnap.status(cow) != "Invalid"
    assert content(cow, origin) == wanted
    disk.make_room()
    outcome = dmsnap_command("merge", cow, "--origin", origin)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert origin.read_bytes() == wanted
    assert dmsnap.info(cow).exceptions == 0


def test_a_merge_without_room_for_what_another_snapshot_keeps_stops_and_goes_on(disk, base, tmp_path):
    cow, other = tmp_path / "snap.cow", disk.folder / "other.cow"
    for path in (cow, other):
        dmsnap.create(path, 64 << 20, CHUNK)
    with dmsnap.open_snapshot(cow, base, "r+") as snapshot:
        snapshot.write(b"m" * 300 * CHUNK)
    wanted, kept = content(cow, base), content(other, base)
    disk.fill()
    with pytest.raises(DmsnapError, match="no space left on device"):
        dmsnap.merge(cow, base, others=[other])
    assert content(cow, base) == wanted
    assert content(other, base) == kept
    disk.make_room()
    dmsnap.merge(cow, base, others=[other])
    assert base.read_bytes() == wanted
    assert content(other, base) == kept
