"""LVM cases where something is under way or went wrong: merges, moves, disks that fail or are gone."""

from __future__ import annotations

from dmsnap.testing.kernelvm.lvm_case import Disk, LVMCase

__all__ = ["UNSETTLED_CASES"]

UNSETTLED_CASES: tuple[LVMCase, ...] = (
    LVMCase(
        "merge-deferred", "vgdeferred", "a merge that was asked for while the origin was open",
        (Disk(8),),
        """
        lv vgcreate -s 256k vgdeferred $d0
        lv lvcreate -y -Wn -n origin -L 1M vgdeferred
        put /dev/vgdeferred/origin 0 1000
        lv lvcreate -y -s -n snap -c 4k -L 512k vgdeferred/origin
        lv lvcreate -y -s -n other -c 16k -L 512k vgdeferred/origin
        put /dev/vgdeferred/origin 100 100 8
        exec 7</dev/vgdeferred/origin
        lv lvconvert --merge vgdeferred/snap
        record
        exec 7<&-
        """,
    ),
    LVMCase(
        "merge-half", "vgmerge", "a merge half done, and a snapshot that it wrote to",
        (Disk(8, kept=False), Disk(8)),
        """
        slow 0 $d0
        lv vgcreate -s 256k vgmerge /dev/mapper/slow0
        lv lvcreate -y -Wn -n origin -L 1M vgmerge
        put /dev/vgmerge/origin 0 1000
        lv lvcreate -y -s -n snap -c 4k -L 512k vgmerge/origin
        lv lvcreate -y -s -n other -c 8k -L 512k vgmerge/origin
        for chunk in 3 9 4 20 21 22 30 50 61 60; do put /dev/vgmerge/snap $((chunk * 8)) 8; done
        put /dev/vgmerge/origin 800 100 8
        exec 7</dev/vgmerge/origin
        lv lvconvert --merge vgmerge/snap
        exec 7<&-
        lv vgchange -an vgmerge
        obstacle 0 $d0 delay $((2048 + 30 * 8)) 8
        lv vgchange -ay --poll n vgmerge
        settled vgmerge-origin
        record
        images="disk0.img=/dev/mapper/slow0"
        keep $d0 $d1
        free 0 $d0
        """,
    ),
    LVMCase(
        "merge-failed", "vgmergefail", "a merge that failed at a chunk of the origin that cannot be written",
        (Disk(8),),
        """
        slow 1 $d0
        lv vgcreate -s 256k vgmergefail /dev/mapper/slow1
        lv lvcreate -y -Wn -n origin -L 1M vgmergefail
        put /dev/vgmergefail/origin 0 1000
        lv lvcreate -y -s -n snap -c 4k -L 512k vgmergefail/origin
        for chunk in 3 9 4 20 30 50; do put /dev/vgmergefail/snap $((chunk * 8)) 8; done
        exec 7</dev/vgmergefail/origin
        lv lvconvert --merge vgmergefail/snap
        exec 7<&-
        lv vgchange -an vgmergefail
        obstacle 1 $d0 error $((2048 + 20 * 8)) 8
        lv vgchange -ay --poll n vgmergefail
        settled vgmergefail-origin
        record
        images="disk0.img=/dev/mapper/slow1"
        """,
    ),
    LVMCase(
        "moved", "vgmoved", "moved with pvmove, one move done",
        (Disk(8), Disk(8)),
        """
        lv vgcreate -s 256k vgmoved $d0 $d1
        lv lvcreate -y -Wn -n first -L 1M vgmoved $d0
        put /dev/vgmoved/first 0 2000
        lv lvcreate -y -s -n snap -c 4k -L 512k vgmoved/first $d0
        put /dev/vgmoved/first 70 70
        lv lvcreate -y -Wn -n second -i 2 -I 4k -L 1M vgmoved
        put /dev/vgmoved/second 5 2000
        lv pvmove -i 1 -n first $d0 $d1
        put /dev/vgmoved/first 700 70
        record
        """,
    ),
    LVMCase(
        "moving", "vgmoving", "in the middle of a pvmove",
        (Disk(8, kept=False), Disk(8, kept=False), Disk(8), Disk(8)),
        """
        slow 2 $d0; slow 3 $d1
        lv vgcreate -s 256k vgmoving /dev/mapper/slow2 /dev/mapper/slow3
        lv lvcreate -y -Wn -n volume -L 2M vgmoving /dev/mapper/slow2
        put /dev/vgmoving/volume 0 4096
        lv lvcreate -y -s -n snap -c 4k -L 512k vgmoving/volume /dev/mapper/slow2
        put /dev/vgmoving/volume 70 70
        obstacle 3 $d1 delay $((2048 + 3000)) 1
        lv pvmove -b -i 600 -n volume /dev/mapper/slow2 /dev/mapper/slow3
        settled vgmoving-pvmove0
        record
        images="disk0.img=/dev/mapper/slow2 disk1.img=/dev/mapper/slow3"
        keep $d0 $d2
        keep $d1 $d3
        free 3 $d1
        """,
    ),
    LVMCase(
        "copying", "vgcopying", "a mirror whose second leg is being copied",
        (Disk(8, kept=False), Disk(8, kept=False), Disk(8), Disk(8)),
        """
        slow 7 $d0; slow 8 $d1
        lv vgcreate -s 256k vgcopying /dev/mapper/slow7 /dev/mapper/slow8
        lv lvcreate -y -Wn -n volume -L 2M vgcopying /dev/mapper/slow7
        put /dev/vgcopying/volume 0 4096
        obstacle 8 $d1 delay $((2048 + 3000)) 1
        lv lvconvert -y -b -i 600 --type mirror -m 1 --mirrorlog core -R 64k vgcopying/volume /dev/mapper/slow8
        settled vgcopying-volume
        record
        images="disk0.img=/dev/mapper/slow7 disk1.img=/dev/mapper/slow8"
        keep $d0 $d2
        keep $d1 $d3
        free 8 $d1
        """,
    ),
    LVMCase(
        "degraded", "vgdegraded", "raid1 that was written to while one leg failed",
        (Disk(8), Disk(8)),
        """
        slow 6 $d1
        lv vgcreate -s 256k vgdegraded $d0 /dev/mapper/slow6
        lv lvcreate -y -Wn -n raid --type raid1 -m 1 -R 64k -L 1M vgdegraded /dev/mapper/slow6 $d0
        put /dev/vgdegraded/raid 0 2000
        insync vgdegraded-raid
        obstacle 6 $d1 error 2048 8000
        put /dev/vgdegraded/raid 100 300
        record
        images="disk0.img=$d0 disk1.img=/dev/mapper/slow6"
        """,
    ),
    LVMCase(
        "partial", "vgpartial", "a disk that is not there any more",
        (Disk(8), Disk(8), Disk(8, kept=False)),
        """
        lv vgcreate -s 256k vgpartial $d0 $d1 $d2
        lv lvcreate -y -Wn -n whole -L 1M vgpartial $d0
        lv lvcreate -y -Wn -n part -l 5 vgpartial $d1:0-1 $d2:0-2
        lv lvcreate -y -Wn -n raid --type raid1 -m 1 -R 64k -L 1M vgpartial $d2 $d0
        lv lvcreate -y -Wn -n gone -L 256k vgpartial $d2
        for name in whole part raid gone; do put /dev/vgpartial/$name 3 400; done
        insync vgpartial-raid
        lv vgchange -an vgpartial
        hide $d2
        lv vgchange -ay --activationmode partial vgpartial
        record
        """,
    ),
    LVMCase(
        "partial-users", "vgusers", "a disk that is not there any more, and what is made of volumes on it",
        (Disk(8), Disk(12), Disk(8, kept=False)),
        """
        lv vgcreate -s 256k vgusers $d0 $d1 $d2
        lv lvcreate -y -Wn -n striped -i 2 -I 4k -l 4 vgusers $d0 $d2
        lv lvcreate -y -Wn -n stripedtwice -i 2 -I 16k -l 2 vgusers $d0 $d1
        lv lvextend -y -i 2 -I 16k -l 4 vgusers/stripedtwice $d1 $d2
        lv lvcreate -y -Wn -n base -l 4 vgusers $d0
        lv lvcreate -y -s -n lostcow -c 4k -l 2 vgusers/base $d2
        lv lvcreate -y -s -n keptcow -c 4k -l 2 vgusers/base $d1
        lv lvcreate -y -Wn -n lostbase -l 4 vgusers $d2
        lv lvcreate -y -s -n ofthelost -c 4k -l 2 vgusers/lostbase $d1
        lv lvcreate -y -Wn -n mirrored --type mirror --mirrorlog core -m 1 -R 64k -l 4 vgusers $d1 $d2
        lv lvcreate -y -n tmeta -l 8 vgusers $d1
        lv lvcreate -y -n pool -l 4 vgusers $d2
        lv lvconvert -y --type thin-pool --poolmetadata vgusers/tmeta -c 64k vgusers/pool
        lv lvcreate -y -Wn -n thin -V 1M --thinpool vgusers/pool
        lv lvcreate -y -s -n thickofthin -c 4k -l 2 vgusers/thin $d1
        for name in striped stripedtwice base lostbase mirrored; do put /dev/vgusers/$name 3 400; done
        lv vgchange -an vgusers
        hide $d2
        for name in striped stripedtwice mirrored; do lv lvchange -ay --activationmode partial vgusers/$name; done
        record
        """,
    ),
)  # fmt: skip
