"""The LVM cases: which volume groups real LVM makes, for our code to read."""

from __future__ import annotations

from dmsnap.testing.kernelvm.lvm_case import Disk, LVMCase

__all__ = ["LVM_CASES"]

LVM_CASES: tuple[LVMCase, ...] = (
    LVMCase(
        "snapshots", "vgsnap", "one volume, snapshots of four chunk sizes",
        (Disk(24),),
        """
        lv pvcreate $d0
        lv vgcreate -s 512k vgsnap $d0
        lv lvcreate -y -Wn -n origin -L 4M vgsnap
        put /dev/vgsnap/origin 0 200
        put /dev/vgsnap/origin 8000 192
        for chunk in 4 8 64 512; do
          lv lvcreate -y -s -n snap$chunk -L 2560k -c ${chunk}k vgsnap/origin
          put /dev/vgsnap/snap$chunk 1000 $chunk
        done
        put /dev/vgsnap/origin 96 24 8
        put /dev/vgsnap/snap8 112 3
        lv lvcreate -y -Wn -n plain -L 1M --addtag first --addtag second=2 vgsnap
        put /dev/vgsnap/plain 5 9
        record
        """,
    ),
    LVMCase(
        "several-disks", "vg-over-disks", "linear over two disks, stripes over three with a snapshot, names with dashes",
        (Disk(8), Disk(10), Disk(8)),
        """
        lv pvcreate $d0
        lv pvcreate --dataalignment 64k $d1
        lv pvcreate --labelsector 3 --metadatacopies 2 $d2
        lv vgcreate -s 256k vg-over-disks $d0 $d1 $d2
        lv lvcreate -y -Wn -n linear-one -L 9M vg-over-disks $d0:0-19 $d1:0-15
        put /dev/vg-over-disks/linear-one 0 16
        put /dev/vg-over-disks/linear-one 10230 20
        put /dev/vg-over-disks/linear-one 14300 100
        lv lvcreate -y -Wn -n stripes -i 3 -I 16k -L 768k vg-over-disks
        put /dev/vg-over-disks/stripes 0 1536 64
        lv lvcreate -y -s -n stripes-snap -c 4k -L 512k vg-over-disks/stripes
        put /dev/vg-over-disks/stripes 70 50
        record
        """,
    ),
    LVMCase(
        "mirrors", "vgmirror", "mirrors with their log on disk and in memory, raid1 with a snapshot, all in sync",
        (Disk(12), Disk(12), Disk(12)),
        """
        lv vgcreate -s 512k vgmirror $d0 $d1 $d2
        lv lvcreate -y -Wn -n mirror --type mirror -m 1 --mirrorlog disk -R 512k -L 1M vgmirror
        lv lvcreate -y -Wn -n corelog --type mirror -m 1 --mirrorlog core -R 512k -L 1M vgmirror
        lv lvcreate -y -Wn -n raid --type raid1 -m 2 -R 512k -L 2M vgmirror
        put /dev/vgmirror/mirror 0 32
        put /dev/vgmirror/corelog 7 32
        put /dev/vgmirror/raid 100 32
        insync vgmirror-mirror; insync vgmirror-corelog; insync vgmirror-raid
        lv lvcreate -y -s -n snap -c 4k -L 512k vgmirror/raid
        put /dev/vgmirror/raid 108 40
        record
        """,
    ),
    LVMCase(
        "partitions-mbr", "vgmbr", "a physical volume in a partition of an MBR",
        (Disk(8, "mbr"),),
        """
        lv vgcreate -s 256k vgmbr ${d0}1
        lv lvcreate -y -Wn -n origin -L 1M vgmbr
        put /dev/vgmbr/origin 3 40
        lv lvcreate -y -s -n snap -c 4k -L 256k vgmbr/origin
        put /dev/vgmbr/origin 30 2
        record
        """,
    ),
    LVMCase(
        "partitions-gpt", "vggpt", "physical volumes in both partitions of a GPT and in a logical partition of an MBR",
        (Disk(10, "gpt"), Disk(10, "extended")),
        """
        lv vgcreate -s 256k vggpt ${d0}1 ${d0}2 ${d1}6
        lv lvcreate -y -Wn -n stripes -i 3 -I 4k -L 768k vggpt
        put /dev/vggpt/stripes 3 400
        lv lvcreate -y -s -n snap -c 16k -L 512k vggpt/stripes
        put /dev/vggpt/snap 3 4
        record
        """,
    ),
)  # fmt: skip
