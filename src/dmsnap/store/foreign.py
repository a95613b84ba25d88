"""What a device that is no store seems to be instead: so that the error can say so."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LOOKED_AT_BYTES", "Foreign", "recognised"]

LOOKED_AT_BYTES = 4096


class Foreign(NamedTuple):
    """Something else.

    Attributes:
        name: With its article.
        hint: What to do about it.
    """

    name: str
    hint: str


_UNPACK = "unpack it first"
_CONVERT = "convert it first: qemu-img convert -O raw"
_INSIDE = "the store is a part of it: name that part's device"

_SIGNATURES = (
    (0, b"\x1f\x8b", Foreign("a gzip file", _UNPACK)),
    (0, b"\xfd7zXZ\0", Foreign("an xz file", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Foreign("a zstd file", _UNPACK)),
    (0, b"QFI\xfb", Foreign("a qcow2 image", _CONVERT)),
    (0, b"KDMV", Foreign("a VMDK image", _CONVERT)),
    (0, b"vhdxfile", Foreign("a VHDX image", _CONVERT)),
    (64, b"\x7f\x10\xda\xbe", Foreign("a VDI image", _CONVERT)),
    *((sector * 512, b"LABELONE", Foreign("an LVM physical volume", _INSIDE)) for sector in range(4)),
    (0x438, b"\x53\xef", Foreign("an ext2, ext3 or ext4 filesystem", "is it the origin?")),
    (0, b"XFSB", Foreign("an XFS filesystem", "is it the origin?")),
    (510, b"\x55\xaa", Foreign("a disk with a partition table or boot sector", _INSIDE)),
)


def recognised(head: bytes | bytearray) -> Foreign | None:
    """Returns what begins with these bytes (`LOOKED_AT_BYTES` of them, or all there are), where it is well known."""
    return next((foreign for at, magic, foreign in _SIGNATURES if head[at : at + len(magic)] == magic), None)
