"""What people have: a snapshot that LVM made of a logical volume with a mounted ext4 file system."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block.file import FileDevice
from dmsnap.block.wrap import SliceDevice
from dmsnap.store import open_store
from dmsnap.target import status_words
from dmsnap.testing import need_tool
from dmsnap.testing.kernelvm import KernelVM, Result, need_kernelvm

DISK_BYTES = 48 << 20

# There is no udev in the guest: LVM finds its disk and makes its device nodes by itself.
SCRIPT = r"""
set -e
modprobe crc32c_generic; modprobe ext4
settings='devices { dir="/dev" scan="/dev" use_devicesfile=0
    obtain_device_list_from_udev=0 external_device_info_source="none" }
  activation { udev_sync=0 udev_rules=0 verify_udev_operations=0 monitoring=0 }
  backup { backup=0 archive=0 }'
lv() { verb=$1; shift; lvm "$verb" -q --config "$settings" "$@"; }
random() { head -c "$1" /dev/urandom; }

lv pvcreate /dev/disk0
lv vgcreate -s 1M vg /dev/disk0
lv lvcreate -y -n origin -L 16M vg
/sbin/mke2fs -q -t ext4 /dev/vg/origin
mkdir -p /mnt/origin /mnt/snapshot
mount -t ext4 /dev/vg/origin /mnt/origin
random 3000000 >/mnt/origin/changed
random 1000000 >/mnt/origin/deleted
random 70000 >/mnt/origin/kept
sha256sum </mnt/origin/changed >/tmp/before

lv lvcreate -y -s -n before -L 6M -c 4k vg/origin
random 1500000 | dd of=/mnt/origin/changed bs=4k seek=100 conv=notrunc status=none
rm /mnt/origin/deleted
random 500000 >/mnt/origin/new
umount /mnt/origin
mount -t ext4 /dev/vg/before /mnt/snapshot
random 40000 | dd of=/mnt/snapshot/kept conv=notrunc bs=4k status=none
sha256sum </mnt/snapshot/changed | cmp - /tmp/before
umount /mnt/snapshot
sync

section status; dmsetup status vg-before
section table; dmsetup table vg-before
section percent; lv lvs --noheadings -o data_percent vg/before
section sha256; sha256sum </dev/vg/before
section origin; dmsetup table vg-origin-real
section cow; dmsetup table vg-before-cow
"""


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_snapshot_made_by_lvm_of_a_file_system_in_use(tmp_path: Path) -> None:
    need_kernelvm()
    e2fsck = need_tool("e2fsck")
    disk, exported = tmp_path / "disk.img", tmp_path / "exported.img"
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    result = KernelVM([disk], timeout_s=400).run(SCRIPT)
    assert result.status == 0, result.stdout
    with volume(result, "origin", disk) as origin, volume(result, "cow", disk) as cow:
        store = open_store(cow, origin_size_bytes=origin.size_bytes)
        assert status_words(store) == " ".join(said(result, "status")[3:])
        assert store.chunk_size_sectors == int(said(result, "table")[-1]) == 8
        assert store.findings == ()
        assert len(store.table) > 300, "what the script changed"
        (percent,) = said(result, "percent")
        assert f"{100 * store.allocated_sectors / store.total_sectors:.2f}" == percent
        dmsnap.export(cow, origin, exported)
    assert hashlib.sha256(exported.read_bytes()).hexdigest() == said(result, "sha256")[0]
    checked = subprocess.run([e2fsck, "-fn", str(exported)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def said(result: Result, section: str) -> list[str]:
    """Returns the words of a section that has one line."""
    (line,) = result.sections[section]
    return line.split()


def volume(result: Result, section: str, disk: Path) -> SliceDevice:
    """Opens, where it lies on the disk, a volume whose table is one linear target."""
    start, sectors, target, _, at = said(result, section)
    assert (start, target) == ("0", "linear")
    return SliceDevice(FileDevice(disk), int(at) * 512, int(sectors) * 512)
