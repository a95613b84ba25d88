"""Addresses of logical volumes: ``lvm:VG/LV@PV[,PV…]``.

A PV is the path of an image or block device, or an address of an NBD server. LVM2's names hold neither ``/`` nor ``@``,
so everything behind the first ``@`` is PVs. A comma that belongs to one is written twice, as in QEMU's options.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeGuard

from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError

__all__ = ["BadLvmAddress", "LvmAddress", "is_lvm_address", "parse_lvm_address", "paths_named"]

_SCHEME = "lvm:"
_NAME = r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}"
"""What LVM2 takes as the name of a group or a volume (lvm(8), "Valid names")."""

_ADDRESS = re.compile(rf"(?P<group>{_NAME})/(?P<volume>{_NAME})@(?P<images>.+)", re.ASCII | re.DOTALL)


class BadLvmAddress(DmsnapError, ValueError):
    """It begins with ``lvm:`` and is no such address."""


class LvmAddress(NamedTuple):
    """A logical volume, and where to look for it.

    Attributes:
        group: The volume group's name.
        volume: The logical volume's name.
        images: Paths or addresses of physical volumes, or of disks with partitions that are.
    """

    group: str
    volume: str
    images: tuple[str, ...]

    def __str__(self) -> str:
        return f"{_SCHEME}{self.group}/{self.volume}@{','.join(image.replace(',', ',,') for image in self.images)}"


def is_lvm_address(source: object) -> TypeGuard[str]:
    """Whether a source is to be taken for the address of a logical volume; a `Path` never is."""
    return isinstance(source, str) and source[: len(_SCHEME)].lower() == _SCHEME


def parse_lvm_address(text: str) -> LvmAddress:
    """Returns the parts of an address.

    >>> parse_lvm_address("lvm:vg/root@a.img,b,,c.img")
    LvmAddress(group='vg', volume='root', images=('a.img', 'b,c.img'))

    Raises:
        BadLvmAddress: It has not this form.
    """
    match = _ADDRESS.fullmatch(text[len(_SCHEME) :]) if is_lvm_address(text) else None
    if match is None:
        raise BadLvmAddress(
            f"{printable(text)}: not the address of a logical volume",
            hint="it is lvm:VG/LV@IMAGE[,IMAGE...]; a file of that name is ./" + printable(text),
            address=text,
        )
    images = tuple(_split(match["images"]))
    if not all(images):
        raise BadLvmAddress(
            f"{printable(text)}: an image without a name",
            hint="a comma separates two images; write one that belongs to a name twice",
            address=text,
        )
    return LvmAddress(match["group"], match["volume"], images)


def paths_named(source: str) -> tuple[str, ...]:
    """Returns the images of a volume's address, or any other source itself: what must not be overwritten."""
    if not is_lvm_address(source):
        return (source,)
    try:
        return parse_lvm_address(source).images
    except BadLvmAddress:  # opening it says so
        return ()


def _split(text: str) -> list[str]:
    """Splits at single commas; of several in a row pairs count first: ``a,,,b`` is ``a,`` and ``b``."""
    parts, part, at = [], "", 0
    while (comma := text.find(",", at)) >= 0:
        part += text[at:comma]
        if text.startswith(",,", comma):
            part, at = part + ",", comma + 2
        else:
            parts.append(part)
            part, at = "", comma + 1
    return [*parts, part + text[at:]]
