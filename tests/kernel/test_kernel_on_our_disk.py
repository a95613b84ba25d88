"""A machine whose disk is our server: Linux makes a file system there and works in it; its dm-snapshot then agrees."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

import dmsnap
from dmsnap.testing import need_tool
from dmsnap.testing.kernelvm import KernelVM, need_kernelvm

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(900)]

DISK_BYTES = 96 << 20

# After fsx: a file is written, cut, grown, mapped and read at random, beside a copy in memory that it must equal.
FSX = """
import mmap, os, sys
state = int(sys.argv[2])
def draw(stop):
    global state
    state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
    return (state >> 33) % stop
path, MOST = sys.argv[1], 3 << 20
fd = os.open(path, os.O_RDWR | os.O_CREAT)
model = bytearray()
for step in range(1500):
    op, at, length = draw(10), draw(MOST), 1 + draw(60000)
    data = bytes([step % 251]) * length
    if op < 4:
        end = min(MOST, at + length)
        os.pwrite(fd, data[:end - at], at)
        if len(model) < end:
            model.extend(bytes(end - len(model)))
        model[at:end] = data[:end - at]
    elif op == 4:
        os.ftruncate(fd, at)
        del model[at:]
        model.extend(bytes(at - len(model)))
    elif op == 5 and len(model) > 8192:
        with mmap.mmap(fd, len(model)) as mapped:
            at = draw(len(model) - 4096)
            mapped[at:at + 4096] = model[at:at + 4096] = data[:1] * 4096
    elif op == 6:
        os.fsync(fd)
    elif op == 7 and step % 5 == 0:
        os.system("sync; echo 3 >/proc/sys/vm/drop_caches")
    else:
        got = os.pread(fd, length, at)
        assert got == bytes(model[at:at + length]), (step, at, length)
assert os.pread(fd, MOST, 0) == bytes(model)
os.fsync(fd)
"""

ON_OUR_DISK = f"""
set -e
modprobe crc32c_generic; modprobe ext4
cat >/tmp/fsx.py <<'END'
{FSX}
END
section before; sha256sum </dev/disk0
/sbin/mke2fs -q -t ext4 -E discard /dev/disk0
mkdir -p /mnt; mount -t ext4 -o discard /dev/disk0 /mnt
for seed in 1 2 3; do python3 -s -S /tmp/fsx.py /mnt/file$seed $seed; done
head -c 9000000 /dev/urandom >/mnt/random; rm /mnt/file2; sync
section files; cat /mnt/file1 /mnt/file3 /mnt/random | sha256sum
umount /mnt
/sbin/e2fsck -fn /dev/disk0 >&2
section after; sha256sum </dev/disk0
"""

IN_THE_KERNEL = f"""
set -e
modprobe crc32c_generic; modprobe ext4
dmsetup create snap --table "0 {DISK_BYTES // 512} snapshot /dev/disk0 /dev/disk1 P 8"
section after; sha256sum </dev/mapper/snap
section status; dmsetup status snap
/sbin/e2fsck -fn /dev/mapper/snap >&2
mkdir -p /mnt; mount -t ext4 -o ro,noload /dev/mapper/snap /mnt
section files; cat /mnt/file1 /mnt/file3 /mnt/random | sha256sum
umount /mnt; dmsetup remove snap
section origin; sha256sum </dev/disk0
"""


def test_what_linux_does_on_our_disk_its_own_snapshot_target_sees(tmp_path: Path) -> None:
    need_kernelvm()
    e2fsck = need_tool("e2fsck")
    origin, cow = tmp_path / "origin.img", tmp_path / "work.cow"
    origin.write_bytes(os.urandom(DISK_BYTES))
    dmsnap.create(cow, 2 * DISK_BYTES, 4096)
    with dmsnap.serve([cow], origin=origin, unix=tmp_path / "socket") as server:
        ours = KernelVM([server.uri("work")], timeout_s=400).run(ON_OUR_DISK)
    assert ours.status == 0, ours.stdout[-3000:]
    before = hashlib.sha256(origin.read_bytes()).hexdigest()
    assert ours.sections["before"][0].split()[0] == before

    exported = tmp_path / "exported.img"
    dmsnap.export(cow, origin, exported)
    after = hashlib.sha256(exported.read_bytes()).hexdigest()
    assert ours.sections["after"][0].split()[0] == after != before
    assert subprocess.run([e2fsck, "-fn", exported], capture_output=True, check=False).returncode == 0

    kernel = KernelVM([origin, cow], timeout_s=400).run(IN_THE_KERNEL)
    assert kernel.status == 0, kernel.stdout[-3000:]
    assert kernel.sections["after"][0].split()[0] == after
    assert kernel.sections["files"][0] == ours.sections["files"][0]
    assert kernel.sections["origin"][0].split()[0] == before
    assert kernel.sections["status"][0].split(" ", 3)[3] == dmsnap.status(cow)
