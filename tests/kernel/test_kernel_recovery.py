"""The classic loss: a snapshot runs full and Linux marks it invalid. It is recovered, and Linux mounts it.

Linux also loads, reads and merges what becomes of each named damage.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

import dmsnap
from dmsnap.block.memory import MemoryDevice
from dmsnap.maintenance.repairing import NotAccepted, Repair
from dmsnap.store import open_store
from dmsnap.store.finding import Kind
from dmsnap.target import SnapshotDevice, status_words
from dmsnap.testing import need_tool
from dmsnap.testing.kernelvm import KernelVM, need_kernelvm
from dmsnap.testing.named_damage import NAMED_DAMAGES

ORIGIN_BYTES = 24 << 20
COW_BYTES = 2 << 20
ROOM_BYTES = 6 << 20
ORIGIN = bytes(range(256)) * 512
"""What the stores of the named damages are of."""

# Tables of inodes are made at once: Linux makes them some seconds after the mount else, and an overflow by those copies
# of zeros leaves no trace.
FILL = r"""
set -e
modprobe crc32c_generic; modprobe ext4
mkdir -p /mnt
/sbin/mke2fs -q -t ext4 -b 4096 -E lazy_itable_init=0 /dev/disk0
mount -t ext4 /dev/disk0 /mnt
head -c 1000000 /dev/urandom >/mnt/overwritten
head -c 300000 /dev/urandom >/mnt/kept
head -c 12000000 /dev/zero | tr '\0' x >/mnt/large
section before; sha256sum </mnt/overwritten; sha256sum </mnt/kept
umount /mnt; sync

origin=$(blockdev --getsz /dev/disk0); cow=$(blockdev --getsz /dev/disk1)
dmsetup create s --table "0 $origin snapshot /dev/disk0 /dev/disk1 P 8"
dmsetup create o --table "0 $origin snapshot-origin /dev/disk0"
mount -t ext4 /dev/mapper/o /mnt
head -c 1000000 /dev/urandom | dd of=/mnt/overwritten bs=4k conv=notrunc,fsync status=none
sync
section half; dmsetup status s
head -c 8000000 /dev/urandom | dd of=/mnt/large bs=4k conv=notrunc,fsync status=none
sync
section full; dmsetup status s
umount /mnt
dmsetup remove s o
sync
"""

MOUNT = r"""
set -e
modprobe crc32c_generic; modprobe ext4
mkdir -p /mnt
origin=$(blockdev --getsz /dev/disk0)
dmsetup create s --table "0 $origin snapshot /dev/disk0 /dev/disk1 P 8"
section status; dmsetup status s
mount -t ext4 /dev/mapper/s /mnt
section after; sha256sum </mnt/overwritten; sha256sum </mnt/kept
echo written >/mnt/overwritten
umount /mnt
section written; dmsetup status s
dmsetup remove s

# loads NAME COW_AT COW_SIZE ORIGIN_AT: loads a store, reads its snapshot, and merges it
loads() {
  dmsetup create c --table "0 $3 linear /dev/disk2 $2"
  dmsetup create b --table "0 256 linear /dev/disk3 $4"
  dmsetup create t --table "0 256 snapshot /dev/mapper/b /dev/mapper/c P 1"
  section "$1"; dmsetup status t; sha256sum </dev/mapper/t
  dmsetup remove t
  dmsetup create t --table "0 256 snapshot-merge /dev/mapper/b /dev/mapper/c P 1"
  polls=0
  while polls=$((polls + 1)) && [ "$polls" -lt 500 ]; do
    set -- $(dmsetup status t)
    [ "${4%/*}" = "$5" ] && break
  done
  dmsetup remove t
  sha256sum </dev/mapper/b
  dmsetup remove b c
}
"""


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_snapshot_that_ran_full_comes_back_and_repaired_stores_load_and_merge(tmp_path: Path) -> None:
    need_kernelvm()
    origin, cow, new = (tmp_path / name for name in ("origin.img", "snap.cow", "new.cow"))
    for path, size in ((origin, ORIGIN_BYTES), (cow, COW_BYTES)):
        with path.open("wb") as file:
            file.truncate(size)
    filled = KernelVM([origin, cow], timeout_s=400).run(FILL)
    assert filled.status == 0, filled.stdout
    assert "/" in filled.sections["half"][0], "not full yet"
    assert filled.sections["full"][0].split()[3:] == ["Invalid"]
    recover(cow, origin, new)

    repaired = repaired_stores()
    stores, origins = tmp_path / "stores.img", tmp_path / "origins.img"
    stores.write_bytes(b"".join(each.store for each in repaired))
    origins.write_bytes(ORIGIN * len(repaired))
    calls, at = [], 0
    for number, each in enumerate(repaired):
        sectors = len(each.store) // 512
        calls.append(f"loads {each.name} {at} {sectors} {number * len(ORIGIN) // 512}\n")
        at += sectors
    mounted = KernelVM([origin, new, stores, origins], timeout_s=400).run(MOUNT + "".join(calls) + "sync\n")
    assert mounted.status == 0, mounted.stdout
    assert mounted.sections["after"] == filled.sections["before"], "the files as they were before it ran full"
    for section in ("status", "written"):
        assert "/" in mounted.sections[section][0]
    for each in repaired:
        status, read, merged = mounted.sections[each.name]
        assert (status.split()[3:], read.split()[0], merged.split()[0]) == (
            each.status.split(),
            each.sha256,
            each.sha256,
        )


def recover(cow: Path, origin: Path, new: Path) -> None:
    """Brings a store back that ran full, with more room, and looks at its file system."""
    e2fsck = need_tool("e2fsck")
    (finding,) = (found for found in dmsnap.check(cow, origin=origin).findings if found.severity == "damage")
    assert finding.kind is Kind.INVALID_FULL
    with pytest.raises(NotAccepted, match="invalid-full"):
        dmsnap.repair(cow, new, origin=origin)
    image = new.with_suffix(".img")
    report = dmsnap.repair(cow, new, origin=origin, accept=["invalid-full"], size_bytes=ROOM_BYTES, image=image)
    assert report.lost_records == 0
    assert report.last_record is not None
    assert report.exceptions >= 240, "of the file that was overwritten, at least"
    assert dmsnap.check(new, origin=origin).findings == ()
    checked = subprocess.run([e2fsck, "-fn", str(image)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


class Repaired(NamedTuple):
    """A store after repair, and what we say of it."""

    name: str
    store: bytes
    status: str
    sha256: str


def repaired_stores() -> list[Repaired]:
    """All named damages, repaired."""
    repaired = []
    for name, named in NAMED_DAMAGES.items():
        plan = Repair(named.device(), accept=["all"])
        out = MemoryDevice(plan.report.size_bytes)
        plan.write(out)
        store = open_store(out)
        view = SnapshotDevice(MemoryDevice(ORIGIN), store)
        read = hashlib.sha256(view.read_at(0, len(ORIGIN))).hexdigest()
        repaired.append(Repaired(name, bytes(out.read_at(0, out.size_bytes)), status_words(store), read))
    return repaired
