"""The LVM cases: which volume groups real LVM makes, for our code to read."""

from __future__ import annotations

from dmsnap.testing.kernelvm.lvm_case import Disk, LVMCase
from dmsnap.testing.kernelvm.lvm_unsettled import UNSETTLED_CASES

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
        "several-disks", "vg-over-disks", "linear over two disks, a snapshot of stripes over three, names with dashes",
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
    LVMCase(
        "sectors-4k", "vg4k", "disks with sectors of 4096 bytes, one with a GPT",
        (Disk(10, "gpt-4k"), Disk(8)),
        """
        large0=$(sectors4k $d0) large1=$(sectors4k $d1)
        scan $large0 $large1
        images="disk0.img=$large0 disk1.img=$large1"
        lv vgcreate -s 256k vg4k ${large0}p1 ${large0}p2 $large1
        lv lvcreate -y -Wn -n stripes -i 3 -I 4k -L 768k vg4k
        put /dev/vg4k/stripes 8 400
        lv lvcreate -y -s -n snap -c 16k -L 512k vg4k/stripes
        put /dev/vg4k/stripes 96 80
        put /dev/vg4k/snap 16 8
        record
        """,
    ),
    LVMCase(
        "resized", "vgresized", "grown, reduced and renamed, group and volumes; a grown and a reduced COW store; tags",
        (Disk(8), Disk(8)),
        """
        group=vgbefore
        lv vgcreate -s 256k --addtag grouptag vgbefore $d0 $d1
        lv pvchange --addtag disktag $d1
        lv lvcreate -y -Wn -n old -L 1M vgbefore $d0
        lv lvcreate -y -Wn -n between -L 256k vgbefore $d0
        put /dev/vgbefore/old 1 2000
        lv lvcreate -y -s -n snap -c 4k -L 256k vgbefore/old
        lv lvcreate -y -s -n shrunk -c 8k -L 1M vgbefore/old
        put /dev/vgbefore/old 16 400 8
        lv lvextend -L +256k vgbefore/snap
        put /dev/vgbefore/old 500 400 8
        lv lvreduce -y -f -L 768k vgbefore/shrunk
        lv lvchange -an vgbefore/old
        lv lvextend -L +1M vgbefore/old $d1
        lv lvchange -ay vgbefore/old
        put /dev/vgbefore/old 3000 900
        lv lvcreate -y -Wn -n big -L 2M vgbefore $d1
        lv lvextend -L +512k vgbefore/big $d0
        put /dev/vgbefore/big 4000 600
        lv lvreduce -y -f -L 2304k vgbefore/big
        lv lvchange -pr vgbefore/big
        lv lvrename vgbefore old new
        lv lvrename vgbefore snap snap-renamed
        lv lvremove -y vgbefore/between
        lv vgrename vgbefore vgresized
        group=vgresized
        record
        """,
    ),
    LVMCase(
        "sizes", "vgsizes", "COW stores as large as is useful, of the least size, full and overflowed, and their usage",
        (Disk(24),),
        """
        lv vgcreate -s 4k vgsizes $d0
        lv lvcreate -y -Wn -n tiny -L 4k vgsizes
        lv lvcreate -y -Wn -n five -L 20k vgsizes
        lv lvcreate -y -Wn -n origin -L 1M vgsizes
        put /dev/vgsizes/origin 0 200
        lv lvcreate -y -s -n tiny4 -c 4k -L 4M vgsizes/tiny
        lv lvcreate -y -s -n tiny128 -c 128k -L 4M vgsizes/tiny
        lv lvcreate -y -s -n five4 -c 4k -L 4M vgsizes/five
        lv lvcreate -y -s -n all -c 4k -l 100%ORIGIN vgsizes/origin
        lv lvcreate -y -s -n half -c 16k -l 50%ORIGIN vgsizes/origin
        lv lvcreate -y -s -n most -c 8k -L 8M vgsizes/origin
        lv lvcreate -y -s -n least -c 4k -L 12k vgsizes/origin
        lv lvcreate -y -s -n chunks25 -c 4k -L 100k vgsizes/origin
        put /dev/vgsizes/origin 8 8
        lv lvcreate -y -s -n overflowed -c 4k -L 12k vgsizes/origin
        put /dev/vgsizes/overflowed 64 8
        put /dev/vgsizes/overflowed 80 8 2>/dev/null | grep -v failed
        record
        """,
    ),
    LVMCase(
        "raid0", "vgraid0", "raid0 with and without metadata, zero and error volumes, a sparse volume",
        (Disk(8), Disk(8)),
        """
        lv vgcreate -s 256k vgraid0 $d0 $d1
        lv lvcreate -y -Wn -n plain --type raid0 -i 2 -I 8k -L 1M vgraid0
        lv lvcreate -y -Wn -n meta --type raid0_meta -i 2 -I 64k -L 1M vgraid0
        lv lvcreate -y -Wn -Zn -n zeros --type zero -L 512k vgraid0
        lv lvcreate -y -Wn -Zn -n errors --type error -L 512k vgraid0
        lv lvcreate -y --type snapshot -V 8M -c 4k -L 512k -n sparse vgraid0
        put /dev/vgraid0/plain 3 1000
        put /dev/vgraid0/meta 3 1000
        put /dev/vgraid0/sparse 7777 99
        record
        """,
    ),
    LVMCase(
        "refused", "vgrefused", "what is not assembled: thin volumes, a cache, raid4, raid5 and raid6",
        (Disk(16), Disk(16), Disk(16), Disk(16), Disk(16)),
        """
        lv vgcreate -s 256k vgrefused $d0 $d1 $d2 $d3 $d4
        lv lvcreate -y --type thin-pool -n pool -c 64k -L 2M --poolmetadatasize 2M vgrefused
        lv lvcreate -y -V 4M --thinpool pool -n thin vgrefused
        put /dev/vgrefused/thin 64 64
        lv lvcreate -y -s -n thinsnap vgrefused/thin
        lv lvcreate -y -s -n thicksnap -c 4k -L 512k vgrefused/thin
        lv lvcreate -y -Wn -n five --type raid5 -i 2 -I 4k -L 1M vgrefused
        lv lvcreate -y -Wn -n six --type raid6 -i 3 -I 4k -L 768k vgrefused
        lv lvcreate -y -Wn -n four --type raid4 -i 2 -I 4k -L 1M vgrefused
        lv lvcreate -y -Wn -n readable -L 512k vgrefused
        put /dev/vgrefused/readable 3 44
        record
        """,
    ),
    LVMCase(
        "cached", "vgcached", "a cached volume, with a cache pool and with a cache volume",
        (Disk(32),),
        """
        lv vgcreate -s 256k vgcached $d0
        lv lvcreate -y -Wn -n slow -L 1M vgcached
        lv lvcreate -y -Wn -n slower -L 1M vgcached
        lv lvcreate -y --type cache-pool -n fast -c 32k -L 1M --poolmetadatasize 8M vgcached
        lv lvconvert -y --type cache --cachepool fast vgcached/slow
        lv lvcreate -y -Wn -n faster -L 10M vgcached
        lv lvconvert -y --type cache --cachevol faster vgcached/slower
        put /dev/vgcached/slow 3 44
        record
        """,
    ),
    LVMCase(
        "wrapped", "vgwrapped", "metadata that wrapped around in its ring, in one disk of three; one ignores its own",
        (Disk(4), Disk(4), Disk(4)),
        """
        lv pvcreate --metadatasize 32k $d0
        lv pvcreate --metadatacopies 0 $d1
        lv pvcreate --metadatasize 32k --labelsector 1 $d2
        lv vgcreate -s 128k vgwrapped $d0 $d1 $d2
        lv vgchange --vgmetadatacopies 1 vgwrapped
        lv lvcreate -y -Wn -n volume -i 3 -I 4k -L 768k vgwrapped
        put /dev/vgwrapped/volume 3 700
        for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do lv vgchange --addtag "number=$number" vgwrapped; done
        record
        """,
    ),
    LVMCase(
        "odd-names", "vg.odd_-+name", "names and tags of all characters that LVM allows",
        (Disk(8),),
        """
        lv vgcreate -s 256k --addtag 'a/b=c!d:e#f&g' vg.odd_-+name $d0
        lv lvcreate -y -Wn -n 'lv--two.-+_' -L 256k vg.odd_-+name
        lv lvcreate -y -Wn -n '0' -L 256k --addtag '-tag' vg.odd_-+name
        lv lvcreate -y -s -n 'snap-' -c 4k -L 256k vg.odd_-+name/0
        lv lvcreate -y -Wn -n "$(printf 'n%.0s' $(seq 100))" -L 256k vg.odd_-+name
        put /dev/vg.odd_-+name/0 8 8
        record
        """,
    ),
    LVMCase(
        "ext4", "vgext4", "an ext4 file system that was in use, with two snapshots",
        (Disk(32),),
        """
        lv vgcreate -s 1M vgext4 $d0
        lv lvcreate -y -Wn -n origin -L 12M vgext4
        /sbin/mke2fs -q -t ext4 /dev/vgext4/origin
        mount -t ext4 /dev/vgext4/origin /mnt/a
        random 1000000 >/mnt/a/changed; random 500000 >/mnt/a/deleted
        lv lvcreate -y -s -n first -c 4k -L 4M vgext4/origin
        random 300000 | dd of=/mnt/a/changed bs=4k seek=100 conv=notrunc status=none
        rm /mnt/a/deleted; sync
        lv lvcreate -y -s -n second -c 32k -L 4M vgext4/origin
        random 400000 >/mnt/a/new
        mount -t ext4 /dev/vgext4/first /mnt/b
        random 40000 >/mnt/b/other
        umount /mnt/b; umount /mnt/a
        record
        """,
        keep=False,
    ),
    LVMCase(
        "xfs", "vgxfs", "an XFS file system on stripes over two disks that was in use, with a snapshot",
        (Disk(28), Disk(28)),
        """
        lv vgcreate -s 1M vgxfs $d0 $d1
        lv lvcreate -y -Wn -n origin -i 2 -I 64k -L 32M vgxfs
        /sbin/mkfs.xfs -q --unsupported -l size=8m /dev/vgxfs/origin || echo failed mkfs.xfs
        mount -t xfs /dev/vgxfs/origin /mnt/a || echo failed mount
        random 3000000 >/mnt/a/changed; random 500000 >/mnt/a/deleted
        lv lvcreate -y -s -n snap -c 16k -L 14M vgxfs/origin
        random 300000 | dd of=/mnt/a/changed bs=4k seek=100 conv=notrunc status=none
        rm /mnt/a/deleted
        umount /mnt/a
        mount -t xfs -o nouuid /dev/vgxfs/snap /mnt/b || echo failed mount
        random 40000 >/mnt/b/other
        umount /mnt/b
        record
        """,
        keep=False,
    ),
    *UNSETTLED_CASES,
)  # fmt: skip
