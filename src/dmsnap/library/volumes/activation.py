"""How to give a logical volume to a kernel without LVM: the tables that LVM would load, as commands."""

from __future__ import annotations

import os
import shlex
import stat

from dmsnap.block.file import FileDevice
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.errors import DmsnapError
from dmsnap.library.volumes.opened import Volume
from dmsnap.lvm.tables import dm_name, tables
from dmsnap.target.table import Activation

__all__ = ["NoKernelPath", "volume_activation"]


class NoKernelPath(DmsnapError):
    """An image that no kernel can open, since it has no path, or that is missing."""


def volume_activation(volume: Volume) -> Activation:
    """Returns the tables of a volume and of all that comes with it, and the commands that load them.

    Images that are files, and partitions, get loop devices. ``line`` is the table of the volume itself, with
    ``$pv0`` … for physical volumes as in the commands; several lines if it has several.

    Raises:
        NotAssembled: It is of a kind whose tables are not known.
        NoKernelPath: An image that it needs is missing, or behind NBD.
    """
    group, name = volume.group.group, volume.logical.name
    devices = tables(group, name)
    mapped = {device for device, _ in devices}
    physical: dict[str, str] = {}
    commands: list[str] = []
    line = ""
    for device, lines in devices:
        shown = []
        for text in lines:
            words = text.split(" ")
            for word in words:
                if word in group.physical_volumes and word not in physical:
                    physical[word] = _loop(volume, word)
            shown.append(" ".join(_word(word, mapped, physical) for word in words))
        table = " ".join(f'"{text}"' for text in shown)
        commands.append(f"printf '%s\\n' {table} | dmsetup create {shlex.quote(device)}")
        if device == dm_name(group.name, name):
            line = "\n".join(shown)
    return Activation(line, (*(f"{variable}={value}" for variable, value in physical.items()), *commands))


def _word(word: str, mapped: set[str], physical: dict[str, str]) -> str:
    if word in mapped:
        return f"/dev/mapper/{word}"
    return f"${word}" if word in physical else word


def _loop(volume: Volume, physical: str) -> str:
    """The right side of an assignment that yields the path of a physical volume's block device."""
    device = volume.group.devices.get(physical)
    if device is None:
        raise NoKernelPath(f"{volume.name}: the physical volume {physical} is missing", hint="give its image too")
    window = ""
    if isinstance(device, SliceDevice):
        window = f"--offset {device._offset} --sizelimit {device.size_bytes} "
    file = device.device if isinstance(device, SliceDevice) else device
    if not isinstance(file, FileDevice):
        raise NoKernelPath(f"{device.name}: has no path that a kernel could open", device=device.name)
    path = shlex.quote(os.path.abspath(file.path))
    if not window and stat.S_ISBLK(os.stat(file.path).st_mode):  # noqa: PTH116
        return path
    return f"$(losetup --find --show {window}-- {path})"
